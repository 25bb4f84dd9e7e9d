/** Plans: what tenants can have. Threat: a plan that goes while tenants have it, and with it what limits them (plans.sql). */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../../idempotency/idempotency.ts'
import type { Ctx } from '../../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { brokenConstraint } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../../kernel/wire.ts'
import { Name } from '../../names/names.ts'
import { Limits, LimitsPatch } from '../registry/limits.ts'
import { Plan as Key } from '../registry/tenants.ts'

const Isolation = z.enum(['database', 'branch', 'project'])

export const Plan = z
  .object({
    key: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    isolation: Isolation.nullable().openapi({ description: 'Of new tenants; null: the setting DEFAULT_ISOLATION' }),
    limits: Limits,
    tenants: z.int().openapi({ description: 'How many tenants have it' }),
    tenants_pending: z
      .int()
      .openapi({ description: 'Of those, how many whose own database does not have their last change yet' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Plan')
type PlanWire = z.infer<typeof Plan>

export const NewPlan = z
  .object({
    key: Key,
    name: Name(255),
    description: Name(1000).nullish(),
    isolation: Isolation.nullish(),
    limits: LimitsPatch.default({}),
  })
  .openapi('NewPlan')
export const PlanPatch = z
  .object({
    name: Name(255).optional(),
    description: Name(1000).nullish().openapi({ description: 'null removes it' }),
    isolation: Isolation.nullish().openapi({ description: 'null: DEFAULT_ISOLATION. Tenants that exist stay where they are' }),
    limits: LimitsPatch.optional(),
  })
  .openapi('PlanPatch')
export const PlanList = pageOf(Plan).openapi('PlanList')
export const PlanKey = z.object({ key: Key })

const columns = sql`p.key, p.name, p.description, p.isolation, p.limits,
  (select count(*)::integer from platform.tenants t where t.plan = p.key) as tenants,
  (select count(*)::integer from platform.tenants t where t.plan = p.key and t.published_v < t.v and t.status in ('active', 'inactive', 'deleted')) as tenants_pending,
  ${rfc3339('p.created_at')} as created_at, ${rfc3339('p.updated_at')} as updated_at`
const one = (key: string): SQL => sql`select ${columns} from platform.plans p where p.key = ${key}`

function firstOrNotFound(result: unknown): PlanWire {
  const [plan] = rowsOf<PlanWire>(result)
  if (!plan) throw new Problem('not_found')
  return plan
}

/** Plans by their key. One round trip to the master; `tenant:read`. Fails with invalid_cursor. */
export async function listPlans(ctx: Ctx, { limit, cursor }: z.infer<typeof Page>): Promise<z.infer<typeof PlanList>> {
  const [after = ''] = (await readCursor(ctx.realm, 'plans', cursor)) ?? []
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${columns} from platform.plans p where p.key collate "C" > ${after} order by p.key collate "C" limit ${limit + 1}`,
    ),
  )
  return paged(ctx.realm, 'plans', rowsOf<PlanWire>(result), limit, (row) => [row.key])
}

/** One plan. One round trip to the master; `tenant:read`. Fails with not_found. */
export const getPlan = async (ctx: Ctx, key: string): Promise<PlanWire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(key))))[0])

/** Makes a plan. One round trip to the master; `tenant:create`. Fails with already_exists. */
export async function createPlan(ctx: Ctx, plan: z.infer<typeof NewPlan>): Promise<PlanWire> {
  const { key, name, description = null, isolation = null, limits } = plan
  const insert = sql`insert into platform.plans (key, name, description, isolation, limits)
    values (${key}, ${name}, ${description}, ${isolation}, jsonb_strip_nulls(${JSON.stringify(limits)}::jsonb))`
  try {
    const [made] = await create<PlanWire>(ctx, { before: [insert], made: sql`made as (${one(key)})` })
    if (!made) throw new Problem('not_found')
    return made
  } catch (error) {
    if (brokenConstraint(error) === 'plans_pkey') throw new Problem('already_exists', `There is a plan ${key} already.`)
    throw error
  }
}

/**
 * Changes a plan. Changed limits are a new version of its tenants, which the caller has propagated. One round trip to the master;
 * `tenant:update`. Fails with not_found, etag_mismatch.
 */
export async function changePlan(
  ctx: Ctx,
  key: string,
  { limits = {}, ...fields }: z.infer<typeof PlanPatch>,
  ifMatch?: string,
): Promise<PlanWire> {
  const given = sql`${JSON.stringify(fields)}::jsonb`
  const sets = ['name', 'description', 'isolation'].map((name) => {
    const column = sql.identifier(name)
    return sql`${column} = case when ${given} ? ${name} then ${given} ->> ${name} else p.${column} end`
  })
  const [changed, found] = await ctx.run(
    ctx.db.execute(
      sql`update platform.plans p set ${sql.join(sets, sql`, `)}, limits = jsonb_strip_nulls(p.limits || ${JSON.stringify(limits)}::jsonb), updated_at = now()
          where p.key = ${key} and ${matches('p.updated_at', ifMatch)} returning p.key`,
    ),
    ctx.db.execute(one(key)),
  )
  const plan = firstOrNotFound(found)
  if (!rowsOf(changed).length) throw unchanged(plan, ifMatch)
  return plan
}

/** Deletes a plan. One round trip to the master; `tenant:delete`. Fails with not_found, in_use (says how many tenants have it). */
export async function deletePlan(ctx: Ctx, key: string): Promise<void> {
  const [deleted] = await ctx.run(ctx.db.execute(sql`delete from platform.plans p where p.key = ${key} returning p.key`))
  if (!rowsOf(deleted).length) throw new Problem('not_found')
}
