import { type Command, InvalidArgumentError, Option } from 'commander'

export type Globals = { url: string; json?: boolean; data: string }

const DEFAULT_URL = 'http://localhost:8787'

/** The options of every command, before or after its name. */
export function addGlobals(program: Command): void {
  program
    .addOption(
      new Option('--url <url>', 'address of the platform').env('FREEHOLD_URL').default(DEFAULT_URL).argParser(platformUrl),
    )
    .option('--json', 'print one JSON document on stdout and nothing else; for a failure, its problem document')
    .option('--data <dir>', 'where a local `npm start` keeps credentials.json', '.freehold')
}

/** A parser of whole numbers within bounds. */
export const whole = (min: number, max: number) => (text: string) => {
  const number = Number(text)
  if (!/^\d{1,9}$/.test(text) || number < min || number > max)
    throw new InvalidArgumentError(`It must be a whole number, ${min}-${max}.`)
  return number
}

/** The address without a trailing slash. An empty one counts as missing. */
function platformUrl(text: string): string {
  if (text === '') return DEFAULT_URL
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    throw new InvalidArgumentError('It must be an http(s) address without credentials, query or fragment.')
  return url.href.replace(/\/+$/, '')
}
