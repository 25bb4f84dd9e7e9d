/** What operators change of a tenant: who it is, its plan, its configuration. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { matches, rowsOf, unchanged } from '../../kernel/wire.ts'
import { Email } from '../../names/addresses.ts'
import { Name } from '../../names/names.ts'
import { mustBeOwn, mustBeSecure, namesIn, TenantConfig } from '../registry/origins.ts'
import { Plan, type TenantWire, tenantColumns, wire } from '../registry/tenants.ts'

export const TenantPatch = z
  .object({
    legal_name: Name(255).optional(),
    contact_name: Name(255).nullish().openapi({ description: 'null removes it' }),
    admin_email: Email.optional().openapi({ description: 'Where the platform writes to; no user is changed' }),
    plan: Plan.nullish().openapi({ description: 'null removes it' }),
    environment: z.enum(['demo', 'production']).optional(),
    config: TenantConfig.optional(),
  })
  .openapi('TenantPatch')

const FIELDS = ['legal_name', 'contact_name', 'admin_email', 'plan', 'environment'] as const

/**
 * Changes a tenant; fields that are left out stay. The caller propagates the change. One round trip to the master; `tenant:update`.
 * Fails with not_found, illegal_state (the tenant is being created or erased), etag_mismatch, invalid_request.
 */
export async function changeTenant(
  ctx: Ctx,
  id: string,
  { config = {}, ...fields }: z.infer<typeof TenantPatch>,
  ifMatch?: string,
): Promise<TenantWire> {
  mustBeSecure(ctx.config, config)
  const names = JSON.stringify(namesIn(ctx.config, config))
  // From the row that is updated, which another request may have changed meanwhile. Null removes a field; one that is left out stays.
  const given = sql`${JSON.stringify(fields)}::jsonb`
  const columns = FIELDS.map((name) => {
    const column = sql.identifier(name)
    return sql`${column} = case when ${given} ? ${name} then ${given} ->> ${name} else t.${column} end`
  })
  const [changed, found] = await ctx.run(
    ctx.db.execute(
      sql`update platform.tenants t set config = t.config || ${JSON.stringify(config)}::jsonb, ${sql.join(columns, sql`, `)}
          where t.id = ${id} and t.subdomain = all (array(select jsonb_array_elements_text(${names}::jsonb))) and t.status not in ('provisioning', 'erasing') and ${matches('t.updated_at', ifMatch)} returning t.id`,
    ),
    ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`),
  )
  const [row] = rowsOf<Record<string, unknown>>(found)
  if (!row) throw new Problem('not_found')
  const tenant = wire(ctx.config, row)
  if (rowsOf(changed).length) return tenant
  if (['provisioning', 'erasing'].includes(tenant.status)) throw new Problem('illegal_state', `The tenant is ${tenant.status}.`)
  mustBeOwn(ctx.config, config, tenant.subdomain)
  throw unchanged(tenant, ifMatch)
}
