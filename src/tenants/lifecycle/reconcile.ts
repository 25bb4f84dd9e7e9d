/**
 * Propagates tenants whose last change did not reach their own database or KV. Threat: many such tenants, or one whose database is
 * unavailable, use up the run and keep the others from being reconciled. So a run takes a bounded number in random order.
 */
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { propagate } from './lifecycle.ts'

/** An invocation has 1,000 subrequests, a tenant takes five, and maintenance runs beside. */
const MOST_PROPAGATED = 50
/** The next run comes after a minute. */
const RUN_MS = 40_000

/** The tenants of a run, which a partial index finds. */
export const UNPUBLISHED = sql`select t.id, t.subdomain, t.v from platform.tenants t
  where t.published_v < t.v and t.status in ('active', 'inactive', 'deleted') and t.owner_url_encrypted is not null
  order by t.status = 'active', random() limit ${MOST_PROPAGATED}`

/** A license that begins or ends changes what its tenant's database is told. */
const LICENSES_TURN = sql`update platform.licenses set has_begun = valid_from <= now(), has_ended = valid_until <= now()
  where not has_begun and valid_from <= now() or not has_ended and valid_until <= now()`

/**
 * For the scheduled job: propagates tenants that changed, or whose entry in KV was found damaged. Returns how many it reconciled.
 * One round trip to the master, and for each of at most 50 tenants what `propagate` takes.
 */
export async function reconcile(env: Env, config: Config, trace_id = newTraceId()): Promise<number> {
  const until = Date.now() + RUN_MS
  const sources = { env, config, meter: { master: 0 }, trace_id }
  const [, rows = []] = await batch(config.MASTER_DATABASE_URL, [LICENSES_TURN, UNPUBLISHED])
  let reconciled = 0
  for (const row of rows) {
    if (Date.now() >= until) break
    const about = { tenant: String(row.subdomain), trace_id, v: Number(row.v) }
    try {
      await propagate(sources, String(row.id))
      reconciled++
      log('tenant reconciled', about)
    } catch (error) {
      log('tenant not reconciled', { ...about, error: error instanceof Error ? error.message : String(error) })
    }
  }
  return reconciled
}
