/** What the Worker needs to serve: the registry cache, the master and the settings of Neon. */
import { sql } from 'drizzle-orm'
import type { Config } from '../kernel/config.ts'
import { batch } from '../kernel/db.ts'
import { Problem } from '../kernel/problem.ts'
import { countBehind } from './migration/fleet.ts'
import { requireNeonSettings } from './provisioning/neon-key.ts'

/** Says how many tenants are behind. Fails with database_unavailable and with what a wrong setting fails with. */
export async function requireReady(config: Config, cache: KVNamespace): Promise<{ tenants_behind: number }> {
  await cache.get('readyz').catch((cause) => {
    throw new Problem('database_unavailable', 'The registry cache does not answer.', { cause })
  })
  const [tenants_behind] = await Promise.all([countBehind(config), batch(config.MASTER_DATABASE_URL, [sql`select 1`])])
  await requireNeonSettings(config)
  return { tenants_behind }
}
