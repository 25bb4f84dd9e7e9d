import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { Tenant, type TenantWire } from '../registry/tenants.ts'

export const Step = z
  .object({
    name: z.string(),
    state: z.enum(['pending', 'running', 'done', 'failed']),
    started_at: z.iso.datetime().nullable(),
    finished_at: z.iso.datetime().nullable(),
    attempts: z.int(),
    error: z.string().nullable(),
    trace_id: z.string().nullable().openapi({ description: 'Of its latest attempt, as the log has it; null before the first' }),
  })
  .openapi('ProvisioningStep')

export const Steps = z.object({ data: z.array(Step), next_cursor: z.null(), status: Tenant.shape.status }).openapi('Provisioning')

/** The provisioning steps of a tenant and their states. One round trip to the master; `tenant:read`. */
export async function getProvisioning(ctx: Ctx, id: string): Promise<z.infer<typeof Steps>> {
  const [tenant, result] = await ctx.run(
    // First: of an active tenant nobody sees a step that still runs.
    ctx.db.execute(sql`select t.status from platform.tenants t where t.id = ${id}`),
    ctx.db.execute(sql`select s.name, s.state, s.attempts, s.error, s.trace_id, ${rfc3339('s.started_at')} as started_at, ${rfc3339('s.finished_at')} as finished_at
      from platform.provisioning_steps s where s.tenant_id = ${id} order by s.position`),
  )
  const [row] = rowsOf<Record<string, unknown>>(tenant)
  if (!row) throw new Problem('not_found')
  return {
    data: rowsOf<Record<string, unknown>>(result) as z.infer<typeof Step>[],
    next_cursor: null,
    status: row.status as TenantWire['status'],
  }
}
