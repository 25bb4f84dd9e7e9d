/** Types of competencies: what somebody can be competent in. Everybody reads them; they are written at scope `all` alone. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Text } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { PlainName } from '../names/names.ts'

export const Kind = z.enum(['certification', 'training', 'equipment', 'test_method'])

export const CompetencyType = z
  .object({
    id: z.uuid(),
    name: z.string(),
    kind: Kind,
    description: z.string().nullable(),
    valid_months: z
      .int()
      .nullable()
      .openapi({ description: 'How long a competency is valid that does not say so itself; null: without end' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    retired_at: z.iso.datetime().nullable(),
  })
  .openapi('CompetencyType')
type Wire = z.infer<typeof CompetencyType>
export const CompetencyTypeList = pageOf(CompetencyType).openapi('CompetencyTypeList')

const Required = z.object({ name: PlainName(255), kind: Kind })
const Optional = z.object({ description: Text(1000).nullable(), valid_months: z.int().min(1).max(1200).nullable() }).partial()
export const NewCompetencyType = Required.extend(Optional.shape).openapi('NewCompetencyType')
/** A JSON merge patch (RFC 7396). */
export const CompetencyTypePatch = NewCompetencyType.partial().openapi('CompetencyTypePatch')
export const CompetencyTypeQuery = Page.extend({
  search: Text(255).optional(),
  kind: Kind.optional(),
  state: z.enum(['in_use', 'retired']).default('in_use'),
})

const columns = sql`t.id, t.name, t.kind, t.description, t.valid_months, ${rfc3339('t.created_at')} as created_at,
  ${rfc3339('t.updated_at')} as updated_at, ${rfc3339('t.retired_at')} as retired_at`
const one = (id: string) => sql`select ${columns} from freehold.competency_types t where t.id = ${id}`

/** Refuses a type that the caller can only read. */
const reach = (id: string) => sql`select access.reach_competency_type(${id})`

function firstOrNotFound(result: unknown): Wire {
  const [type] = rowsOf<Wire>(result)
  if (!type) throw new Problem('not_found')
  return type
}

function mapConstraintErrors(error: unknown): never {
  if (brokenConstraint(error) !== 'competency_types_name') throw error
  const errors = [{ pointer: '#/name', detail: 'is taken' }]
  throw new Problem('already_exists', 'Another type of competency has this name.', { errors, cause: error })
}

/** The greatest code point: the end of the range that a prefix matches. */
const MAX_CODE_POINT = '\u{10FFFF}'

/**
 * Lists types of competencies by name. `search` is a case-insensitive prefix match. One round trip; `competency:read`. Fails with
 * invalid_cursor.
 */
export async function listTypes(
  ctx: Ctx,
  { limit, cursor, search, kind, state }: z.infer<typeof CompetencyTypeQuery>,
): Promise<z.infer<typeof CompetencyTypeList>> {
  const after = await readCursor(ctx.realm, 'competency-types', cursor)
  const prefix = sql`lower(${search}::text)`
  const conditions = [
    state === 'retired' ? sql`t.retired_at is not null` : sql`t.retired_at is null`,
    ...(after ? [sql`(t.folded collate "C", t.id) > (${after[0]}::text, ${after[1]}::uuid)`] : []),
    ...(kind === undefined ? [] : [sql`t.kind = ${kind}`]),
    ...(search === undefined
      ? []
      : [sql`t.folded collate "C" >= ${prefix} and t.folded collate "C" < ${prefix} || ${MAX_CODE_POINT}`]),
  ]
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns}, t.folded as key from freehold.competency_types t where ${sql.join(conditions, sql` and `)}
      order by t.folded collate "C", t.id limit ${limit + 1}`),
  )
  const rows = rowsOf<Wire & { key: string }>(result)
  const { data, next_cursor } = await paged(ctx.realm, 'competency-types', rows, limit, (row) => [row.key, row.id])
  return { data: data.map(({ key: _, ...type }) => type), next_cursor }
}

/** Gets a type, also one that was retired. One round trip; `competency:read`. Fails with not_found. */
export const getType = async (ctx: Ctx, id: string): Promise<Wire> => firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/** Creates a type. One round trip; `competency:create` at scope `all`. Fails with already_exists, forbidden. */
export async function createType(ctx: Ctx, wanted: z.infer<typeof NewCompetencyType>): Promise<Wire> {
  const { name, kind, description = null, valid_months = null } = wanted
  const id = crypto.randomUUID()
  const [made] = await create<Wire>(ctx, {
    made: sql`made as (insert into freehold.competency_types as t (id, name, kind, description, valid_months)
      values (${id}, ${name}, ${kind}, ${description}, ${valid_months}::integer) returning ${columns})`,
  }).catch(mapConstraintErrors)
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * Changes the given fields; records that there are stay. One round trip; `competency:update` at scope `all`. Fails with not_found,
 * etag_mismatch, already_exists, forbidden, illegal_state (it was retired).
 */
export async function changeType(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof CompetencyTypePatch>,
  ifMatch?: string,
): Promise<Wire> {
  const assignments: SQL[] = Object.entries(wanted).map(([column, value]) => sql`${sql.identifier(column)} = ${value}`)
  const update = sql`update freehold.competency_types t set ${sql.join(assignments.length ? assignments : [sql`name = t.name`], sql`, `)}
    where t.id = ${id} and ${matches('t.updated_at', ifMatch)} returning t.id`
  const [, changed, result] = await ctx
    .run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
    .catch(mapConstraintErrors)
  const type = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(type, ifMatch)
  return type
}

/**
 * Retires a type: nobody records it any more, and its records stay. One round trip; `competency:delete` at scope `all`. Fails with
 * not_found, forbidden, in_use (a role demands it), illegal_state (twice).
 */
export async function retireType(ctx: Ctx, id: string): Promise<void> {
  const [result] = await ctx.run(ctx.db.execute(sql`select access.retire_competency_type(${id}) as was_there`))
  if (!rowsOf<{ was_there: boolean }>(result)[0]?.was_there) throw new Problem('not_found')
}
