/** What operators change of a tenant: who it is, its name, its plan, its configuration. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { type Config, Label } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { brokenConstraint } from '../../kernel/db.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { matches, rowsOf, unchanged } from '../../kernel/wire.ts'
import { Email } from '../../names/addresses.ts'
import { isTaken, tenantDomains } from '../../names/hosts.ts'
import { Name } from '../../names/names.ts'
import { NewTenant } from '../provisioning/new-tenant.ts'
import { taxIdFault } from '../provisioning/tax-id.ts'
import { TenantConfigPatch, tooMuch } from '../registry/configuration.ts'
import { LimitsPatch } from '../registry/limits.ts'
import { mustBeOwn, mustBeSecure, namesIn } from '../registry/origins.ts'
import { Plan, type TenantWire, tenantColumns, wire } from '../registry/tenants.ts'

export const TenantPatch = z
  .object({
    legal_name: Name(255).optional(),
    contact_name: Name(255).nullish().openapi({ description: 'null removes it' }),
    admin_email: Email.optional().openapi({ description: 'Where the platform writes to; no user is changed' }),
    subdomain: Label.min(1).optional().openapi({
      description:
        'Renames the tenant. Its former name is kept for it for 30 days, says where it is, and is in tokens that go on to count',
    }),
    tax_id: NewTenant.shape.tax_id.nullable().openapi({
      description: "null removes it. One that is given is of `country`, or else of the tenant's country, or else of PE",
    }),
    country: NewTenant.shape.country
      .nullable()
      .openapi({ description: 'null removes it. Of a tenant that has a tax id it is changed with `tax_id`' }),
    plan: Plan.nullish().openapi({ description: 'null removes it' }),
    environment: z.enum(['demo', 'production']).optional(),
    limits: LimitsPatch.optional().openapi({
      description: 'Limits that are left out stay; null: that of the license or the plan counts',
    }),
    config: TenantConfigPatch.nullish().openapi({
      description: 'Keys that are left out stay, null removes a key; null instead of an object removes all',
    }),
  })
  .openapi('TenantPatch')

const FIELDS = ['legal_name', 'contact_name', 'admin_email', 'tax_id', 'plan', 'environment'] as const

/**
 * Changes a tenant; fields that are left out stay. The caller propagates the change. One round trip to the master; `tenant:update`.
 * Fails with not_found, illegal_state (the tenant is being created or erased; or is to be renamed and was never active, or is deleted),
 * subdomain_taken, tax_id_taken, limit_reached, etag_mismatch, invalid_request.
 */
export async function changeTenant(
  ctx: Ctx,
  id: string,
  { config: given_config = {}, limits = {}, subdomain, ...fields }: z.infer<typeof TenantPatch>,
  ifMatch?: string,
): Promise<TenantWire> {
  const config = given_config ?? {}
  const { origins } = config
  mustBeSecure(ctx.config, { origins: origins ?? [] })
  if (subdomain !== undefined && isTaken(ctx.config, subdomain))
    throw new Problem('subdomain_taken', `The subdomain ${subdomain} is reserved.`)
  const names = JSON.stringify(namesIn(ctx.config, { origins: origins ?? [] }))
  // From the row that is updated, which another request may have changed meanwhile. Null removes a field; one that is left out stays.
  const given = sql`${JSON.stringify(fields)}::jsonb`
  const columns = FIELDS.map((name) => {
    const column = sql.identifier(name)
    return sql`${column} = case when ${given} ? ${name} then ${given} ->> ${name} else t.${column} end`
  })
  const { tax_id, country } = fields
  const { fits, peruvian } = taxation(tax_id, country)
  // A tax id is of a country.
  columns.push(
    sql`country = case when ${given} ? 'country' then ${given} ->> 'country' when ${given} ->> 'tax_id' is not null then coalesce(t.country, 'PE') else t.country end`,
  )
  columns.push(sql`limits = jsonb_strip_nulls(t.limits || ${JSON.stringify(limits)}::jsonb)`)
  const name = sql`coalesce(${subdomain ?? null}::text, t.subdomain)`
  const merged = given_config === null ? sql`'{}'::jsonb` : mergedInto(sql`t.config`, config)
  const moved = subdomain === undefined ? merged : withOwnOrigins(ctx.config, merged, subdomain)
  const [changed, found] = await ctx
    .run(
      ctx.db.execute(
        sql`update platform.tenants t set ${subdomain === undefined ? sql`` : sql`subdomain = ${subdomain}, `}config = ${moved}, ${sql.join(columns, sql`, `)}
          where t.id = ${id} and ${name} = all (array(select jsonb_array_elements_text(${names}::jsonb))) and t.status not in ('provisioning', 'erasing') and ${fits}
            and (t.status in ('active', 'inactive') or t.subdomain = ${name}) and ${matches('t.updated_at', ifMatch)} returning t.id`,
      ),
      ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`),
    )
    .catch((error: unknown) => {
      const broken = brokenConstraint(error)
      // By the trigger, but for a tenant of an earlier release (subdomains.sql).
      if (broken === 'tenants_subdomain') throw new Problem('subdomain_taken', `The subdomain ${subdomain} is taken.`)
      if (broken === 'tenants_tax_id') throw new Problem('tax_id_taken', `A tenant with the tax id ${tax_id} exists already.`)
      throw broken === 'tenants_config' ? tooMuch() : error
    })
  const [row] = rowsOf<Record<string, unknown>>(found)
  if (!row) throw new Problem('not_found')
  const tenant = wire(ctx.config, row)
  if (rowsOf(changed).length) return tenant
  const { status } = tenant
  const is_renamed = subdomain !== undefined && subdomain !== tenant.subdomain
  if (['provisioning', 'erasing', ...(is_renamed ? ['failed', 'deleted'] : [])].includes(status))
    throw new Problem('illegal_state', `The tenant is ${status}.`)
  mustBeOwn(ctx.config, { origins: origins ?? [] }, subdomain ?? tenant.subdomain)
  if (peruvian && (tenant.country ?? 'PE') === 'PE') throw invalid('tax_id', peruvian)
  if (country !== undefined && tax_id === undefined && tenant.tax_id !== null && country !== tenant.country)
    throw invalid('country', 'cannot be changed by itself: the tax id of the tenant is of its country, so give tax_id as well')
  throw unchanged(tenant, ifMatch)
}

/**
 * Whether a tax id, a country or both of a patch fit the tenant, as a condition on its row. `peruvian`: what is wrong with the tax id where
 * that is of Peru, which the row decides. Fails with invalid_request where the patch itself says the country.
 */
function taxation(tax_id: string | null | undefined, country: string | null | undefined): { fits: SQL; peruvian: string | null } {
  if (tax_id === undefined)
    return {
      fits: country === undefined ? sql`true` : sql`(t.tax_id is null or t.country is not distinct from ${country}::text)`,
      peruvian: null,
    }
  if (tax_id === null) return { fits: sql`true`, peruvian: null }
  if (country === null) throw invalid('country', 'must be given with a tax id')
  const fault = taxIdFault(country ?? 'PE', tax_id)
  if (fault && country !== undefined) throw invalid('tax_id', fault)
  return { fits: fault ? sql`coalesce(t.country, 'PE') <> 'PE'` : sql`true`, peruvian: fault }
}

/** A configuration with these keys; those that are null are removed. */
function mergedInto(known: SQL, config: Record<string, unknown>): SQL {
  const [kept, gone] = [{} as Record<string, unknown>, [] as string[]]
  for (const [key, value] of Object.entries(config)) {
    if (value === null) gone.push(key)
    else kept[key] = value
  }
  return sql`(${known} || ${JSON.stringify(kept)}::jsonb) - array(select jsonb_array_elements_text(${JSON.stringify(gone)}::jsonb))`
}

/**
 * A configuration whose origins below the tenant's former name are below its new one: the former name may become somebody else's.
 */
function withOwnOrigins(hosts: Config, config: SQL, subdomain: string): SQL {
  const domains = tenantDomains(hosts).map((domain) => domain.replaceAll('.', '\\.'))
  const tail = `(\\.(?:${domains.join('|')})(?::\\d+)?)$`
  return sql`(select case when c ? 'origins' then c || jsonb_build_object('origins', (select coalesce(jsonb_agg(
      regexp_replace(o.value, '^(https?://)' || t.subdomain || ${tail}, '\\1' || ${subdomain} || '\\2') order by o.place), '[]')
      from jsonb_array_elements_text(c -> 'origins') with ordinality o (value, place))) else c end from (select ${config}) as one (c))`
}
