import { randomBytes } from 'node:crypto'
import { Argument, InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { askedProfile } from './credentials.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { settings } from './settings.ts'

/** The commands on the key rings that encrypt every secret at rest, and on the password of the master's reader. */
export function addKeys(program: Command): void {
  const keys = program.command('keys').description('the keys that encrypt secrets at rest, and the login that reads the registry')

  keys
    .command('new')
    .description('generate a value for the setting ENCRYPTION_KEYS, or OWNER_KEYS')
    .example()
    .example('OWNER_KEYS')
    .example('--id k2')
    .addArgument(new Argument('[setting]', 'the setting').choices(['ENCRYPTION_KEYS', 'OWNER_KEYS']).default('ENCRYPTION_KEYS'))
    .option(
      '--id <id>',
      'the id of the key, stored with every secret: 1-16 of a-z and 0-9; default: the next one after those of the setting in the environment, or k1',
      keyId,
    )
    .addHelpText(
      'after',
      `
Each setting is a comma-separated list of keys of its own: the first key encrypts, all decrypt. To rotate, put a new key with another id
before the others, deploy, and run keys rotate. Without a key, what it encrypted cannot be recovered. OWNER_KEYS encrypts the owner logins of tenants, ENCRYPTION_KEYS
everything else.

Settings of the environment:
  ENCRYPTION_KEYS, OWNER_KEYS  the key ring that there is. Of it only the ids are read. Without it the id is k1, and stderr says so.`,
    )
    .action((setting: string, _, command: Command) => {
      const { json, id: given } = command.optsWithGlobals<Globals & { id?: string }>()
      const known = idsIn(setting)
      if (given !== undefined && known?.includes(given))
        throw new Failure(
          `${setting} has a key ${given} already, and what is under it would not be read: leave --id out for ${freeId(known)}.`,
        )
      const id = given ?? freeId(known ?? [])
      if (given === undefined && known === null)
        tell(`The id is ${id}, because ${setting} is not set here: where it has a key ${id} already, give another with --id.`)
      const ring = `${id}:${randomBytes(32).toString('base64url')}`
      if (json) printJson({ [setting]: ring })
      else print(ring)
    })

  keys
    .command('reader')
    .description('generate a value for the setting MASTER_READER_URL, with a new password')
    .example()
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database
Nothing is changed: \`freehold setup\` creates the login, or gives it this password.`,
    )
    .action(async (_, command: Command) => {
      const { json } = command.optsWithGlobals<Globals>()
      const url = process.env.MASTER_DATABASE_URL ?? ''
      if (!URL.canParse(url)) throw new Failure('MASTER_DATABASE_URL is not set, or is no URL.')
      const { readerUrlOf } = await import('../../src/tenants/provisioning/logins.ts')
      const MASTER_READER_URL = readerUrlOf(url, randomBytes(32).toString('base64url'))
      if (json) printJson({ MASTER_READER_URL })
      else print(MASTER_READER_URL)
    })

  keys
    .command('rotate')
    .description(
      'encrypt everything again under the first key of ENCRYPTION_KEYS, and say when the others can go; can be run again',
    )
    .example('--url https://id.your-company.com')
    .addHelpText(
      'after',
      `
First put a new key (keys new --id k2) before the others, and deploy: the Worker must know it before anything is under it. Then run this,
while the Worker serves: secrets of the master and of every tenant's database are encrypted again, 200 rows at a time; what somebody
changes meanwhile stays as it is. It says what is left: tenants whose database does not answer, entries of KV, answers that are kept for
ten minutes, branches of before a migration. Run it again until nothing is, also after it was killed: it goes on where it stopped, and
fails (1) until the other keys can go. Only then take them away.

With --url (or FREEHOLD_URL) and the credentials of an owner of the platform (FREEHOLD_TOKEN, or FREEHOLD_EMAIL and FREEHOLD_PASSWORD) it
asks the Worker first which keys it has, by their ids: it begins only when the Worker encrypts under the first key, and says when the
Worker has no other any more. Without them it cannot know. A deploy takes minutes, and the Worker that answers is one of many.

Settings of the environment:
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring of the Worker, the new key first
  OWNER_KEYS           the key ring for owner logins, which open the databases of tenants
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure`,
    )
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return rotate(options, options.url !== undefined || askedProfile(options) !== null)
    })

  keys
    .command('reencrypt')
    .description('encrypt the owner logins of tenants and hosts again, under the first key of OWNER_KEYS; can be run again')
    .example('--url https://id.your-company.com')
    .addHelpText(
      'after',
      `
With --url (or FREEHOLD_URL) or --profile it asks the Worker first, as keys rotate does, whether it encrypts under that key.

Settings of the environment:
  MASTER_DATABASE_URL  the master database
  OWNER_KEYS           the key ring for owner logins
  ENCRYPTION_KEYS      the other key ring: owner logins that were written before there was OWNER_KEYS are under it
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure`,
    )
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return reencrypt(options, options.url !== undefined || askedProfile(options) !== null)
    })
}

/** `owner_keys` is not of a Worker of 0.1. */
const KeyIds = z.object({ encryption_keys: z.array(z.string()), owner_keys: z.array(z.string()).optional() })

/** The ids of the keys of a setting that the Worker has; null: it does not say. Fails unless it encrypts under this one. */
async function keysOfWorker(options: Globals, setting: 'ENCRYPTION_KEYS' | 'OWNER_KEYS', key: string): Promise<string[] | null> {
  const { encryption_keys, owner_keys } = await withApi(options, (api) => api.call(KeyIds, 'GET', '/keys'))
  const ids = setting === 'ENCRYPTION_KEYS' ? encryption_keys : owner_keys
  if (!ids) return null
  if (!ids.includes(key))
    throw new Failure(
      `The Worker does not have the key ${key} yet: put it first in its ${setting}, and deploy. Nothing was changed.`,
    )
  if (ids[0] !== key)
    throw new Failure(
      `The Worker has the key ${key}, and still encrypts under ${ids[0]}: put ${key} first, and deploy. Nothing was changed.`,
    )
  return ids
}

/**
 * Encrypts everything again under the first key of ENCRYPTION_KEYS. Fails while something is under another key, and, where the Worker is
 * asked, when it does not encrypt under that one.
 */
async function rotate(options: Globals, is_asked: boolean): Promise<void> {
  const config = settings(options, ['OWNER_KEYS'])
  const [newest] = config.ENCRYPTION_KEYS
  const workers = is_asked && newest ? await keysOfWorker(options, 'ENCRYPTION_KEYS', newest.id) : null
  // As above.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { newTraceId } = await import('../../src/http/trace.ts')
  const { reencryptAll } = await import('../../src/tenants/rotations/reencrypt.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const progress = options.json ? undefined : ({ where, done }: { where: string; done: number }) => tell(`  ${where}: ${done}`)
  const result = await reencryptAll(config, newTraceId(), progress).catch((error: Error) => {
    throw new Failure(
      error.message.startsWith('Failed query') ? `The master: ${dbError(error)?.message ?? 'no answer'}` : error.message,
    )
  })
  const { key, reencrypted, left, can_go } = result
  if (options.json) printJson({ ...result, worker_keys: workers })
  else {
    tell(`${reencrypted} rows were encrypted again under ${key}.`)
    for (const { where, rows, because } of left) tell(plain(`  left in ${where}${rows === null ? '' : ` (${rows})`}: ${because}`))
  }
  if (left.length) {
    tell(`Keep every key of ENCRYPTION_KEYS: something may still be under another key than ${key}. Run it again.`)
    process.exitCode = 1
  } else if (!options.json) {
    const others = workers?.filter((id) => id !== key) ?? can_go
    tell(
      others.length
        ? `Nothing is under ${others.join(', ')} any more: take it away from ENCRYPTION_KEYS, and deploy.`
        : workers
          ? 'The Worker has no other key.'
          : 'There is no other key.',
    )
    if (!workers) tell('The Worker was not asked: with --url and the credentials of an owner it is, and says which keys it has.')
  }
}

/** Encrypts owner logins again under the first key of OWNER_KEYS. Fails where the Worker is asked and does not encrypt under that one. */
async function reencrypt(options: Globals, is_asked: boolean): Promise<void> {
  const config = settings(options, ['OWNER_KEYS'])
  const [newest] = config.OWNER_KEYS
  const workers = is_asked && newest ? await keysOfWorker(options, 'OWNER_KEYS', newest.id) : null
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { newTraceId } = await import('../../src/http/trace.ts')
  const { reencryptOwnerUrls } = await import('../../src/tenants/provisioning/owner-url.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const changed = await reencryptOwnerUrls(config, newTraceId()).catch((error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    throw new Failure(
      error.message.startsWith('Failed query') ? `The master: ${dbError(error)?.message ?? 'no answer'}` : error.message,
    )
  })
  if (options.json) return printJson({ reencrypted: changed, ...(workers && { worker_keys: workers }) })
  print(`${changed} owner logins were encrypted again.`)
  const others = workers?.filter((id) => id !== newest?.id) ?? []
  if (others.length) tell(plain(`Nothing is under ${others.join(', ')} any more: take it away from OWNER_KEYS, and deploy.`))
}

/** The ids of the key ring that a setting of the environment has; null: it is not set. */
function idsIn(setting: string): string[] | null {
  const text = process.env[setting]
  if (!text) return null
  const ids = text.split(',').map((entry) => /^\s*([a-z0-9]{1,16}):/.exec(entry)?.[1])
  return ids.map((id) => {
    // The words of the setting are not repeated: they are keys.
    if (id === undefined) throw new Failure(`${setting} is not of the form id:key,id:key. Unset it, or mend it.`)
    return id
  })
}

/** The id after the highest of the form k1. */
const freeId = (ids: string[]) => `k${Math.max(0, ...ids.map((id) => Number(/^k([1-9]\d{0,13})$/.exec(id)?.[1] ?? 0))) + 1}`

function keyId(text: string): string {
  if (!/^[a-z0-9]{1,16}$/.test(text)) throw new InvalidArgumentError('It must be 1-16 of a-z and 0-9.')
  return text
}
