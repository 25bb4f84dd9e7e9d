import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Log } from './log.ts'
import type { User } from './run-as.ts'

const run = promisify(execFile)

interface Init {
  home: string
  cluster: string
  initdb: string
  user: User
  log: Log
}

/** Creates the cluster unless it exists, and returns the superuser's password. */
export async function initCluster({ home, cluster, initdb, user, log }: Init): Promise<string> {
  const passwordFile = join(home, 'cloud_admin.password')
  if (await exists(join(cluster, 'PG_VERSION'))) return (await readFile(passwordFile, 'utf8')).trim()

  // An interrupted initdb must not look like a cluster, so it runs in a folder beside the final one.
  const draft = `${cluster}.new`
  const password = randomBytes(18).toString('base64url')
  try {
    await rm(draft, { recursive: true, force: true })
    await mkdir(draft, { mode: 0o700 })
    await user.own(draft)
    await writeFile(passwordFile, password, { mode: 0o600 })
  } catch (error) {
    throw new Error(`The folder ${home} is not writable: ${(error as NodeJS.ErrnoException).code}`)
  }
  const offered = join(home, 'initdb.password')
  await writeFile(offered, password, { mode: 0o600 })
  await user.own(offered)
  log('initialising a Postgres cluster')
  try {
    await tryLocales((locale) => {
      const [file = '', ...args] = user.wrap([
        initdb,
        '-D',
        draft,
        '-U',
        'cloud_admin',
        `--pwfile=${offered}`,
        ...FLAGS,
        `--locale=${locale}`,
      ])
      return run(file, args, { ...user.ids, cwd: '/' })
    })
  } finally {
    await rm(offered, { force: true })
  }
  await rename(draft, cluster)
  return password
}

const FLAGS = ['-A', 'scram-sha-256', '-E', 'UTF8', '--lc-messages=C', '--no-sync', '--no-instructions']

async function tryLocales(attempt: (locale: string) => Promise<unknown>) {
  try {
    await attempt('C.UTF-8')
  } catch {
    await attempt('C').catch((error: Error & { stderr?: string }) => {
      throw new Error(`initdb failed: ${(error.stderr || error.message).trim().split('\n').slice(-2).join(' ')}`)
    })
  }
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )
