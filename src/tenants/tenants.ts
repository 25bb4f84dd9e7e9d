import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { type Config, Label } from '../kernel/config.ts'
import type { Ctx } from '../kernel/context.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { encrypt } from '../kernel/keyring.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { generatePassword, hash } from '../passwords/hash.ts'
import { weaknesses } from '../passwords/policy.ts'
import { presets } from '../presets/presets.ts'
import { usernameFrom } from '../users/username.ts'
import { isolations } from './provisioning/isolation.ts'
import { nextRun } from './provisioning/provisioning.ts'
import { taxIdFault } from './provisioning/tax-id.ts'
import { mustBeSecure, TenantConfig } from './registry/origins.ts'
import { tenantUrl } from './registry/registry.ts'

const RESERVED =
  'www api admin platform app mail smtp imap pop ftp ns ns1 ns2 dns cdn static assets status docs help support blog auth login account accounts billing console dashboard internal root test-api'.split(
    ' ',
  )

const Email = z
  .email('must be an e-mail address')
  .max(255)
  .transform((text) => text.normalize('NFKC').toLowerCase())
const Line = z
  .string()
  .trim()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must be text without control characters')

export const NewTenant = z
  .object({
    subdomain: Label.min(1).refine((name) => !RESERVED.includes(name), 'is reserved'),
    legal_name: Line,
    tax_id: z
      .string()
      .min(1)
      .max(32)
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces'),
    country: z
      .string()
      .regex(/^[A-Z]{2}$/, 'must be an ISO 3166-1 code of two capital letters')
      .default('PE'),
    admin_email: Email,
    contact_name: Line.optional(),
    plan: z
      .string()
      .regex(/^[a-z0-9_-]{1,50}$/, 'must be 1-50 of a-z, 0-9, _ and -')
      .optional(),
    environment: z.enum(['demo', 'production']).default('demo'),
    isolation: z.enum(Object.keys(isolations) as [string, ...string[]]).default('database'),
    role_preset: z.enum(Object.keys(presets) as [string, ...string[]]).default('minimal'),
    admin_password: z.string().min(1).max(1024).optional(),
    config: TenantConfig.default({}),
  })
  .openapi('NewTenant')

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

export const MadeTenant = Tenant.extend({
  initial_admin: z.object({ email: z.string(), password: z.string().optional(), must_change_password: z.boolean() }),
}).openapi('MadeTenant')

export const Step = z
  .object({
    name: z.string(),
    state: z.enum(['pending', 'running', 'done', 'failed']),
    started_at: z.iso.datetime().nullable(),
    finished_at: z.iso.datetime().nullable(),
    attempts: z.int(),
    error: z.string().nullable(),
  })
  .openapi('ProvisioningStep')

export const TenantList = z.object({ data: z.array(Tenant), next_cursor: z.string().nullable() }).openapi('TenantList')
export const Steps = z.object({ data: z.array(Step), next_cursor: z.null(), status: Tenant.shape.status }).openapi('Provisioning')

export type TenantWire = z.infer<typeof Tenant>

/** The columns of a tenant as the wire shows them, from `platform.tenants t`. */
export const shown = sql`t.id, t.subdomain, t.legal_name, t.tax_id, t.country, t.region, t.admin_email, t.contact_name, t.plan, t.environment,
  t.environment = 'demo' as is_demo, t.status, t.is_active, t.isolation, t.role_preset, t.database_name, t.limits,
  coalesce((t.limits ->> 'max_users')::integer <= t.users_counted, false) as user_limit_reached, t.config, t.schema_version,
  ${rfc3339('t.created_at')} as created_at, ${rfc3339('t.updated_at')} as updated_at, ${rfc3339('t.deleted_at')} as deleted_at`

/** A row of `shown` with what is computed from the settings. */
export const wire = (config: Config, row: Record<string, unknown>) =>
  ({ ...row, url: tenantUrl(config, String(row.subdomain)) }) as TenantWire

/** The name of a tenant's database: the template with the subdomain, hyphens as underscores; a longer one is cut and ends in the tenant's short id. */
export function databaseName(template: string, subdomain: string, id: string): string {
  const name = template.replace('{subdomain}', subdomain.replaceAll('-', '_'))
  return name.length <= 63 ? name : `${name.slice(0, 50)}_${id.replaceAll('-', '').slice(0, 12)}`
}

/**
 * Reserves a tenant and the run that will make it; the caller starts the run. Two round trips to the master; `tenant:create`. A password is
 * generated when none is given, is in the answer this once, and must be changed at the first login. Fails with subdomain_taken,
 * tax_id_taken, no_capacity, invalid_request.
 */
export async function createTenant(
  ctx: Ctx,
  wanted: z.infer<typeof NewTenant>,
): Promise<{ tenant: z.infer<typeof MadeTenant>; run_id: string }> {
  // Admitted first: hashing for whom the database would refuse is wasted.
  await ctx.run()
  const { admin_password, ...given } = wanted
  mustBeSecure(ctx.config, given.config)
  const fault = taxIdFault(given.country, given.tax_id)
  if (fault) throw invalid('tax_id', fault)
  const username = usernameFrom(given.admin_email)
  const weak = admin_password === undefined ? [] : weaknesses(admin_password, { email: given.admin_email, username })
  if (weak.length)
    throw new Problem('invalid_request', undefined, { errors: weak.map((detail) => ({ pointer: '#/admin_password', detail })) })
  const id = crypto.randomUUID()
  const run_id = crypto.randomUUID()
  const password = admin_password ?? generatePassword()
  const must_change_password = admin_password === undefined
  const admin = { email: given.admin_email, username, password_hash: await hash(password), must_change_password }
  const sealed = await encrypt(ctx.config.ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  const database_name = databaseName(ctx.config.TENANT_DB_TEMPLATE, given.subdomain, id)
  const insert = sql`insert into platform.tenants as t (id, subdomain, legal_name, tax_id, country, region, admin_email, contact_name, plan, environment, status, isolation, role_preset, database_name, initial_admin_sealed, config)
    select ${id}, ${given.subdomain}, ${given.legal_name}, ${given.tax_id}, ${given.country}, ${ctx.config.NEON_REGION}, ${given.admin_email}, ${given.contact_name ?? null}, ${given.plan ?? null},
      ${given.environment}, 'provisioning', ${given.isolation}, ${given.role_preset}, ${database_name}, ${sealed}, ${JSON.stringify(given.config)}::jsonb
    where exists (select from platform.homes h where h.kind = ${given.isolation} and h.state = 'open' and h.taken < h.capacity)
      or not exists (select from platform.homes h where h.kind = ${given.isolation} and h.refused is not null and h.lease_until > now())
    returning ${shown}`
  try {
    const [result] = await ctx.run(
      ctx.db.execute(insert),
      ...nextRun(id, run_id, ctx.request.trace_id).map((statement: SQL) => ctx.db.execute(statement)),
    )
    const [row] = rowsOf<Record<string, unknown>>(result)
    if (!row) throw new Problem('no_capacity')
    const initial_admin = { email: admin.email, ...(must_change_password && { password }), must_change_password }
    return { tenant: { ...wire(ctx.config, row), initial_admin }, run_id }
  } catch (error) {
    const broken = brokenConstraint(error)
    if (broken === 'tenants_subdomain') throw new Problem('subdomain_taken', `The subdomain ${given.subdomain} is taken.`)
    if (broken === 'tenants_tax_id') throw new Problem('tax_id_taken', `A tenant with the tax id ${given.tax_id} exists already.`)
    throw error
  }
}

/** One tenant. One round trip to the master; `tenant:read`. */
export async function getTenant(ctx: Ctx, id: string): Promise<TenantWire> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${shown} from platform.tenants t where t.id = ${id}`))
  const [row] = rowsOf<Record<string, unknown>>(result)
  if (!row) throw new Problem('not_found')
  return wire(ctx.config, row)
}

/** Tenants, newest first. `cursor` is what the page before gave. One round trip to the master; `tenant:read`. */
export async function listTenants(ctx: Ctx, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
  const [at, id] = parseCursor(cursor)
  const after = at ? sql`where (t.created_at, t.id) < (${at}::timestamptz, ${id}::uuid)` : sql``
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${shown} from platform.tenants t ${after} order by t.created_at desc, t.id desc limit ${limit + 1}`,
    ),
  )
  const rows = rowsOf<Record<string, unknown>>(result)
  const data = rows.slice(0, limit).map((row) => wire(ctx.config, row))
  const last = data.at(-1)
  return { data, next_cursor: rows.length > limit && last ? btoa(`${last.created_at}|${last.id}`) : null }
}

function parseCursor(cursor: string | undefined): [string | null, string | null] {
  if (cursor === undefined) return [null, null]
  const text = /^[A-Za-z0-9+/=]{1,200}$/.test(cursor) ? decoded(cursor) : ''
  const [, at, id] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)\|([0-9a-f-]{36})$/.exec(text) ?? []
  if (!at || !id || !isMoment(at) || !z.uuid().safeParse(id).success) throw new Problem('invalid_cursor')
  return [at, id]
}

/** True for a moment that exists: the calendar has it, and Postgres takes it. */
function isMoment(text: string): boolean {
  const at = Date.parse(text)
  return !Number.isNaN(at) && !text.startsWith('0000') && new Date(at).toISOString().slice(0, 19) === text.slice(0, 19)
}

function decoded(cursor: string): string {
  try {
    return atob(cursor)
  } catch {
    return ''
  }
}

/** How far the making of a tenant is. One round trip to the master; `tenant:read`. */
export async function getProvisioning(ctx: Ctx, id: string): Promise<z.infer<typeof Steps>> {
  const [result, tenant] = await ctx.run(
    ctx.db.execute(sql`select s.name, s.state, s.attempts, s.error, ${rfc3339('s.started_at')} as started_at, ${rfc3339('s.finished_at')} as finished_at
      from platform.provisioning_steps s where s.tenant_id = ${id} order by s.position`),
    ctx.db.execute(sql`select t.status from platform.tenants t where t.id = ${id}`),
  )
  const [row] = rowsOf<Record<string, unknown>>(tenant)
  if (!row) throw new Problem('not_found')
  return {
    data: rowsOf<Record<string, unknown>>(result) as z.infer<typeof Step>[],
    next_cursor: null,
    status: row.status as TenantWire['status'],
  }
}
