import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Config, parseSettings } from '../../src/kernel/config.ts'

/** The contents of credentials.json, kept between two starts. */
export type Kept = {
  encryption_keys: string
  owner_keys: string
  operator: { email: string; password: string }
  tenant: { email: string; password: string }
}

const PLACEHOLDERS = {
  ENVIRONMENT: 'local',
  NEON_API_KEY: 'local',
  MASTER_DATABASE_URL: 'postgresql://user:password@host/database',
  MASTER_READER_URL: 'postgresql://placeholder:password@host/database',
  OWNER_KEYS: newKeys('o1'),
}
const NAMES = [
  'BASE_URL',
  'TENANT_URL',
  'TENANT_DB_TEMPLATE',
  'MASTER_DATABASE_URL',
  'MASTER_READER_URL',
  'DEFAULT_TENANT',
  'ENCRYPTION_KEYS',
  'OWNER_KEYS',
  'HOST_CAPACITY',
  'HOST_BRANCHES',
  'HOST_COMPUTE_CU',
  'DEFAULT_ISOLATION',
  'PROJECT_COMPUTE_CU',
  'PASSWORD_HASH_ITERATIONS',
  'NEON_POLL_MS',
  'NEON_CALLS_PER_MINUTE',
  'SMTP_URL',
  'MAIL_FROM',
  'SMS_WEBHOOK_URL',
  'SMS_WEBHOOK_TOKEN',
  'PWNED_PASSWORDS_URL',
] as const

/** The settings of a local start that are set in the environment; an empty one counts as missing. */
export const givenSettings = (env: NodeJS.ProcessEnv) =>
  Object.fromEntries(NAMES.filter((name) => env[name] !== undefined).map((name) => [name, env[name] ?? '']))

/** Checks the settings before anything is started. Fails with one sentence that names what is wrong. */
export const checkSettings = (given: Record<string, string>): Config => parseSettings({ ...PLACEHOLDERS, ...given })

const password = () => `${randomBytes(12).toString('base64url')}-Aa7!`

/** Reads credentials.json of the folder, or creates it. Fails with one sentence when the folder cannot be written. */
export async function keptIn(dataDir: string): Promise<Kept> {
  const file = join(dataDir, 'credentials.json')
  try {
    await makeFolder(dataDir)
    await writeFile(join(dataDir, '.writable'), '')
  } catch (error) {
    throw new Error(
      `The data folder ${dataDir} cannot be written (${(error as NodeJS.ErrnoException).code}). Choose another with --data.`,
    )
  }
  const known = await readFile(file, 'utf8').catch(() => null)
  if (known) {
    const kept = JSON.parse(known) as Kept
    if (kept.owner_keys) return kept
    // Of a start before there was this ring: it is new, and what the other one encrypted still opens.
    const more = { ...kept, owner_keys: newKeys('o1') }
    await keep(file, more)
    return more
  }
  const kept: Kept = {
    encryption_keys: newKeys('k1'),
    owner_keys: newKeys('o1'),
    operator: { email: 'owner@freehold.test', password: password() },
    tenant: { email: 'admin@demo.test', password: password() },
  }
  await keep(file, kept)
  return kept
}

/** Written whole or not at all: a key that is lost half-way opens nothing again. */
async function keep(file: string, kept: Kept): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(kept), { mode: 0o600 })
  await rename(`${file}.new`, file)
}

/** A key ring of one new key. */
function newKeys(id: string) {
  return `${id}:${randomBytes(32).toString('base64url')}`
}

/** Deletes a data folder. Fails for a folder that was not made by npm start: it might hold anything. */
export async function forget(dataDir: string): Promise<void> {
  const held: string[] = await readdir(dataDir).catch(() => [])
  if (held.length && !held.includes('credentials.json')) {
    throw new Error(
      `--fresh: ${dataDir} is not empty and was not made by npm start; it is left alone. Choose another with --data.`,
    )
  }
  await rm(dataDir, { recursive: true, force: true })
}

/** As `mkdir -p`. Node's own `recursive` never returns where the kernel answers ENOENT for an existing folder (/proc). */
async function makeFolder(path: string): Promise<void> {
  if (!existsSync(dirname(path))) await makeFolder(dirname(path))
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

/** A RUC with a valid check digit, derived from a name, so that each made-up tenant has its own. */
export function rucFor(name: string): string {
  const digits = [2, 0, ...[...createHash('sha256').update(name).digest().subarray(0, 8)].map((byte) => byte % 10)]
  const sum = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2].reduce((total, weight, i) => total + weight * (digits[i] ?? 0), 0)
  return `${digits.join('')}${(11 - (sum % 11)) % 10}`
}
