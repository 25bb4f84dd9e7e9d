/**
 * The tree of departments and teams. Threat: a user who moves a unit, or changes its kind, widens the scope of the users in it;
 * two concurrent moves close a circle. The database refuses both (access.before_unit), and its policies limit what a scope can
 * read.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Line } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { PlainName } from '../names/names.ts'

export const Unit = z
  .object({
    id: z.uuid(),
    kind: z.enum(['department', 'team']),
    name: z.string(),
    parent_id: z.uuid().nullable(),
    organization_id: z.uuid().nullable().openapi({ description: 'Whose unit it is; null: of no organization' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Unit')
type UnitWire = z.infer<typeof Unit>

const Name = PlainName(120)

export const NewUnit = z
  .object({ kind: Unit.shape.kind, name: Name, parent_id: z.uuid().nullable().optional() })
  .openapi('NewUnit')
export const UnitPatch = NewUnit.partial().openapi('UnitPatch')
export const UnitList = pageOf(Unit).openapi('UnitList')
/** `parent_id=null` selects the units without a parent. */
export const UnitQuery = Page.extend({
  parent_id: z.union([z.uuid(), z.literal('null')]).optional(),
  kind: Unit.shape.kind.optional(),
  search: Line(120).optional(),
})

/** By its name, because a database that is a version behind has no such column. */
const columns = sql`u.id, u.kind, u.name, u.parent_id, (to_jsonb(u) ->> 'organization_id')::uuid as organization_id, ${rfc3339('u.created_at')} as created_at, ${rfc3339('u.updated_at')} as updated_at`
const one = (id: string) => sql`select ${columns} from freehold.units u where u.id = ${id}`
/** Refuses a unit that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('unit', ${id}::uuid)`

function firstOrNotFound(result: unknown): UnitWire {
  const [unit] = rowsOf<UnitWire>(result)
  if (!unit) throw new Problem('not_found')
  return unit
}

function mapConstraintErrors(error: unknown): never {
  const broken = brokenConstraint(error)
  if (broken === 'units_name' || broken === 'units_root_name') {
    const errors = [{ pointer: '#/name', detail: 'is taken under this parent' }]
    throw new Problem('already_exists', 'Another unit under the same parent has this name.', { errors, cause: error })
  }
  if (broken === 'units_parent_id_units_id_fk') throw invalid('parent_id', 'is not a unit that you can access')
  throw error
}

/**
 * Lists the units that the caller can access, and their own unit, by name. `search` is a case-insensitive prefix match on the
 * name. One round trip; `unit:read`. Fails with invalid_cursor.
 */
export async function listUnits(ctx: Ctx, query: z.infer<typeof UnitQuery>): Promise<z.infer<typeof UnitList>> {
  const { limit, cursor, parent_id, kind, search } = query
  const after = await readCursor(ctx.realm, 'units', cursor)
  const conditions = [
    ...(after ? [sql`(u.name, u.id) > (${after[0]}::text, ${after[1]}::uuid)`] : []),
    ...(parent_id === undefined ? [] : [parent_id === 'null' ? sql`u.parent_id is null` : sql`u.parent_id = ${parent_id}`]),
    ...(kind === undefined ? [] : [sql`u.kind = ${kind}`]),
    ...(search === undefined ? [] : [sql`starts_with(lower(u.name), lower(${search}::text))`]),
  ]
  const where = conditions.length ? sql`where ${sql.join(conditions, sql` and `)}` : sql``
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from freehold.units u ${where} order by u.name, u.id limit ${limit + 1}`),
  )
  return paged(ctx.realm, 'units', rowsOf<UnitWire>(result), limit, (row) => [row.name, row.id])
}

/** Gets a unit. One round trip; `unit:read`. Fails with not_found, also for a unit that the caller cannot access. */
export const getUnit = async (ctx: Ctx, id: string): Promise<UnitWire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Creates a unit. Callers below scope `all` create it under a unit that they can access. One round trip; `unit:create`. Fails
 * with already_exists, invalid_request (no such parent, or one that the caller cannot access, or a department under a team),
 * forbidden (no parent, below scope `all`).
 */
export async function createUnit(ctx: Ctx, { kind, name, parent_id = null }: z.infer<typeof NewUnit>): Promise<UnitWire> {
  const id = crypto.randomUUID()
  const insert = sql`insert into freehold.units (id, kind, name, parent_id) values (${id}, ${kind}, ${name}, ${parent_id})`
  const [unit] = await create<UnitWire>(ctx, { before: [insert], made: sql`made as (${one(id)})` }).catch(mapConstraintErrors)
  if (!unit) throw new Problem('not_found')
  return unit
}

/**
 * Changes the given fields. One round trip; `unit:update`. Fails with not_found, etag_mismatch, already_exists, invalid_request
 * (a circle, a department under a team, a parent that the caller cannot access), forbidden (changing the kind, or removing the
 * parent, below scope `all`).
 */
export async function changeUnit(ctx: Ctx, id: string, wanted: z.infer<typeof UnitPatch>, ifMatch?: string): Promise<UnitWire> {
  const assignments: SQL[] = Object.entries(wanted).map(([column, value]) => sql`${sql.identifier(column)} = ${value}`)
  const update = sql`update freehold.units u set ${sql.join(assignments.length ? assignments : [sql`name = u.name`], sql`, `)}
    where u.id = ${id} and ${matches('u.updated_at', ifMatch)} returning u.id`
  const [, changed, result] = await ctx
    .run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
    .catch(mapConstraintErrors)
  const unit = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(unit, ifMatch)
  return unit
}

/** Replaces a unit; without `parent_id` it becomes a root. One round trip; `unit:update`. Fails as changeUnit does. */
export const replaceUnit = (ctx: Ctx, id: string, { kind, name, parent_id = null }: z.infer<typeof NewUnit>, ifMatch?: string) =>
  changeUnit(ctx, id, { kind, name, parent_id }, ifMatch)

/** What a unit contains, by the constraint that keeps it. */
const CONTENTS: Record<string, string> = {
  users_unit_id_units_id_fk: 'users',
  units_parent_id_units_id_fk: 'units',
  employees_unit_id_units_id_fk: 'employees',
}

/**
 * Deletes an empty unit. One round trip; `unit:delete`. Fails with not_found, in_use (says whether users, units or employees are in it),
 * forbidden (the caller can read the unit but it is not within their scope).
 */
export async function removeUnit(ctx: Ctx, id: string): Promise<void> {
  const remove = sql`delete from freehold.units u where u.id = ${id} returning u.id`
  const [, removed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(remove)).catch((error: unknown) => {
    const broken = brokenConstraint(error)
    const within = CONTENTS[broken ?? '']
    throw within ? new Problem('in_use', `The unit still contains ${within}.`, { cause: error }) : error
  })
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}
