/** Parts of packages that these do not declare: of pg-types, what reads text; of bowser, its lists. */
declare module 'pg-types/lib/textParsers.js' {
  const parsers: { init(register: (oid: number, parser: (value: string) => unknown) => void): void }
  export default parsers
}

declare module 'pg-types/lib/builtins.js' {
  const builtins: Record<string, number> & { BYTEA: number }
  export default builtins
}

declare module 'bowser/src/*' {
  /** Without client hints no browser has a brand. */
  export type Parser = {
    getUA(): string
    test(pattern: RegExp): boolean
    hasBrand(brand: string): boolean
    getBrandVersion(brand: string): string | undefined
  }
  export type Known = {
    test: RegExp[] | ((parser: Parser) => boolean)
    describe(agent: string, parser: Parser): { name?: string; version?: string }
  }
  const list: Known[]
  export default list
}
