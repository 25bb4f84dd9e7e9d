/** A restore as its steps see it: who works on it, and the two branches. */
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { branchOf } from '../migration/kept.ts'
import { hostOf, type Job, jobOf, type MasterRow } from '../provisioning/job.ts'

/** One attempt at a step of a restore point that an operator began. */
export type RestoreWork = { restore_id: string; attempt: number }

/** Nobody works on a restore whose lease ran out: the scheduled job begins the next attempt. */
export const LEASE = sql`interval '3 minutes'`
/** How long a restore point waits for its confirmation, and how long the state before can be gone back to. */
export const WAITS = sql`interval '1 day'`
export const KEPT = sql`interval '7 days'`

export type Point = {
  id: string
  at: string
  state: 'making' | 'restoring' | 'returning'
  project_id: string
  parent_id: string
  branch_id: string | null
  trace_id: string
}

/** `target`: the branch that is to be the tenant's; null: it is not made yet. `is_exchanged`: it is. */
export type Held = {
  point: Point
  job: Job
  owner_url: string
  app_url: string
  refresh_key_encrypted: string
  head_no: number
  target: string | null
  source: string | null
  is_exchanged: boolean
}

/**
 * The restore, if this attempt holds it; its lease begins again. `next` takes it over for that attempt, or has already. Null: another
 * attempt has it, or it has ended. One round trip to the master.
 */
export async function hold(config: Config, { restore_id, attempt }: RestoreWork, next = attempt): Promise<Held | null> {
  const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.restore_points r set lease_until = now() + ${LEASE}, attempts = ${next}::integer from platform.tenants t join platform.hosts h on h.id = t.host_id
        where r.id = ${restore_id} and r.attempts in (${attempt}, ${next}) and r.state in ('making', 'restoring', 'returning') and t.id = r.tenant_id
        returning to_jsonb(r) as point, to_jsonb(t) as tenant, to_jsonb(h) as host, coalesce((select a.no from platform.audit_heads a where a.realm_id = t.id), 0) as head_no`,
  ])
  if (!found) return null
  const point = found.point as Point
  const row = found.tenant as MasterRow
  const job = await jobOf(config, row, found.host as MasterRow, point.trace_id)
  const { owner_url, app_url } = job.tenant
  if (row.status === 'erasing') throw new NonRetryableError('The tenant is being erased.')
  if (!owner_url || !app_url) throw new NonRetryableError('The tenant has no logins.')
  if (row.isolation !== 'project' || hostOf(job).project_id !== point.project_id)
    throw new NonRetryableError('The tenant has another project since.')
  const is_return = point.state === 'returning'
  const [target, source] = is_return ? [point.parent_id, point.branch_id] : [point.branch_id, point.parent_id]
  return {
    point,
    job,
    owner_url,
    app_url,
    refresh_key_encrypted: String(row.refresh_key_encrypted),
    head_no: Number(found.head_no),
    target,
    source,
    is_exchanged: target !== null && branchOf(job) === target,
  }
}
