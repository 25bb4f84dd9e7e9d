/** Tenants as the platform API returns them: the columns, one tenant, and the list. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { tenantUrl } from './registry.ts'

export const Tenant = z
  .object({
    id: z.uuid(),
    subdomain: z.string(),
    url: z.url(),
    legal_name: z.string(),
    tax_id: z.string(),
    country: z.string(),
    region: z.string(),
    admin_email: z.string(),
    contact_name: z.string().nullable(),
    plan: z.string().nullable(),
    environment: z.enum(['demo', 'production']),
    is_demo: z.boolean(),
    status: z.enum(['provisioning', 'active', 'inactive', 'failed', 'deleted', 'erasing']),
    is_active: z.boolean(),
    isolation: z.string(),
    role_preset: z.string(),
    database_name: z.string(),
    limits: z.record(z.string(), z.number()),
    user_limit_reached: z.boolean(),
    config: z.record(z.string(), z.unknown()),
    schema_version: z.string().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    deleted_at: z.iso.datetime().nullable(),
  })
  .openapi('Tenant')

export const TenantList = pageOf(Tenant).openapi('TenantList')
/** A cursor here is two short values and its signature. */
export const TenantQuery = Page.extend({ cursor: z.string().max(200).optional() })
export type TenantWire = z.infer<typeof Tenant>

/** The columns of a tenant as the API returns them, from `platform.tenants t`. */
export const tenantColumns = sql`t.id, t.subdomain, t.legal_name, t.tax_id, t.country, t.region, t.admin_email, t.contact_name, t.plan, t.environment,
  t.environment = 'demo' as is_demo, t.status, t.is_active, t.isolation, t.role_preset, t.database_name, t.limits,
  coalesce((t.limits ->> 'max_users')::integer <= t.users_counted, false) as user_limit_reached, t.config, t.schema_version,
  ${rfc3339('t.created_at')} as created_at, ${rfc3339('t.updated_at')} as updated_at, ${rfc3339('t.deleted_at')} as deleted_at`

/** A row of `columns` with its URL, which comes from the settings. */
export const wire = (config: Config, row: Record<string, unknown>) =>
  ({ ...row, url: tenantUrl(config, String(row.subdomain)) }) as TenantWire

/** One tenant. One round trip to the master; `tenant:read`. */
export async function getTenant(ctx: Ctx, id: string): Promise<TenantWire> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`))
  const [row] = rowsOf<Record<string, unknown>>(result)
  if (!row) throw new Problem('not_found')
  return wire(ctx.config, row)
}

/** Tenants, newest first. One round trip to the master; `tenant:read`. Fails with invalid_cursor. */
export async function listTenants(ctx: Ctx, { limit, cursor }: z.infer<typeof TenantQuery>): Promise<z.infer<typeof TenantList>> {
  const [at, id] = (await readCursor(ctx.realm, 'tenants', cursor)) ?? []
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t
      ${at === undefined ? sql`` : sql`where (t.created_at, t.id) < (${at}::timestamptz, ${id}::uuid)`}
      order by t.created_at desc, t.id desc limit ${limit + 1}`),
  )
  const rows = rowsOf<Record<string, unknown>>(result).map((row) => wire(ctx.config, row))
  return paged(ctx.realm, 'tenants', rows, limit, (row) => [row.created_at, row.id])
}
