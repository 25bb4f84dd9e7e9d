/** The options of `npm start`, and of `freehold dev`. */
export const OPTIONS = {
  port: { type: 'string', default: '8787', value: 'N', about: 'port of the Worker; default: 8787' },
  data: { type: 'string', default: '.freehold', value: 'DIR', about: 'the data folder; default: .freehold' },
  fresh: { type: 'boolean', default: false, about: 'delete the contents of the data folder first' },
  json: { type: 'boolean', default: false, about: 'print one line of JSON on stdout when ready, everything else on stderr' },
  verbose: { type: 'boolean', default: false, about: "show the Worker's log" },
  help: { type: 'boolean', default: false, about: 'show this' },
} as const

/** They, as --help shows them. */
export const optionLines = (): string =>
  Object.entries(OPTIONS)
    .map(([name, option]) => `  ${`--${name}${'value' in option ? ` ${option.value}` : ''}`.padEnd(12)}  ${option.about}\n`)
    .join('')
