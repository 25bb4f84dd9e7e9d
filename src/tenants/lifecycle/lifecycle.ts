import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch, dbError, toProblem } from '../../kernel/db.ts'
import type { Env, Meter } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import { nextRun } from '../provisioning/provisioning.ts'
import type { UsedThen } from '../registry/limits.ts'
import { publish } from '../registry/publishing.ts'
import { STANDING, tell, toldBack } from '../registry/standing.ts'
import { type TenantWire, tenantColumns, wire } from '../registry/tenants.ts'
import { endOfFormerKey } from './rotation.ts'

/**
 * Starts the next attempt of a tenant that failed. One round trip to the master; `tenant:retry`. Fails with not_found,
 * illegal_state.
 */
export async function retryTenant(ctx: Ctx, id: string): Promise<{ run_id: string; tenant: TenantWire }> {
  const run_id = crypto.randomUUID()
  const tenant = await setStatus(ctx, id, ['failed'], 'provisioning', nextRun(id, run_id, ctx.request.trace_id))
  return { run_id, tenant }
}

/**
 * Changes a tenant's status in the master; `propagate` then writes it to the tenant's own database and to KV. One round trip.
 * Fails with not_found, illegal_state.
 */
export async function setStatus(
  ctx: Ctx,
  id: string,
  from: TenantWire['status'][],
  to: TenantWire['status'],
  then: SQL[] = [],
): Promise<TenantWire> {
  const [changed, found] = await ctx.run(
    ctx.db.execute(
      sql`update platform.tenants set status = ${to}, deleted_at = case when ${to} = 'deleted' then now() end
          where id = ${id} and status in (${sql.join(
            from.map((status) => sql`${status}`),
            sql`, `,
          )}) returning id`,
    ),
    ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`),
    ...then.map((statement) => ctx.db.execute(statement)),
  )
  const [row] = rowsOf<Record<string, unknown>>(found)
  if (!row) throw new Problem('not_found')
  if (!rowsOf<Record<string, unknown>>(changed).length)
    throw new Problem('illegal_state', `The tenant is ${row.status}, not ${from.join(' or ')}.`)
  return wire(ctx.config, row)
}

export type Sources = { env: Env; config: Config; meter: Meter; trace_id: string }

/**
 * Writes a tenant's state from the master to where it takes effect: the row in the tenant's own database, which every admission
 * reads, with its limits and license, and whose audit notes it under the trace id of the request or run, and KV. Repeatable: after a failure published_v is less than v, and the scheduled job propagates again.
 * Where something must be counted for its limits and whoever creates does not come to an end, all but its limits and license take effect,
 * and published_v stays behind. Returns what the database says is used; null: it does not say, or was not told its limits.
 */
export async function propagate({ env, config, meter, trace_id }: Sources, tenant_id: string): Promise<UsedThen | null> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select status, subdomain, v, owner_url_encrypted, refresh_key_encrypted, refresh_key_from, ${STANDING} as standing from platform.tenants t where id = ${tenant_id} and status in ('active', 'inactive', 'deleted', 'erasing') and owner_url_encrypted is not null`,
  ])
  const tenant = rows?.[0]
  if (!tenant) return null
  const owner_url = await openOwnerUrl(config, tenant_id, String(tenant.owner_url_encrypted))
  const state = [
    sql`set local role freehold_owner`,
    sql`update freehold.tenant set is_active = ${tenant.status === 'active'}, subdomain = ${tenant.subdomain}, v = ${tenant.v}, updated_at = now()
        where id = ${tenant_id} and v < ${tenant.v}`,
    ...(await endOfFormerKey(config, tenant_id, tenant)),
  ]
  const told = tell(tenant_id, tenant.standing, Number(tenant.v))
  const answers = await batch(owner_url, [...state, ...told], trace_id).catch(async (error) => {
    if (dbError(error)?.code !== '55P03') throw error
    await batch(owner_url, state, trace_id)
    return null
  })
  await publish({ env, config, meter }, tenant_id)
  if (answers) return toldBack(answers)
  meter.master++
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants set published_v = least(published_v, v - 1) where id = ${tenant_id}`,
  ])
  log('limits of a tenant not told yet', { tenant: String(tenant.subdomain), trace_id, v: Number(tenant.v) })
  return null
}

/**
 * The same for a request whose change stands in the master: where the tenant's database is away, is being moved or has the schema of an earlier release, it is told later, and `is_told` is false.
 */
export async function propagateIfThere(
  sources: Sources,
  tenant_id: string,
): Promise<{ is_told: boolean; used: UsedThen | null }> {
  try {
    const used = await propagate(sources, tenant_id)
    return { is_told: used !== null, used }
  } catch (error) {
    const problem = toProblem(error)
    const is_away = problem instanceof Problem && problem.code === 'database_unavailable'
    if (!is_away) throw error
    log('tenant not told yet', { tenant: tenant_id, trace_id: sources.trace_id, error: dbError(error)?.message ?? '' })
    return { is_told: false, used: null }
  }
}
