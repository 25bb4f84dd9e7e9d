/** SQL files are bundled as text (wrangler.toml, rules). */
declare module '*.sql' {
  const text: string
  export default text
}

declare module '*.txt' {
  const text: string
  export default text
}
