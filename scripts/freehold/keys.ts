import { randomBytes } from 'node:crypto'
import { Argument, InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { askedProfile } from './credentials.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { print, printJson, tell } from './output.ts'
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
    .option('--id <id>', 'the id of the key, stored with every secret: 1-16 of a-z and 0-9', keyId, 'k1')
    .addHelpText(
      'after',
      `
Each setting is a comma-separated list of keys of its own: the first key encrypts, all decrypt. To rotate, put a new key with another id
before the others, deploy, and run keys rotate. Without a key, what it encrypted cannot be recovered. OWNER_KEYS encrypts the owner logins of tenants, ENCRYPTION_KEYS
everything else.`,
    )
    .action((setting: string, _, command: Command) => {
      const { json, id } = command.optsWithGlobals<Globals & { id: string }>()
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
    .example()
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database
  OWNER_KEYS           the key ring for owner logins
  ENCRYPTION_KEYS      the other key ring: owner logins that were written before there was OWNER_KEYS are under it
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure`,
    )
    .action((_, command: Command) => reencrypt(command.optsWithGlobals<Globals>()))
}

const KeyIds = z.object({ encryption_keys: z.array(z.string()) })

/** The ids of the keys that the Worker has. Fails unless it encrypts under this one. */
async function keysOfWorker(options: Globals, key: string): Promise<string[]> {
  const { encryption_keys } = await withApi(options, (api) => api.call(KeyIds, 'GET', '/keys'))
  const [first] = encryption_keys
  if (!encryption_keys.includes(key))
    throw new Failure(
      `The Worker does not have the key ${key} yet: put it first in its ENCRYPTION_KEYS, and deploy. Nothing was changed.`,
    )
  if (first !== key)
    throw new Failure(
      `The Worker has the key ${key}, and still encrypts under ${first}: put ${key} first, and deploy. Nothing was changed.`,
    )
  return encryption_keys
}

/**
 * Encrypts everything again under the first key of ENCRYPTION_KEYS. Fails while something is under another key, and, where the Worker is
 * asked, when it does not encrypt under that one.
 */
async function rotate(options: Globals, is_asked: boolean): Promise<void> {
  const config = settings(options, ['OWNER_KEYS'])
  const [newest] = config.ENCRYPTION_KEYS
  const workers = is_asked && newest ? await keysOfWorker(options, newest.id) : null
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
    for (const { where, rows, because } of left) tell(`  left in ${where}${rows === null ? '' : ` (${rows})`}: ${because}`)
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

async function reencrypt(options: Globals): Promise<void> {
  const config = settings(options, ['OWNER_KEYS'])
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
  if (options.json) printJson({ reencrypted: changed })
  else print(`${changed} owner logins were encrypted again.`)
}

function keyId(text: string): string {
  if (!/^[a-z0-9]{1,16}$/.test(text)) throw new InvalidArgumentError('It must be 1-16 of a-z and 0-9.')
  return text
}
