/**
 * The database of a tenant that is being moved, or was a moment ago, on the side where the tenant is not. Threat: the one that is removed
 * is the tenant's. So which side that is comes from the row of the move, and the names of its logins are not those of the tenant's.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { isolations } from './isolation.ts'
import { type Job, jobOf, type MasterRow } from './job.ts'
import type { OperationRef } from './neon.ts'
import { isOwnHost } from './own-host.ts'

/** A row of platform.tenant_moves, as JSON. */
export type MoveRow = {
  id: string
  tenant_id: string
  isolation: string
  from_isolation: string
  state: string
  step: string
  trace_id: string
  other_host_id: string | null
  app_url_encrypted: string | null
  owner_url_encrypted: string | null
  exchanged_at: string | null
  operations: OperationRef[] | null
}

/**
 * The job of the side on which the tenant is not, from the rows of the move, the tenant and the other host. Its logins have the other pair
 * of names: they are of no use on this side, wherever that is.
 */
export async function otherSide(config: Config, move: MoveRow, tenant: MasterRow, host: MasterRow | null): Promise<Job> {
  const is_left = move.exchanged_at !== null
  const own = await jobOf(config, tenant, null, move.trace_id)
  const row = {
    ...tenant,
    isolation: is_left ? move.from_isolation : move.isolation,
    // A branch that is left is found by its name.
    branch_id: null,
    app_url_encrypted: is_left ? null : move.app_url_encrypted,
    owner_url_encrypted: is_left ? null : move.owner_url_encrypted,
  } as MasterRow
  const job = await jobOf(config, row, host, own.trace_id)
  const pair = own.tenant.pair === 'a' ? 'b' : 'a'
  return { ...job, move_id: move.id, tenant: { ...job.tenant, pair } }
}

/** Rows of the master: a move that ended, its tenant, and the host on which something may be left. */
export type Left = { move: MoveRow; tenant: MasterRow; host: MasterRow | null }

/** The rows of `Left` of a move `m` and a tenant `t`, as columns. */
export const LEFT = sql`to_jsonb(m) as move, to_jsonb(t) as tenant, (select to_jsonb(h) from platform.hosts h where h.id = m.other_host_id) as host`

/**
 * Removes a tenant's other database with its logins, or its other project, and gives the place back. Repeatable. As many round trips as Neon
 * needs, and one to the master.
 */
export async function removeOtherSide(config: Config, { move, tenant, host }: Left): Promise<Job> {
  const job = await otherSide(config, move, tenant, host)
  // Removed already: by its name, what the move made would be found, which is the tenant's.
  if (move.exchanged_at !== null && !host) return job
  if ((await isolations[job.tenant.isolation]?.remove(job)) === false)
    log('a database of the name was left alone', { tenant: job.tenant.subdomain, move: move.id })
  await batch(config.MASTER_DATABASE_URL, [
    sql`with m as (select m.id, m.other_host_id from platform.tenant_moves m where m.id = ${move.id} and m.left_until is not null for update),
          counted as (update platform.hosts h set taken = h.taken - 1 from m where h.id = m.other_host_id)
        update platform.tenant_moves x set left_until = null, other_host_id = null from m where x.id = m.id`,
    sql`delete from platform.hosts where kind = 'project' and ${isOwnHost(job)}`,
  ])
  return job
}
