/**
 * Rotating the keys of tenants. Threat: of twenty operators at once each makes a key; or a rotation stops half-way and nobody goes on.
 * So one statement begins it, the others join, and the scheduled job goes on with those that stopped (rotation.ts has the steps).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { encrypt } from '../../kernel/keyring.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { newToken } from '../../kernel/token.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import { propagate, type Sources } from './lifecycle.ts'
import { IS_DUE, type KeyRotation, KNOWN, systemHash, TIMES } from './rotation.ts'

export const KeyRotationWire = z
  .object({
    used_from: z.iso.datetime().openapi({ description: 'From then on the new keys are used' }),
    former_until: z.iso.datetime().openapi({ description: 'Until then the database accepts the former key of the system' }),
  })
  .openapi('KeyRotation')

/**
 * Begins the rotation of a tenant's keys, or finds the one that is under way; `rotateKeys` does it. One round trip to the master;
 * `tenant:update`. Fails with not_found, illegal_state (the tenant is not active or inactive, or was rotated in the last half hour).
 */
export async function beginRotation(ctx: Ctx, id: string): Promise<void> {
  const [, found] = await ctx.run(
    ctx.db.execute(
      sql`update platform.tenants t set rotating_since = now() where t.id = ${id} and t.status in ('active', 'inactive') and t.rotating_since is null and t.move_id is null and ${IS_DUE}`,
    ),
    ctx.db.execute(
      sql`select t.status, t.rotating_since is not null as is_rotating, t.move_id is not null as is_moving, ${TIMES} from platform.tenants t where t.id = ${id}`,
    ),
  )
  const [row] = rowsOf<KeyRotation & { status: string; is_rotating: boolean; is_moving: boolean }>(found)
  if (!row) throw new Problem('not_found')
  if (row.is_rotating) return
  const { status } = row
  if (status !== 'active' && status !== 'inactive') throw new Problem('illegal_state', `The tenant is ${status}.`)
  if (row.is_moving)
    throw new Problem(
      'illegal_state',
      'The tenant is being moved or restored, or its credentials are being rotated: try again when that has ended.',
    )
  const { used_from } = row
  throw new Problem('illegal_state', `The keys that are used from ${used_from} are new: rotate them again half an hour later.`)
}

/**
 * Does what is left of the rotation of a tenant's keys; repeatable, and by several at once. Seven round trips to the master and two to
 * the tenant's database, at most. Fails when one of them does not answer: the scheduled job goes on.
 */
export async function rotateKeys(sources: Sources, id: string): Promise<KeyRotation> {
  const { config, trace_id } = sources
  const fresh = await encrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', newToken())
  const [, [kept] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set next_refresh_key_encrypted = ${fresh} where t.id = ${id} and t.rotating_since is not null and t.next_refresh_key_encrypted is null`,
    sql`select t.refresh_key_encrypted as known, t.next_refresh_key_encrypted as next, t.owner_url_encrypted as owner
        from platform.tenants t where t.id = ${id} and t.next_refresh_key_encrypted is not null`,
  ])
  // Nothing: another call has done them meanwhile.
  if (kept) {
    const [known, next] = [String(kept.known), String(kept.next)]
    await teach(
      config,
      id,
      String(kept.owner),
      [await systemHash(config, id, known), await systemHash(config, id, next)],
      trace_id,
    )
    const switched = sql`update platform.tenants t set refresh_key_encrypted = ${next}, former_refresh_key_encrypted = ${known}, next_refresh_key_encrypted = null,
        refresh_key_from = now() + ${KNOWN}, rotating_since = null
      where t.id = ${id} and t.refresh_key_encrypted = ${known} and t.next_refresh_key_encrypted = ${next}
        -- Taught to the database that it has: where an undo gave it another one meanwhile, the scheduled job teaches that.
        and t.owner_url_encrypted = ${String(kept.owner)}`
    await batch(config.MASTER_DATABASE_URL, [switched], trace_id)
  }
  await propagate(sources, id)
  const [[row] = []] = await batch(config.MASTER_DATABASE_URL, [sql`select ${TIMES} from platform.tenants t where t.id = ${id}`])
  if (!row) throw new Problem('not_found')
  return row as KeyRotation
}

/** Has a tenant's database accept a new key of the system beside the known one, and sign with new keys. */
async function teach(
  config: Config,
  id: string,
  owner: string,
  [known, next]: [string, string],
  trace_id: string,
): Promise<void> {
  const statements = [
    sql`set local role freehold_owner`,
    sql`select access.rotate_keys(${known}::bytea, ${next}::bytea) as is_known`,
  ]
  const [, [row] = []] = await batch(await openOwnerUrl(config, id, owner), statements, trace_id)
  if (!row?.is_known) throw new Error('The database does not know the key that the registry has: it is another, or an older one.')
}

/** For the scheduled job: goes on with rotations of tenants that stopped. Returns how many it tried. */
export async function rotateStale(env: Env, config: Config, trace_id = newTraceId()): Promise<number> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select id from platform.tenants where rotating_since < now() - interval '1 minute' order by rotating_since limit 20`,
  ])
  for (const { id } of rows)
    await rotateKeys({ env, config, meter: { master: 0 }, trace_id }, String(id)).catch((error) =>
      log('keys not rotated', { tenant: String(id), trace_id, error: error instanceof Error ? error.message : String(error) }),
    )
  return rows.length
}
