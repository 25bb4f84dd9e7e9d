import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Failure } from '../freehold/failure.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const run = promisify(execFile)

/** The commit that a kept file is of, and the newest migration that it knows of each database. */
export type Origin = { commit: string; title: string; committed_at: string; tenant: string; master: string }

/**
 * Writes the files of a commit into a folder, with the packages that its lock names: those of this tree where the locks are the same, else from the
 * registry. Fails with one sentence when there is no such commit.
 */
export async function checkOut(ref: string, folder: string, say: (line: string) => void): Promise<Origin> {
  const git = async (...args: string[]) => (await run('git', ['-C', ROOT, ...args])).stdout.trim()
  const commit = await git('rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`).catch(() => {
    throw new Failure(`There is no commit ${ref} in the git repository ${ROOT}.`)
  })
  const [title = '', committed_at = ''] = (await git('log', '-1', '--format=%s%n%cI', commit)).split('\n')
  say(`Checking out ${commit.slice(0, 7)} "${title}".`)
  await mkdir(folder, { recursive: true })
  const archive = `${folder}.tar`
  await git('archive', '-o', archive, commit)
  await run('tar', ['-x', '-C', folder, '-f', archive])
  const lockOf = (root: string) => readFile(join(root, 'package-lock.json'), 'utf8')
  if ((await lockOf(folder)) === (await lockOf(ROOT))) {
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  } else {
    say('Its packages are others than those of this tree: npm ci.')
    await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, maxBuffer: 64 * 1024 * 1024 })
  }
  return { commit, title, committed_at, tenant: await newestIn(folder, 'tenant'), master: await newestIn(folder, 'master') }
}

/** The newest migration of a database in a tree. */
async function newestIn(root: string, database: 'tenant' | 'master'): Promise<string> {
  const files = (await readdir(join(root, 'drizzle', database))).filter((file) => file.endsWith('.sql')).sort()
  return `${database}/${files.at(-1)?.slice(0, -'.sql'.length)}`
}
