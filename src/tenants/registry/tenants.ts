/** Tenants as the platform API returns them: the columns, one tenant, and the list. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { tenantUrl } from '../../names/hosts.ts'
import { exceeded, LicenseState, Limits, UsedThen } from './limits.ts'

/** The name of a plan. */
export const Plan = z.string().regex(/^[a-z0-9_-]{1,50}$/, 'must be 1-50 of a-z, 0-9, _ and -')

export const Tenant = z
  .object({
    id: z.uuid(),
    subdomain: z.string(),
    url: z.url(),
    former_subdomains: z
      .array(z.object({ subdomain: z.string(), until: z.iso.datetime() }))
      .openapi({ description: 'Names that it had: until then they say where it is, and nobody else may take them' }),
    legal_name: z.string(),
    tax_id: z.string().nullable(),
    country: z.string().nullable(),
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
    limits: Limits.openapi({ description: 'Its own, in place of those of its license and its plan' }),
    effective_limits: Limits.openapi({
      description: 'What limits it: its own limits, else those of its license, else those of its plan',
    }),
    used: UsedThen,
    user_limit_reached: z.boolean(),
    limits_exceeded: z
      .array(z.string())
      .openapi({ description: 'Limits of which more is used than they allow: nothing more is made' }),
    license: LicenseState.nullable().openapi({ description: 'null: it needs none' }),
    is_applied: z.boolean().openapi({ description: 'Its own database and the registry cache have its last change' }),
    config: z.record(z.string(), z.unknown()),
    schema_version: z.string().nullable(),
    database_error: z
      .string()
      .nullable()
      .openapi({ description: 'Of an adopted database: why its login or an erasure failed last' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    deleted_at: z.iso.datetime().nullable(),
  })
  .openapi('Tenant')

export const TenantList = pageOf(Tenant).openapi('TenantList')

const SORTS = ['-created_at', 'created_at', 'subdomain', '-subdomain', 'legal_name', '-legal_name'] as const
/** The key of each order, as text; the id decides between two of one key. */
const KEYS = {
  created_at: rfc3339('t.created_at'),
  subdomain: sql`t.subdomain collate "C"`,
  legal_name: sql`lower(t.legal_name) collate "C"`,
}
/** Filters by equality, with their columns. */
const EXACT = {
  status: sql`t.status`,
  plan: sql`t.plan`,
  environment: sql`t.environment`,
  isolation: sql`t.isolation`,
  region: sql`t.region`,
  schema_version: sql`t.schema_version`,
}
const Exactly = z.string().min(1).max(100).optional()

export const TenantQuery = Page.extend({
  status: Tenant.shape.status.optional(),
  plan: Exactly,
  environment: Tenant.shape.environment.optional(),
  isolation: Exactly,
  region: Exactly,
  schema_version: Exactly,
  search: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .openapi({ description: 'Part of the subdomain, of a former one, of the legal name or of the tax id, in capitals or not' }),
  sort: z.enum(SORTS).default('-created_at'),
})
export type TenantWire = z.infer<typeof Tenant>

/** The columns of a tenant as the API returns them, from `platform.tenants t`. */
export const tenantColumns = sql`t.id, t.subdomain, t.legal_name, t.tax_id, t.country, t.region, t.admin_email, t.contact_name, t.plan, t.environment,
  t.environment = 'demo' as is_demo, t.status, t.is_active, t.isolation, t.role_preset, t.database_name, t.limits,
  platform.effective_limits(t.id, t.plan, t.limits) as effective_limits, platform.license_of(t.id) as license, t.published_v >= t.v as is_applied,
  (select jsonb_build_object('users', t.users_counted, 'as_of', (select ${rfc3339('m.users_counted_at')} from platform.maintenance m where m.realm_id = t.id))) as used,
  t.config, t.schema_version,
  coalesce((select jsonb_agg(jsonb_build_object('subdomain', n.name, 'until', ${rfc3339('n.until')}) order by n.until, n.name)
    from platform.subdomains n where n.tenant_id = t.id and n.until > now()), '[]') as former_subdomains,
  (select h.refused from platform.hosts h where h.id = t.host_id and h.kind = 'external') as database_error,
  ${rfc3339('t.created_at')} as created_at, ${rfc3339('t.updated_at')} as updated_at, ${rfc3339('t.deleted_at')} as deleted_at`

/** A row of `columns` with its URL, which comes from the settings, and how its limits compare with what it reported last. */
export const wire = (config: Config, row: Record<string, unknown>): TenantWire =>
  withUsed({ ...row, url: tenantUrl(config, String(row.subdomain)) } as TenantWire, null)

/** A tenant with what its own database says is used; null: what it reported last. */
export function withUsed(tenant: TenantWire, used: UsedThen | null): TenantWire {
  const known = used ?? tenant.used
  const limits = tenant.effective_limits
  return {
    ...tenant,
    used: known,
    user_limit_reached: exceeded(limits, known, true).includes('max_users'),
    limits_exceeded: exceeded(limits, known),
  }
}

/** One tenant. One round trip to the master; `tenant:read`. */
export async function getTenant(ctx: Ctx, id: string): Promise<TenantWire> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`))
  const [row] = rowsOf<Record<string, unknown>>(result)
  if (!row) throw new Problem('not_found')
  return wire(ctx.config, row)
}

/**
 * Tenants that all filters admit, newest first unless `sort` says otherwise. A cursor is of one order and one set of filters. One round
 * trip to the master; `tenant:read`. Fails with invalid_cursor.
 */
export async function listTenants(ctx: Ctx, query: z.infer<typeof TenantQuery>): Promise<z.infer<typeof TenantList>> {
  const { limit, cursor, search, sort, ...filters } = query
  const list = `tenants:${JSON.stringify([sort, search, ...Object.keys(EXACT).map((name) => filters[name as keyof typeof EXACT])])}`
  const after = await readCursor(ctx.realm, list, cursor)
  const field = sort.replace('-', '') as keyof typeof KEYS
  const [direction, beyond] = sort.startsWith('-') ? [sql.raw('desc'), sql.raw('<')] : [sql.raw('asc'), sql.raw('>')]
  // Of a moment the column itself is compared, which an index has.
  const [key, of] = field === 'created_at' ? [sql`t.created_at`, sql.raw('timestamptz')] : [KEYS[field], sql.raw('text')]
  const exact = Object.entries(EXACT).flatMap(([name, column]) => {
    const value = filters[name as keyof typeof EXACT]
    return value === undefined ? [] : [sql`${column} = ${value}`]
  })
  const part = `%${search?.replaceAll(/[\\%_]/g, '\\$&')}%`
  const conditions = [
    ...exact,
    ...(search === undefined
      ? []
      : [
          sql`(t.subdomain ilike ${part} or t.legal_name ilike ${part} or t.tax_id ilike ${part}
            or t.id in (select n.tenant_id from platform.subdomains n where n.name ilike ${part} and n.until > now()))`,
        ]),
    ...(after ? [sql`(${key}, t.id) ${beyond} (${after[0]}::${of}, ${after[1]}::uuid)`] : []),
  ]
  const where = conditions.length ? sql`where ${sql.join(conditions, sql` and `)}` : sql``
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${tenantColumns}, ${KEYS[field]} as sort_key from platform.tenants t ${where}
      order by ${key} ${direction}, t.id ${direction} limit ${limit + 1}`),
  )
  const page = await paged(ctx.realm, list, rowsOf<Record<string, unknown>>(result), limit, (row) => [
    String(row.sort_key),
    String(row.id),
  ])
  return { ...page, data: page.data.map(({ sort_key: _, ...row }) => wire(ctx.config, row)) }
}
