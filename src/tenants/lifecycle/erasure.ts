/**
 * Erasing a tenant destroys its database, logins, keys and pictures and deletes its row; the platform's audit of it stays, and a certificate.
 * Threat: data or credentials that outlive the tenant, and an erasure that destroys another tenant's database.
 */
import { sql } from 'drizzle-orm'
import { filesOf, removeAll } from '../../avatars/store.ts'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch, dbError } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { certify } from '../certificate/certificate.ts'
import { isForTenant } from '../provisioning/host-names.ts'
import { isolations } from '../provisioning/isolation.ts'
import { type Job, jobOf } from '../provisioning/job.ts'
import { reason } from '../provisioning/neon.ts'
import { dropOtherPair } from '../provisioning/other-pair.ts'
import { LEFT, type Left, removeOtherSide } from '../provisioning/other-side.ts'
import { kvKey } from '../registry/registry.ts'
import { type TenantWire, tenantColumns, wire } from '../registry/tenants.ts'
import { propagate } from './lifecycle.ts'

/**
 * Marks a tenant for erasure, in any status but `provisioning`; from then on no request finds it. `confirm` must repeat the
 * subdomain. One round trip to the master; `tenant:delete`. Fails with not_found, invalid_request, illegal_state.
 */
export async function markForErasure(ctx: Ctx, id: string, confirm: string | undefined): Promise<TenantWire> {
  const [marked, found] = await ctx.run(
    ctx.db.execute(sql`update platform.tenants set status = 'erasing', deleted_at = coalesce(deleted_at, now())
      where id = ${id} and subdomain = ${confirm ?? ''} and status in ('active', 'inactive', 'failed', 'deleted') returning id`),
    ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`),
  )
  const [row] = rowsOf<Record<string, unknown>>(found)
  if (!row) throw new Problem('not_found')
  if (rowsOf<Record<string, unknown>>(marked).length) return wire(ctx.config, row)
  if (row.subdomain !== confirm) throw invalid('query/confirm', "must be the tenant's subdomain: erasing cannot be undone")
  throw new Problem('illegal_state', `The tenant is ${row.status}.`)
}

/**
 * Erases a tenant that is marked for erasure. A lease of 15 minutes, longer than Neon may take, keeps concurrent callers out: a slower
 * one must not meet a database that got the name since. After a failure the next caller repeats all steps: deleting something that no
 * longer exists is not an error; why it failed is the step `erase` of the tenant's provisioning. The audit has it under the trace id of the request or run.
 */
export async function erase(env: Env, config: Config, id: string, trace_id: string): Promise<void> {
  const [held] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set erasing_until = now() + interval '15 minutes'
        where id = ${id} and status = 'erasing' and coalesce(erasing_until, now()) <= now()
        returning to_jsonb(t) as tenant, (select to_jsonb(h) from platform.hosts h where h.id = t.host_id) as host`,
  ])
  const found = held?.[0] as { tenant: Parameters<typeof jobOf>[1]; host: Parameters<typeof jobOf>[2] } | undefined
  if (!found) return
  const job = await jobOf(config, found.tenant, found.host, trace_id)
  const about = { tenant: job.tenant.subdomain, trace_id }
  try {
    // Deactivated first: an isolate may still have the tenant in memory, and Neon may be unavailable.
    await propagate({ env, config, meter: { master: 0 }, trace_id }, id).catch(() => undefined)
    // Its former names, too: what they say leads to whoever has its name next.
    for (const name of await namesOf(config, id)) await env.TENANTS.delete(kvKey(name))
    await removeMoving(config, id)
    await removeRotating(config, job)
    const is_removed = (await isolations[job.tenant.isolation]?.remove(job)) ?? false
    // After the database, without which nobody keeps another. What is gone already is no failure, as above.
    const files = filesOf(env)
    if (files) await removeAll(files, id)
    const deletions = [
      await certify(config, job, is_removed),
      sql`delete from platform.provisioning_steps where tenant_id = ${id}`,
      sql`delete from platform.provisioning_runs where tenant_id = ${id}`,
      sql`delete from platform.signing_keys where realm_id = ${id}`,
      sql`with gone as (delete from platform.tenants where id = ${id} and status = 'erasing' returning host_id)
          update platform.hosts h set taken = h.taken - 1 from gone where h.id = gone.host_id`,
      sql`delete from platform.hosts h where ${isForTenant(sql`${id}::text`)}`,
      // After the tenant, whose maintenance row is deleted with it: creating checkpoints locks the two in the same order.
      sql`delete from platform.audit_heads where realm_id = ${id}`,
    ]
    await batch(config.MASTER_DATABASE_URL, deletions, trace_id)
    log('tenant erased', about)
  } catch (error) {
    const words = reason(error)
    log('tenant not erased', { ...about, error: words })
    await batch(config.MASTER_DATABASE_URL, stopped(id, words, trace_id))
  }
}

/** Every name that a tenant has or keeps. One round trip to the master. */
async function namesOf(config: Config, id: string): Promise<string[]> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.subdomain as name from platform.tenants t where t.id = ${id} union select s.name from platform.subdomains s where s.tenant_id = ${id}`,
  ])
  return rows.map(({ name }) => String(name))
}

/**
 * Removes the other database of a tenant that is being moved, or was a moment ago. Fails while somebody works on the move, who finds
 * the erasure at the next step.
 */
async function removeMoving(config: Config, id: string): Promise<void> {
  const [, moves = []] = await batch(config.MASTER_DATABASE_URL, [
    // Whoever worked on it died: no step of that attempt does anything any more.
    sql`update platform.tenant_moves m set state = 'failed', attempts = m.attempts + 2, error = 'The tenant is being erased.', finished_at = now(), left_until = now()
        where m.tenant_id = ${id} and m.state = 'running' and m.lease_until <= now()`,
    // `is_held`: somebody is removing it (tenants/move/rest.ts).
    sql`select ${LEFT}, m.lease_until > now() as is_held from platform.tenant_moves m join platform.tenants t on t.id = m.tenant_id where m.tenant_id = ${id} and (m.state = 'running' or m.left_until is not null)`,
  ])
  for (const left of moves as (Left & { is_held: boolean })[]) {
    if (left.move.state === 'running') throw new Error('The tenant is being moved.')
    if (left.is_held) throw new Error('What a move left is being removed.')
    await removeOtherSide(config, left)
  }
}

/** The statements that end the lease of an erasure, and record why it stopped where the steps of the tenant's creation are. */
const stopped = (id: string, words: string, trace_id: string) => [
  sql`update platform.tenants set erasing_until = now() where id = ${id}`,
  sql`insert into platform.provisioning_steps as s (tenant_id, position, name, state, attempts, started_at, finished_at, error, trace_id)
      select t.id, 99, 'erase', 'failed', 1, now(), now(), ${words}, ${trace_id} from platform.tenants t where t.id = ${id} and t.status = 'erasing'
      on conflict (tenant_id, name) do update set attempts = s.attempts + 1, finished_at = now(), error = excluded.error, trace_id = excluded.trace_id`,
]

/** Drops the logins of a rotation that is not over; the tenant's own go with its database. Fails while somebody works on it. */
async function removeRotating(config: Config, job: Job): Promise<void> {
  const [open = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select r.state = 'running' and r.lease_until > now() as is_held from platform.credential_rotations r
        where r.tenant_id = ${job.tenant.id} and r.state in ('running', 'leaving', 'failing')`,
  ])
  if (!open.length || !job.tenant.host) return
  if (open[0]?.is_held) throw new Error('The logins of the tenant are being rotated.')
  // Without the database there is nothing that they may connect to.
  await dropOtherPair(job).catch((error) => {
    if (dbError(error)?.code !== '3D000') throw error
  })
}

/** For the scheduled job: resumes erasures that stalled. Returns how many it tried. */
export async function eraseStale(env: Env, config: Config, trace_id = newTraceId()): Promise<number> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select id from platform.tenants where status = 'erasing' and coalesce(erasing_until, now()) <= now() limit 20`,
  ])
  for (const { id } of rows) await erase(env, config, String(id), trace_id)
  return rows.length
}
