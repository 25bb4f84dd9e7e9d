/**
 * What is left of moves: the old database of one that is done, the new one of one that failed. Threat: the database that is removed is
 * the tenant's. So it is removed by what the master says of the side that the tenant is not on, some minutes after the exchange, and
 * while it is there no other move of this tenant begins.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { reason } from '../provisioning/neon.ts'
import { LEFT, type Left, removeOtherSide } from '../provisioning/other-side.ts'
import { LEASE, type MoveWork } from './place.ts'

/**
 * Removes the database that is left of a move, its logins or its project, once its time has come. Repeatable; of several at once one
 * does. Fails when Neon does not do it: the scheduled job tries again.
 */
export async function removeOther(config: Config, move_id: string): Promise<void> {
  const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
    // Longer than a removal can take: a slower one must not meet what the next move makes under the same names.
    sql`update platform.tenant_moves m set lease_until = now() + interval '15 minutes' from platform.tenants t
        where m.id = ${move_id} and m.state <> 'running' and m.left_until <= now() and m.lease_until <= now() and t.id = m.tenant_id and t.status <> 'erasing'
          and (m.exchanged_at is null or t.published_v >= t.v)
        returning ${LEFT}`,
  ])
  if (!found) return
  try {
    const { tenant, trace_id } = await removeOtherSide(config, found as Left)
    log('what a move left is removed', { tenant: tenant.subdomain, trace_id, isolation: tenant.isolation })
  } catch (error) {
    log('what a move left is not removed', { move: move_id, error: reason(error) })
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_moves m set lease_until = now() where m.id = ${move_id} and m.state <> 'running'`,
    ])
    throw error
  }
}

/** Starts the Workflow instance of an attempt at a move; one that exists goes on. */
export async function startMove(env: Env, work: MoveWork): Promise<void> {
  await env.MOVE.create({ id: `move-${work.move_id}-${work.attempt}`, params: work }).catch((error) => {
    if (!String(error).includes('already_exists')) log('move not started', { move: work.move_id, error: String(error) })
  })
}

/**
 * For the scheduled job: goes on with moves whose lease ran out, and removes what is left of those that ended. One round trip to the
 * master where there is nothing to do.
 */
export async function tendMoves(env: Env, config: Config): Promise<void> {
  const [lost = [], left = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_moves m set attempts = m.attempts + 2, lease_until = now() + ${LEASE} where m.state = 'running' and m.lease_until < now()
        returning m.id as move_id, m.attempts as attempt`,
    sql`select m.id from platform.tenant_moves m where m.state <> 'running' and m.left_until <= now() and m.lease_until <= now() order by m.left_until limit 20`,
  ])
  for (const work of lost) await startMove(env, work as MoveWork)
  for (const { id } of left) await removeOther(config, String(id)).catch(() => undefined)
}
