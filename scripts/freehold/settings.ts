import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, parseSettings } from '../../src/kernel/config.ts'
import { Failure } from './failure.ts'
import { DATA, type Globals, requireEncryption } from './options.ts'

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
  const file = join(options.data ?? DATA, 'worker.env')
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
