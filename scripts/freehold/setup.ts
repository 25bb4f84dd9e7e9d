import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { ConfigError, PLACEHOLDER, parseSettings } from '../../src/kernel/config.ts'
import { Email } from '../../src/names/addresses.ts'
import type { GuidedOptions } from './deployment/guided.ts'
import { Failure } from './failure.ts'
import { type Globals, requireEncryption } from './options.ts'
import { print, printJson } from './output.ts'
import { pairs } from './table.ts'

/** The command that sets up the platform itself: its master, or with a domain the whole deployment. */
export function addSetup(program: Command): void {
  program
    .command('setup')
    .description(
      'set a deployment up at a domain; without one, create or update the master database and the first operator alone',
    )
    .argument('[domain]', 'where the platform is to be; tenants are one label below', domainName)
    .requiredOption('--email <address>', 'e-mail address of the first operator', emailAddress)
    .option('--region <region>', 'with a domain: the region at Neon; the Worker is placed beside it', 'aws-us-east-1')
    .option('--secrets-file <file>', 'with a domain: where generated secrets are kept, for you alone', '.freehold-secrets.json')
    .option('--config <file>', "with a domain: wrangler's configuration; default: wrangler.toml of this folder")
    .option('--dry-run', 'with a domain: show every step with its requests, and change nothing')
    .option('--yes', 'with a domain: do all steps without asking, also those that change the whole zone')
    .addHelpText(
      'after',
      `
With a domain it goes from a new account at Neon and at Cloudflare to a Worker that answers: Neon project, keys, master database, KV
namespace, wrangler.toml, DNS records, settings of the zone, deploy, /readyz, first operator. Each step looks first, shows its requests
and asks. Run it again after an interruption: what is done stays. Settings of the environment:
  NEON_API_KEY              an organization's key; with a personal key NEON_ORG_ID, too
  CLOUDFLARE_API_TOKEN      a token for the account and the zone; --dry-run without it names the permissions
  NEON_API_URL, CLOUDFLARE_API_BASE_URL
                            others than those of Neon and Cloudflare; https://, unless it is this machine or with --insecure
--url or FREEHOLD_URL is where /readyz is asked, if not at the domain.

Without a domain, settings of the environment:
  MASTER_DATABASE_URL       the master database; its login must own it, and be able to create roles
  MASTER_READER_URL         the same database, as the login of the Worker that only reads the registry: it is created, or gets
                            the password that stands here; see: freehold keys reader
  ENCRYPTION_KEYS           the key ring of the Worker; see: freehold keys new
  PASSWORD_HASH_ITERATIONS  as the Worker has it, if it has it
  NEON_SQL_URL              only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
The operator's password is generated, shown only once, works for 72 hours, and must be changed at the first login. An existing operator
keeps theirs.`,
    )
    .action(async (domain: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<GuidedOptions>()
      if (domain === undefined) return setup(options)
      // Loaded for this command only: wrangler and the clients take a second.
      const { setUpDeployment } = await import('./deployment/guided.ts')
      return setUpDeployment(domain, options, command.getOptionValueSourceWithGlobals('url') === 'default' ? null : options.url)
    })
}

async function setup(options: Globals & { email: string }): Promise<void> {
  const { email, json } = options
  const config = settings(options, ['MASTER_READER_URL'])
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { useSqlUrl } = await import('../../src/kernel/db.ts')
  const { generatePassword } = await import('../../src/passwords/hash.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const password = generatePassword()
  const is_new = await setUpMaster(config, { email, password, must_change_password: true })
  if (json) return printJson({ operator: { email, is_new, ...(is_new && { password, must_change_password: true }) } })
  if (!is_new) return print(`The master database is ready. The operator ${email} exists already; the password stays as it is.`)
  print('The master database is ready.\n')
  print(
    pairs([
      ['operator', email],
      ['password', password],
    ]),
  )
  print(
    '\nThe password is shown only once. It works for 72 hours, and must be changed at the first login, with POST /platform/v1/auth/password-change.',
  )
}

/** Creates or updates the master, and the operator if one is given. Returns whether they are new. Fails with Failure. */
export async function setUpMaster(
  config: ReturnType<typeof settings>,
  operator: { email: string; password: string; must_change_password: boolean } | null,
): Promise<boolean> {
  const { dbError } = await import('../../src/kernel/db.ts')
  const { setUp } = await import('../../src/tenants/provisioning/setup.ts')
  const { migrationsIn } = await import('../dev/stack.ts')
  const migrations = { tenant: await migrationsIn('tenant'), master: await migrationsIn('master') }
  return setUp(config, migrations, operator).catch((error: Error) => {
    // The message of a failed query contains its parameters, which may be secrets; only the database's own message is shown.
    const words = [error.message.startsWith('Failed query') ? '' : error.message, dbError(error)?.message ?? '']
    throw new Failure(`MASTER_DATABASE_URL: the master database cannot be set up: ${[...new Set(words)].join(' ').trim()}`)
  })
}

/** Settings that the Worker requires, and a command only if it says so. */
type Extra = 'MASTER_READER_URL' | 'OWNER_KEYS'
export const placeholders = () => ({
  BASE_URL: 'https://unused',
  NEON_API_KEY: 'unused',
  MASTER_READER_URL: 'postgresql://placeholder:unused@localhost/unused',
  OWNER_KEYS: `unused:${randomBytes(32).toString('base64url')}`,
})

/**
 * The settings that a command on the databases needs, from the environment; `needs` are those beside the master and ENCRYPTION_KEYS.
 * Others that are required get placeholders. Fails with Failure, also for a NEON_SQL_URL to which passwords of databases would travel without encryption.
 */
export function settings(options: Pick<Globals, 'insecure'>, needs: Extra[], given: NodeJS.ProcessEnv = process.env) {
  const { MASTER_DATABASE_URL, ENCRYPTION_KEYS, NEON_SQL_URL, PASSWORD_HASH_ITERATIONS } = given
  const needed = Object.fromEntries(needs.map((name) => [name, given[name]]))
  const asked = { ...placeholders(), MASTER_DATABASE_URL, ENCRYPTION_KEYS, PASSWORD_HASH_ITERATIONS, ...needed }
  try {
    const config = parseSettings(asked)
    if (!NEON_SQL_URL) return config
    // A Neon on this machine may be asked over http; the Worker takes such a URL locally alone.
    const local = parseSettings({ ...asked, ENVIRONMENT: 'local', NEON_SQL_URL })
    requireEncryption(NEON_SQL_URL, 'NEON_SQL_URL', options)
    return { ...config, NEON_SQL_URL: local.NEON_SQL_URL }
  } catch (error) {
    throw error instanceof ConfigError ? new Failure(error.message) : error
  }
}

/**
 * The same, where the environment has neither of the two: those of the `npm start` whose data folder --data names. Only for commands
 * that do no harm at the wrong platform.
 */
export async function localSettings(options: Globals) {
  const { MASTER_DATABASE_URL, ENCRYPTION_KEYS } = process.env
  if (MASTER_DATABASE_URL || ENCRYPTION_KEYS) return settings(options, ['OWNER_KEYS'])
  const file = join(options.data, 'worker.env')
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null)
    throw new Failure(
      `Set MASTER_DATABASE_URL, ENCRYPTION_KEYS and OWNER_KEYS, or name the data folder of a running \`npm start\` with --data (${file} cannot be read).`,
    )
  const of = (name: string) => new RegExp(`^${name}="(.*)"$`, 'm').exec(text)?.[1]
  const names = ['MASTER_DATABASE_URL', 'ENCRYPTION_KEYS', 'OWNER_KEYS', 'NEON_SQL_URL']
  return settings(options, ['OWNER_KEYS'], Object.fromEntries(names.map((name) => [name, of(name)])))
}

/** For commands that need the master and no key ring: as localSettings, but without ENCRYPTION_KEYS. */
export function masterSettings(options: Globals) {
  const { MASTER_DATABASE_URL, ENCRYPTION_KEYS = `unused:${randomBytes(32).toString('base64url')}` } = process.env
  return MASTER_DATABASE_URL ? settings(options, [], { ...process.env, ENCRYPTION_KEYS }) : localSettings(options)
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
