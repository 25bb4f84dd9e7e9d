/**
 * Which tenants' databases the scheduled job looks after. Threat: a job that asks all of them every minute keeps every compute awake, and ends at
 * the limits of an invocation before it has asked the last. So a tenant is visited after somebody was there, when a visit said that something
 * will be due, and once a day; who waited longest comes first.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'

/** How long one word to the master stands for all that follow it; a little less than it stands there. */
const REPORTED_MS = 50_000
/** How long a master that was not reached is left alone. */
const AGAIN_MS = 10_000
const MOST_REPORTED = 10_000
const PAGE = 100

/** `was_begun`: false of what was claimed and not come to; `due_at`: null: at once. */
export type MaintenanceResult = { realm_id: string; was_begun: boolean; due_at: string | null }

/** Tenants of which the master was told that somebody is there, and until when that is enough. Per isolate. */
const reported = new Map<string, number>()

/** Tells the master that somebody is in this tenant's database: one round trip a minute, which no request waits for. Never fails; a master that is away is told by a later request. */
export function reportActivity(config: Config, realm_id: string): Promise<unknown> | null {
  if ((reported.get(realm_id) ?? 0) > Date.now()) return null
  if (reported.size >= MOST_REPORTED) reported.clear()
  reported.set(realm_id, Date.now() + REPORTED_MS)
  const awake = sql`update platform.maintenance set active_until = greatest(active_until, clock_timestamp() + interval '1 minute') where realm_id = ${realm_id}`
  return batch(config.MASTER_DATABASE_URL, [awake]).catch((error) => {
    reported.set(realm_id, Date.now() + AGAIN_MS)
    log('master not told who is awake', { tenant: realm_id, error: error instanceof Error ? error.message : String(error) })
  })
}

/**
 * Takes up to 100 active tenants that are due and were not visited since `began`, a moment of the master's; `shown` is asked of each beside what
 * leads to its database. A run that dies has its tenants
 * visited ten minutes later. One round trip to the master.
 */
export async function claimMaintenance<T>(config: Config, began: string, shown: SQL): Promise<T[]> {
  const [claimed = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.maintenance v set maintained_at = clock_timestamp(), due_at = now() + interval '10 minutes'
      from platform.tenants x where x.id = v.realm_id and v.realm_id in (
        select y.realm_id from platform.maintenance y join platform.tenants t on t.id = y.realm_id
        where (y.due_at <= now() or y.active_until >= y.maintained_at) and y.maintained_at < ${began}::timestamptz
          and t.status = 'active' and t.owner_url_encrypted is not null
        order by y.maintained_at limit ${PAGE} for update of y skip locked)
      returning x.id, x.subdomain as name, x.owner_url_encrypted, ${shown}`,
  ])
  return claimed as T[]
}

/** The statement for the master that notes when tenants are due again; who was there meanwhile is visited before. In one order, as heads are moved. */
export const recordMaintenance = (visits: MaintenanceResult[]): SQL =>
  sql`update platform.maintenance v set due_at = coalesce(x.due_at, now()), maintained_at = case when x.was_begun then v.maintained_at else '-infinity' end
    from (select y.realm_id, y.was_begun, y.due_at from jsonb_to_recordset(${JSON.stringify(visits)}::jsonb) as y (realm_id uuid, was_begun boolean, due_at timestamptz)
      join platform.maintenance z on z.realm_id = y.realm_id order by y.realm_id for update of z) x where v.realm_id = x.realm_id`
