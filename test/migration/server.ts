import { startPostgres } from '../../scripts/local-neon/postgres.ts'
import { folderWithCluster } from '../support/node/cluster.ts'

/** A Postgres for a file of tests. */
export async function startServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const folder = await folderWithCluster('freehold-test')
  const { url, stop } = await startPostgres({ dataDir: folder.path, durable: false })
  return {
    url,
    stop: async () => {
      await stop()
      await folder.remove()
    },
  }
}
