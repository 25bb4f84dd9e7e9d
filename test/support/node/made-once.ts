/**
 * What is made once for all tests that need it, and kept in .wrangler: under a name that says what it was made of, so that what changed is
 * made anew. Also of several processes at once: the first that has made it is taken.
 */
import { createHash } from 'node:crypto'
import { glob, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const DAY_MS = 24 * 3_600_000

/**
 * The folder that `make` fills. `of` are patterns of the files that decide what is in it, and `more` what else does. What nobody has asked
 * for in a day is removed.
 */
export async function madeOnce(name: string, of: string[], make: (folder: string) => Promise<void>, more = ''): Promise<string> {
  const home = join(ROOT, '.wrangler')
  const kept = join(home, `${name}-${await digestOf(of, more)}`)
  if (await isThere(kept)) {
    await utimes(kept, new Date(), new Date()).catch(() => undefined)
    return kept
  }
  const draft = `${kept}.${process.pid}`
  try {
    await mkdir(draft, { recursive: true })
    await make(draft)
    // Another process may have been faster; what it made is as good.
    await rename(draft, kept).catch(() => undefined)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  for (const other of await readdir(home))
    if (other.startsWith(`${name}-`) && (await ageOf(join(home, other))) > DAY_MS)
      await rm(join(home, other), { recursive: true, force: true })
  return kept
}

async function digestOf(patterns: string[], more: string): Promise<string> {
  const files: string[] = []
  for await (const file of glob(patterns, { cwd: ROOT })) files.push(file)
  const digest = createHash('sha256').update(more)
  for (const file of files.sort())
    if ((await stat(join(ROOT, file))).isFile()) digest.update(`\0${file}\0`).update(await readFile(join(ROOT, file)))
  return digest.digest('hex').slice(0, 16)
}

const ageOf = (path: string) =>
  stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  )

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )
