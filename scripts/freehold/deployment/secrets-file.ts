/**
 * The file that keeps generated secrets. Threat: what is set at Cloudflare cannot be read back, and without the key rings nothing that
 * the master holds can be decrypted. So a secret is on disk before it is used anywhere, readable by its owner alone; and wrangler takes
 * this same file, so that there is no second copy.
 */
import { randomBytes } from 'node:crypto'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { z } from 'zod'
import { Failure } from '../failure.ts'

export const NAMES = [
  'MASTER_DATABASE_URL',
  'MASTER_READER_URL',
  'ENCRYPTION_KEYS',
  'OWNER_KEYS',
  'NEON_API_KEY',
  'NEON_ORG_ID',
] as const
export type Secrets = Partial<Record<(typeof NAMES)[number], string>>

const Kept = z.partialRecord(z.enum(NAMES), z.string())

/** What the file holds; nothing when there is none. Fails when others may read it, or when it is not of this form. */
export async function readSecrets(path: string): Promise<Secrets> {
  const info = await stat(path).catch(() => null)
  if (!info) return {}
  if (process.platform !== 'win32' && info.mode & 0o077)
    throw new Failure(
      `${path} can be read by others of this machine: chmod 600 ${path}, and consider whether somebody has read it.`,
    )
  let kept: unknown
  try {
    kept = JSON.parse(await readFile(path, 'utf8'))
  } catch {
    kept = null
  }
  const parsed = Kept.safeParse(kept)
  if (!parsed.success)
    throw new Failure(`${path} is no JSON object of ${NAMES.join(', ')}: name another file with --secrets-file.`)
  return parsed.data as Secrets
}

/** Adds to the file. It is written whole beside the old one, synced, and put in its place: a crash leaves the old or the new. */
export async function keepSecrets(path: string, more: Secrets): Promise<void> {
  const all = { ...(await readSecrets(path)), ...more }
  const draft = `${path}.${process.pid}.new`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(all, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
}

/** A key ring with one new key. */
export const newRing = () => `k1:${randomBytes(32).toString('base64url')}`
