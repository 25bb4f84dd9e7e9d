/**
 * The maintenance queue: which tenants' databases the scheduled job works on. Threat: a job that queries all of them every minute
 * keeps every compute awake, and hits the limits of an invocation before it reaches the last. So a tenant is maintained after it
 * was active, when its last maintenance said that something will be due, and once a day; the one that waited longest comes first.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'

/** How long after one report an isolate makes no other; a little less than the minute for which the master counts it. */
const REPORTED_MS = 50_000
/** How long after a failed report the next one is made. */
const RETRY_MS = 10_000
const MOST_REPORTED = 10_000
const PAGE = 100

/**
 * `was_begun`: false for a realm that was claimed and not reached; `due_at`: null means at once; `users_counted`: its active users,
 * null when they were not counted.
 */
export type MaintenanceResult = { realm_id: string; was_begun: boolean; due_at: string | null; users_counted: number | null }

/** Tenants whose activity was reported, and until when no other report is needed. Per isolate. */
const reported = new Map<string, number>()

/**
 * Reports to the master that a tenant's database is active: one round trip a minute, which no request waits for. Never fails; a
 * later request reports again if the master was unavailable.
 */
export function reportActivity(config: Config, realm_id: string): Promise<unknown> | null {
  if ((reported.get(realm_id) ?? 0) > Date.now()) return null
  if (reported.size >= MOST_REPORTED) reported.clear()
  reported.set(realm_id, Date.now() + REPORTED_MS)
  const report = sql`update platform.maintenance set active_until = greatest(active_until, clock_timestamp() + interval '1 minute') where realm_id = ${realm_id}`
  return batch(config.MASTER_DATABASE_URL, [report]).catch((error) => {
    reported.set(realm_id, Date.now() + RETRY_MS)
    log('activity not reported', { tenant: realm_id, error: error instanceof Error ? error.message : String(error) })
  })
}

/**
 * Claims up to 100 active tenants that are due and were not maintained since `began`, by the master's clock; `columns` are
 * selected of each beside its id, name and connection string. Tenants of a run that dies are due again after ten minutes. One
 * round trip to the master.
 */
export async function claimMaintenance<T>(config: Config, began: string, columns: SQL): Promise<T[]> {
  const [claimed = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.maintenance v set maintained_at = clock_timestamp(), due_at = now() + interval '10 minutes'
      from platform.tenants x where x.id = v.realm_id and v.realm_id in (
        select y.realm_id from platform.maintenance y join platform.tenants t on t.id = y.realm_id
        where (y.due_at <= now() or y.active_until >= y.maintained_at) and y.maintained_at < ${began}::timestamptz
          and t.status = 'active' and t.owner_url_encrypted is not null
        order by y.maintained_at limit ${PAGE} for update of y skip locked)
      returning x.id, x.subdomain as name, x.owner_url_encrypted, ${columns}`,
  ])
  return claimed as T[]
}

/**
 * The statement for the master that records when tenants are due again. Rows are locked in one order, as when heads are moved.
 */
export const recordMaintenance = (results: MaintenanceResult[]): SQL =>
  sql`update platform.maintenance v set due_at = coalesce(x.due_at, now()), maintained_at = case when x.was_begun then v.maintained_at else '-infinity' end,
      users_counted_at = case when x.users_counted is null then v.users_counted_at else now() end
    from (select y.realm_id, y.was_begun, y.due_at, y.users_counted from jsonb_to_recordset(${JSON.stringify(results)}::jsonb) as y (realm_id uuid, was_begun boolean, due_at timestamptz, users_counted integer)
      join platform.maintenance z on z.realm_id = y.realm_id order by y.realm_id for update of z) x where v.realm_id = x.realm_id`

/** The statement for the master that records how many active users the tenants have, where that changed. */
export const recordUsers = (results: MaintenanceResult[]): SQL =>
  sql`update platform.tenants t set users_counted = x.users_counted
    from (select y.realm_id, y.users_counted from jsonb_to_recordset(${JSON.stringify(results)}::jsonb) as y (realm_id uuid, users_counted integer)
      join platform.tenants z on z.id = y.realm_id and z.users_counted <> y.users_counted order by y.realm_id for no key update of z) x where t.id = x.realm_id`
