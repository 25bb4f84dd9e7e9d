import { InvalidArgumentError, Option } from 'commander'
import { PLACEHOLDER } from '../../src/kernel/config.ts'
import { Email } from '../../src/names/addresses.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { profileName } from './profiles.ts'

/** `url` and `profile` only where they were given: where calls go is decided by credentials.ts. */
export type Globals = { url?: string; profile?: string; insecure?: boolean; json?: boolean; data?: string }

/** Where `npm start` keeps its credentials, unless --data says. */
export const DATA = '.freehold'

export const DEFAULT_URL = 'http://localhost:8787'

/** The options of every command, before or after its name. */
export function addGlobals(program: Command): void {
  program
    .addOption(
      new Option('--url <url>', `address of the platform; default: that of the profile, or ${DEFAULT_URL}`)
        .env('FREEHOLD_URL')
        .argParser(platformUrl),
    )
    .option(
      '--profile <name>',
      'who is logged in, and where: see freehold login; default: FREEHOLD_PROFILE, or the one of freehold profiles use',
      profileName,
    )
    .option('--insecure', 'allow http:// to a host that is not this machine, where the network can read passwords and tokens')
    .option('--json', 'print one JSON document on stdout and nothing else; for a failure, its problem document')
    .option(
      '--data <dir>',
      `where a local \`npm start\` keeps credentials.json; given, no profile in use counts; default: ${DATA}`,
    )
}

/** A parser of whole numbers within bounds. */
export const whole = (min: number, max: number) => (text: string) => {
  const number = Number(text)
  if (!/^\d{1,9}$/.test(text) || number < min || number > max)
    throw new InvalidArgumentError(`It must be a whole number, ${min}-${max}.`)
  return number
}

/** The address without a trailing slash. An empty one counts as missing. */
function platformUrl(text: string): string | undefined {
  if (text === '') return undefined
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    throw new InvalidArgumentError('It must be an http(s) address without credentials, query or fragment.')
  return url.href.replace(/\/+$/, '')
}

/** Whether a host is this machine. */
export const isLoopback = (hostname: string) => /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)

/**
 * Refuses an address to which secrets would travel without encryption, unless --insecure is given; `setting` says where the address
 * comes from. Called where an address is used: commands that send nothing need none.
 */
export function requireEncryption(url: string, setting: string, { insecure = false }: Pick<Globals, 'insecure'>): void {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:' || isLoopback(hostname) || insecure) return
  throw new Failure(
    `${setting}: ${url} is not encrypted, so the network could read passwords and tokens. Name an https:// address, or allow this one with --insecure.`,
  )
}

/** A parser of e-mail addresses. */
export function emailAddress(text: string): string {
  const parsed = Email.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError('It must be an e-mail address.')
  return parsed.data
}

/** A parser of the platform's domain. */
export function domainName(text: string): string {
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name.length > 200 || !/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$/.test(name))
    throw new InvalidArgumentError('It must be a domain name, such as id.your-company.com, without https://.')
  if (PLACEHOLDER.test(name)) throw new InvalidArgumentError('It is a placeholder, which nobody can own: name your own domain.')
  return name
}
