/** What is used of a tenant's limits. */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import type { UsedThen } from '../registry/limits.ts'
import { usedNow } from '../registry/standing.ts'

/** How long a tenant's database is waited for. */
const ASKED_MS = 3_000

/**
 * Asks a tenant's own database what is used now; null: it has none yet, or did not answer within three seconds. One round trip to the
 * master and one to the tenant.
 */
export async function askUsed(config: Config, id: string): Promise<UsedThen | null> {
  try {
    const [[row] = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.owner_url_encrypted from platform.tenants t where t.id = ${id} and t.status in ('active', 'inactive') and t.owner_url_encrypted is not null`,
    ])
    if (!row) return null
    const url = await openOwnerUrl(config, id, String(row.owner_url_encrypted))
    const asking = sql`select access.used() as used from freehold.tenant t where t.id = ${id}`
    const [, [found] = []] = await batch(url, [sql`set local role freehold_owner`, asking], null, ASKED_MS)
    return usedNow(found?.used)
  } catch {
    // The schema of an earlier release, or a database that is away: what it reported last counts.
    return null
  }
}
