/**
 * Licenses of tenants. Threat: a license that ends before it begins, or two that contradict each other, and nobody knows whether the
 * tenant may be used. Which one counts the master's database says (licenses.sql); the tenant's own holds it to that.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../../idempotency/idempotency.ts'
import type { Ctx } from '../../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { brokenConstraint } from '../../kernel/db.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { Limits, LimitsPatch } from '../registry/limits.ts'

export const License = z
  .object({
    id: z.uuid(),
    tenant_id: z.uuid(),
    key: z.string(),
    valid_from: z.iso.datetime(),
    valid_until: z.iso.datetime(),
    grace_days: z.int().openapi({ description: 'Days after its end in which the tenant goes on, unless another one follows' }),
    limits: Limits,
    state: z.enum(['scheduled', 'valid', 'expiring', 'grace', 'expired']).openapi({
      description:
        'Of this license alone: `expiring` in its last 30 days; `grace` and `expired` when it has ended, whatever follows it',
    }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('License')
type LicenseWire = z.infer<typeof License>

const Moment = z.iso.datetime({ offset: true })

export const NewLicense = z
  .object({
    key: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be 1-100 of letters, digits, dot, _ and -')
      .optional()
      .openapi({ description: 'What the license is called outside; without one it is made up' }),
    valid_from: Moment.optional().openapi({ description: 'Default: now' }),
    valid_until: Moment,
    grace_days: z.int().min(0).max(365).optional().openapi({ description: 'Default: LICENSE_GRACE_DAYS' }),
    limits: LimitsPatch.default({}),
  })
  .openapi('NewLicense')
export const LicenseList = pageOf(License).openapi('LicenseList')

const columns = sql`l.id, l.tenant_id, l.key, ${rfc3339('l.valid_from')} as valid_from, ${rfc3339('l.valid_until')} as valid_until, l.grace_days, l.limits,
  case when l.valid_until <= now() then case when l.valid_until + make_interval(days => l.grace_days) <= now() then 'expired' else 'grace' end
    when l.valid_from > now() then 'scheduled' when l.valid_until <= now() + interval '30 days' then 'expiring' else 'valid' end as state,
  ${rfc3339('l.created_at')} as created_at, ${rfc3339('l.updated_at')} as updated_at`
const one = (tenant_id: string, id: string): SQL =>
  sql`select ${columns} from platform.licenses l where l.tenant_id = ${tenant_id} and l.id = ${id}`
const exists = (id: string) => sql`select t.status from platform.tenants t where t.id = ${id}`

/** Fails with not_found, illegal_state (the tenant is being erased). */
function mustTake(result: unknown): void {
  const [tenant] = rowsOf<{ status: string }>(result)
  if (!tenant) throw new Problem('not_found')
  if (tenant.status === 'erasing') throw new Problem('illegal_state', `The tenant is ${tenant.status}.`)
}

/** Licenses of a tenant, the last to begin first. One round trip to the master; `tenant:read`. Fails with not_found, invalid_cursor. */
export async function listLicenses(
  ctx: Ctx,
  tenant_id: string,
  { limit, cursor }: z.infer<typeof Page>,
): Promise<z.infer<typeof LicenseList>> {
  const list = `licenses:${tenant_id}`
  const [at, last] = (await readCursor(ctx.realm, list, cursor)) ?? []
  const after = at ? sql`and (l.valid_from, l.id) < (${at}::timestamptz, ${last}::uuid)` : sql``
  const [known, result] = await ctx.run(
    ctx.db.execute(exists(tenant_id)),
    ctx.db.execute(
      sql`select ${columns} from platform.licenses l where l.tenant_id = ${tenant_id} ${after} order by l.valid_from desc, l.id desc limit ${limit + 1}`,
    ),
  )
  if (!rowsOf(known).length) throw new Problem('not_found')
  return paged(ctx.realm, list, rowsOf<LicenseWire>(result), limit, (row) => [row.valid_from, row.id])
}

/**
 * Gives a tenant a license; the caller propagates it. One round trip to the master; `tenant:update`. Fails with invalid_request (it
 * would end before it begins, or is over already), already_exists (its key), not_found, illegal_state.
 */
export async function createLicense(ctx: Ctx, tenant_id: string, given: z.infer<typeof NewLicense>): Promise<LicenseWire> {
  const { valid_from, valid_until, limits, grace_days = ctx.config.LICENSE_GRACE_DAYS } = given
  const begins = valid_from === undefined ? new Date() : new Date(valid_from)
  const ends = new Date(valid_until)
  if (ends.getTime() <= begins.getTime()) throw invalid('valid_until', 'must be later than valid_from')
  if (ends.getTime() <= Date.now()) throw invalid('valid_until', 'must lie in the future')
  const id = crypto.randomUUID()
  const key = given.key ?? `FHL-${id.replaceAll('-', '').toUpperCase()}`
  const from = valid_from === undefined ? sql`now()` : sql`${begins.toISOString()}::timestamptz`
  try {
    const [made, known] = await create<LicenseWire>(ctx, {
      before: [exists(tenant_id)],
      made: sql`made as (insert into platform.licenses as l (id, tenant_id, key, valid_from, valid_until, grace_days, limits, has_begun)
        select ${id}, t.id, ${key}, ${from}, ${ends.toISOString()}::timestamptz, ${grace_days}, jsonb_strip_nulls(${JSON.stringify(limits)}::jsonb), ${from} <= now()
        from platform.tenants t where t.id = ${tenant_id} and t.status <> 'erasing' returning ${columns})`,
    })
    if (!made) mustTake(known)
    if (!made) throw new Problem('not_found')
    return made
  } catch (error) {
    if (brokenConstraint(error) === 'licenses_key') throw new Problem('already_exists', `There is a license ${key} already.`)
    throw error
  }
}

/**
 * Ends a license now; its days of grace begin. The caller propagates it. One round trip to the master; `tenant:update`. Fails with
 * not_found, illegal_state (it has not begun, or has ended).
 */
export async function endLicense(ctx: Ctx, tenant_id: string, id: string): Promise<LicenseWire> {
  const [ended, found] = await ctx.run(
    ctx.db.execute(
      sql`update platform.licenses l set valid_until = now(), updated_at = now()
          where l.tenant_id = ${tenant_id} and l.id = ${id} and l.valid_from < now() and l.valid_until > now() returning l.id`,
    ),
    ctx.db.execute(one(tenant_id, id)),
  )
  const [license] = rowsOf<LicenseWire>(found)
  if (!license) throw new Problem('not_found')
  if (rowsOf(ended).length) return license
  throw new Problem(
    'illegal_state',
    license.state === 'scheduled' ? 'The license has not begun: take it back instead.' : 'The license has ended already.',
  )
}

/** Takes a license back, as if it had never been given. The caller propagates it. One round trip to the master; `tenant:update`. Fails with not_found. */
export async function removeLicense(ctx: Ctx, tenant_id: string, id: string): Promise<void> {
  const [removed] = await ctx.run(
    ctx.db.execute(sql`delete from platform.licenses l where l.tenant_id = ${tenant_id} and l.id = ${id} returning l.id`),
  )
  if (!rowsOf(removed).length) throw new Problem('not_found')
}
