import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create, createdBefore } from '../../idempotency/idempotency.ts'
import { type Config, Label } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { brokenConstraint } from '../../kernel/db.ts'
import { encrypt } from '../../kernel/keyring.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { Email } from '../../names/addresses.ts'
import { isTaken, tenantUrl } from '../../names/hosts.ts'
import { Name } from '../../names/names.ts'
import { isReserved } from '../../names/reserved.ts'
import { generatePassword, hash } from '../../passwords/hash.ts'
import { DEFAULT_POLICY, weaknesses } from '../../passwords/policy.ts'
import { presets } from '../../presets/presets.ts'
import { usernameFrom } from '../../users/username.ts'
import { TenantConfig, tooMuch } from '../registry/configuration.ts'
import { mustBeOwn, mustBeSecure } from '../registry/origins.ts'
import { forgetUnknown } from '../registry/registry.ts'
import { Plan, Tenant, tenantColumns, wire } from '../registry/tenants.ts'
import { placesOf } from './hosts.ts'
import { isolations } from './isolation.ts'
import { regionsOf } from './projects.ts'
import { nextRun } from './provisioning.ts'
import { taxIdFault } from './tax-id.ts'

/** The isolations whose databases are made. */
const made = Object.keys(isolations).filter((name) => name !== 'external') as [string, ...string[]]

export const NewTenant = z
  .object({
    subdomain: Label.min(1).refine((name) => !isReserved(name), 'is reserved'),
    legal_name: Name(255),
    tax_id: z
      .string()
      .min(1)
      .max(32)
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
      .optional()
      .openapi({ description: 'Of its country only one tenant has it; of Peru it is a RUC, whose check digit is checked' }),
    country: z
      .string()
      .regex(/^[A-Z]{2}$/, 'must be an ISO 3166-1 code of two capital letters')
      .optional()
      .openapi({ description: 'Default with a tax_id: PE' }),
    admin_email: Email,
    contact_name: Name(255).optional(),
    plan: Plan.optional(),
    environment: z.enum(['demo', 'production']).default('production'),
    isolation: z
      .enum(made, {
        error: ({ input }) =>
          input === 'external' ? 'external is for databases that exist: POST /platform/v1/tenants/adopt' : undefined,
      })
      .optional(),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,60}$/, 'must be the id of a region of Neon')
      .optional()
      .openapi({ description: 'With isolation `project`. Default: NEON_REGION' }),
    role_preset: z.enum(Object.keys(presets) as [string, ...string[]]).default('minimal'),
    admin_password: z.string().min(1).max(1024).optional(),
    config: TenantConfig.default({}),
  })
  .openapi('NewTenant')

export const MadeTenant = Tenant.extend({
  initial_admin: z.object({ email: z.string(), password: z.string().optional(), must_change_password: z.boolean() }),
}).openapi('MadeTenant')

/**
 * The name of a tenant's database: the template with the subdomain, hyphens as underscores. Beyond 63 characters it is cut and
 * ends in the tenant's short id.
 */
export function databaseName(template: string, subdomain: string, id: string): string {
  const name = template.replace('{subdomain}', subdomain.replaceAll('-', '_'))
  return name.length <= 63 ? name : `${name.slice(0, 50)}_${shortId(id)}`
}

/** The same as SQL; one that a tenant has who had this subdomain before, and is called otherwise now, gets the short id, too. */
function freeDatabaseName({ TENANT_DB_TEMPLATE }: Config, subdomain: string, id: string): SQL {
  const name = databaseName(TENANT_DB_TEMPLATE, subdomain, id)
  const other = `${name.slice(0, 50)}_${shortId(id)}`
  return sql`case when exists (select from platform.tenants o where o.database_name = ${name}) then ${other} else ${name} end`
}

const shortId = (id: string) => id.replaceAll('-', '').slice(0, 12)

/** Fails with invalid_request unless the isolation has a region of its own, and Neon the region. */
export async function mustBeAvailable(
  config: Config,
  { isolation, region }: { isolation: string; region: string },
): Promise<void> {
  if (isolation !== 'project')
    throw invalid('region', `isolation ${isolation} has the region of its host, ${config.NEON_REGION}: use isolation project`)
  const regions = await regionsOf(config)
  if (regions && !regions.includes(region)) throw invalid('region', `must be one of ${regions.join(', ')}`)
}

/** The row of a tenant, and the generated password of its administrator. */
type Made = Record<string, unknown> & { password?: string; has_admin?: boolean }

function withAdmin(ctx: Ctx, { admin_email, admin_password }: Wanted, { password, has_admin, ...row }: Made) {
  const must_change_password = admin_password === undefined && !has_admin
  const initial_admin = { email: admin_email, ...(password !== undefined && { password }), must_change_password }
  return { ...wire(ctx.config, row), initial_admin }
}

/** The isolation that a plan names. That there is the plan the insertion sees to. */
const isolationOf = (plan: string | undefined) => sql`select p.isolation from platform.plans p where p.key = ${plan ?? null}`

/** A database that exists, and is a tenant's from now on. `host` inserts its host; `has_admin`: the first administrator is among its users. */
export type Place = { tenant_id: string; host_id: string; host: SQL; database_name: string; region: string; has_admin: boolean }

/** A tenant as it is asked for, where its place does not say so. */
type Wanted = Omit<z.infer<typeof NewTenant>, 'isolation' | 'region'> & {
  isolation?: string | undefined
  region?: string | undefined
}

/**
 * Reserves a tenant and the run that will provision it; the caller starts the run (null: a repeated request has none). Two round trips to the master;
 * `tenant:create`. Without `admin_password` a password is generated, returned only in this answer, and must be changed at the
 * first login. `find` looks for a database that exists, once the caller is admitted; the default is to make one. Fails with subdomain_taken, tax_id_taken,
 * already_exists (the tenant or the database), no_capacity, invalid_request, and as `find` does.
 */
export async function createTenant(
  ctx: Ctx,
  wanted: Wanted,
  find: () => Promise<Place | null> = async () => null,
): Promise<{ tenant: z.infer<typeof MadeTenant>; run_id: string | null }> {
  // Admitted first: no hash is computed for a caller whom the database refuses.
  const [known, planned] = await createdBefore<Made>(ctx, isolationOf(wanted.plan))
  if (known) return { tenant: withAdmin(ctx, wanted, known), run_id: null }
  const { admin_password, ...asked } = wanted
  const { NEON_REGION, DEFAULT_ISOLATION } = ctx.config
  let answered: Made | undefined
  const place = await find().catch(async (error: unknown) => {
    // What keeps it from being found may be this very request, which was answered meanwhile.
    if (ctx.idempotency) [answered] = await createdBefore<Made>(ctx)
    if (!answered) throw error
    return null
  })
  if (answered) return { tenant: withAdmin(ctx, wanted, answered), run_id: null }
  const isolation = place
    ? 'external'
    : (asked.isolation ?? rowsOf<{ isolation: string | null }>(planned)[0]?.isolation ?? DEFAULT_ISOLATION)
  const country = asked.country ?? (asked.tax_id === undefined ? null : 'PE')
  const given = { ...asked, country, isolation, region: place?.region ?? asked.region ?? NEON_REGION }
  if (given.region !== NEON_REGION && !place) await mustBeAvailable(ctx.config, given)
  if (isTaken(ctx.config, given.subdomain)) throw invalid('subdomain', 'is reserved')
  mustBeSecure(ctx.config, given.config)
  mustBeOwn(ctx.config, given.config, given.subdomain)
  const fault = given.tax_id !== undefined && taxIdFault(String(country), given.tax_id)
  if (fault) throw invalid('tax_id', fault)
  const username = usernameFrom(given.admin_email)
  const { subdomain, legal_name, role_preset } = given
  const policy = { ...DEFAULT_POLICY, ...presets[role_preset]?.settings }
  const at = { subdomain, legal_name, url: tenantUrl(ctx.config, subdomain) }
  const weak =
    admin_password === undefined ? [] : await weaknesses(admin_password, { email: given.admin_email, username }, policy, at)
  if (weak.length)
    throw new Problem('invalid_request', undefined, { errors: weak.map((detail) => ({ pointer: '#/admin_password', detail })) })
  if (place?.has_admin && admin_password !== undefined)
    throw invalid('admin_password', 'must be left out: the user is in the database already, and keeps the password')
  const id = place?.tenant_id ?? crypto.randomUUID()
  const run_id = crypto.randomUUID()
  const password = admin_password ?? generatePassword()
  const must_change_password = admin_password === undefined && !place?.has_admin
  const password_hash = await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)
  const admin = { email: given.admin_email, username, password_hash, must_change_password }
  const encrypted = await encrypt(ctx.config.ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  const database_name = place ? sql`${place.database_name}` : freeDatabaseName(ctx.config, given.subdomain, id)
  const connected_at = place ? sql`now()` : sql`null::timestamptz`
  const insert = sql`insert into platform.tenants as t (id, subdomain, legal_name, tax_id, country, region, admin_email, contact_name, plan, environment, status, isolation, role_preset, database_name, initial_admin_encrypted, config, host_id, connected_at)
    select ${id}, ${given.subdomain}, ${given.legal_name}, ${given.tax_id ?? null}, ${given.country}, ${given.region}, ${given.admin_email}, ${given.contact_name ?? null}, ${given.plan ?? null},
      ${given.environment}, 'provisioning', ${given.isolation}, ${given.role_preset}, ${database_name}, ${encrypted}, ${JSON.stringify(given.config)}::jsonb, ${place?.host_id ?? null}, ${connected_at}
    where exists (select from platform.hosts h where h.kind = ${given.isolation} and h.state = 'open' and ${placesOf(ctx.config, given.isolation, 'h')} > 0)
      or not exists (select from platform.hosts h where h.kind = ${given.isolation} and h.refused is not null and h.lease_until > now())`
  try {
    const [made] = await create<Made>(ctx, {
      before: [...(place ? [place.host] : []), insert, ...nextRun(id, run_id, ctx.request.trace_id)],
      made: sql`made as (select ${tenantColumns}, ${place?.has_admin ?? false}::boolean as has_admin from platform.tenants t where t.id = ${id})`,
      ...(must_change_password && { secrets: { password } }),
    })
    if (!made) throw new Problem('no_capacity')
    forgetUnknown(given.subdomain)
    return { tenant: withAdmin(ctx, wanted, made), run_id: ctx.idempotency?.is_replayed ? null : run_id }
  } catch (error) {
    const broken = brokenConstraint(error)
    if (broken === 'tenants_config') throw tooMuch()
    if (broken === 'tenants_subdomain') throw new Problem('subdomain_taken', `The subdomain ${given.subdomain} is taken.`)
    if (broken === 'tenants_pkey')
      throw new Problem('already_exists', 'The tenant in the database is one of this platform already.')
    if (broken === 'hosts_address_unique') throw new Problem('already_exists', 'The database is adopted already.')
    if (broken === 'tenants_tax_id') throw new Problem('tax_id_taken', `A tenant with the tax id ${given.tax_id} exists already.`)
    throw error
  }
}
