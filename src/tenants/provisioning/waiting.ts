import { sql } from 'drizzle-orm'
import type { z } from 'zod'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { getTenant, type Tenant, type TenantWire } from '../registry/tenants.ts'
import { startRun } from './provisioning.ts'

const MAX_WAIT_SECONDS = 60

/**
 * Starts the run of a tenant that was reserved, and waits as long as the caller prefers (RFC 7240), 60 s at most. Returns the tenant if it
 * is active then, otherwise null. Nothing may fail from here on: the tenant is reserved, and its password is in no other answer. The scheduled job
 * resumes the run.
 */
export async function begun(
  env: Env,
  ctx: Ctx,
  { tenant, run_id }: { tenant: TenantWire; run_id: string | null },
  prefer: string | undefined,
): Promise<z.infer<typeof Tenant> | null> {
  const { trace_id } = ctx.request
  const until = Date.now() + secondsToWait(prefer) * 1000
  if (run_id) log('tenant reserved', { tenant: tenant.subdomain, trace_id, run: run_id })
  return Promise.resolve(run_id && startRun(env, run_id))
    .then(() => waitUntilActive(ctx, tenant.id, until))
    .catch((error) => {
      log('tenant not waited for', { tenant: tenant.subdomain, trace_id, error: String(error) })
      return null
    })
}

const secondsToWait = (prefer = '') =>
  Math.min(MAX_WAIT_SECONDS, Number(/(?:^|[,;\s])wait\s*=\s*"?(\d{1,4})"?/i.exec(prefer)?.[1] ?? 0))

/** The tenant, if it becomes active until then; otherwise null, at most one look at the master later. */
async function waitUntilActive(ctx: Ctx, id: string, until: number): Promise<z.infer<typeof Tenant> | null> {
  // Not before anybody can be done; then often, and less and less: each look is a round trip to the master. It reads one column, because
  // what the tenant is being made with has to share the machine with it.
  for (let pause = 150, next = 15, left = until - Date.now(); left > 0; left = until - Date.now()) {
    await scheduler.wait(Math.min(pause, left))
    pause = next
    next = Math.min(1_000, next * 1.06)
    const [rows] = await batch(ctx.config.MASTER_DATABASE_URL, [sql`select t.status from platform.tenants t where t.id = ${id}`])
    const status = rows?.[0]?.status
    if (status !== 'provisioning') return status === 'active' ? getTenant(ctx, id) : null
  }
  return null
}
