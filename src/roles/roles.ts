import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Line } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { PermissionName, PlainName } from '../names/names.ts'
import { current, mapConstraintErrors, Scope } from './wire.ts'

/** Without this competency, at this level or a higher one, the role's holder does not hold the permission. */
const Demand = z.strictObject({ type_id: z.uuid(), level: z.int().min(1).max(5) }).openapi('CompetencyDemand')

export const Grant = z.strictObject({ permission: PermissionName, scope: Scope, requires_competency: Demand.nullish() })
const Granted = z.object({ permission: z.string(), scope: Scope, requires_competency: Demand.optional() })

export const Grants = z
  .array(Grant)
  .max(1000)
  .superRefine((grants, check) => {
    const named = new Set<string>()
    for (const [i, { permission }] of grants.entries()) {
      if (named.has(permission)) check.addIssue({ code: 'custom', path: [i, 'permission'], message: 'is named twice' })
      named.add(permission)
    }
  })

export const NewRole = z
  .object({
    name: PlainName(64),
    description: Line(255).nullable().default(null),
    parent_id: z.uuid().nullable().default(null),
    max_users: z.int().min(1).max(2_147_483_647).nullable().default(null),
    is_active: z.boolean().default(true),
    is_manageable: z.boolean().default(false),
    permissions: Grants.default([]),
  })
  .openapi('NewRole')

export const Role = z
  .object({
    id: z.uuid(),
    name: z.string(),
    description: z.string().nullable(),
    is_active: z.boolean(),
    is_system: z.boolean(),
    is_admin: z.boolean(),
    is_manageable: z.boolean(),
    is_fallback: z.boolean(),
    parent_id: z.uuid().nullable(),
    max_users: z.int().nullable(),
    permissions: z.array(Granted),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Role')
export const RoleInFull = Role.extend({
  inherited: z.array(Granted.extend({ from: z.string() })),
}).openapi('RoleInFull')
export const RoleList = pageOf(Role).openapi('RoleList')
export const RoleQuery = Page.extend({
  is_active: z.enum(['true', 'false']).optional(),
  manageable: z.enum(['true', 'false']).optional(),
  search: Line(64).optional(),
})

type Wire = z.infer<typeof Role>

/** A grant as the wire has it. Read through its row, because the schema of the release before has no competencies. */
const shownGrant = (row: SQL) =>
  sql`jsonb_build_object('permission', ${row}.permission, 'scope', ${row}.scope) || ${demandOf(row)}`

const demandOf = (row: SQL) => sql`case when to_jsonb(${row}) ->> 'competency_type_id' is null then '{}'::jsonb else
  jsonb_build_object('requires_competency', jsonb_build_object('type_id', to_jsonb(${row}) -> 'competency_type_id', 'level', to_jsonb(${row}) -> 'competency_level')) end`

const columns = sql`r.id, r.name, r.description, r.is_active, r.is_system, r.is_admin, r.is_manageable, r.is_fallback, r.parent_id, r.max_users,
  coalesce((select jsonb_agg(${shownGrant(sql`rp`)} order by rp.permission collate "C")
    from freehold.role_permissions rp where rp.role_id = r.id and ${current(sql`rp`)}), '[]') as permissions,
  ${rfc3339('r.created_at')} as created_at, ${rfc3339('r.updated_at')} as updated_at`

/** The grants that an active role inherits: up to the first ancestor that is inactive, the nearest first. */
const inherited = sql`coalesce((
  with recursive up (id, parent_id, name, is_admin, step) as (
    select x.id, x.parent_id, x.name, x.is_admin, 1 from freehold.roles x where x.id = r.parent_id and x.is_active
    union all
    select x.id, x.parent_id, x.name, x.is_admin, up.step + 1 from up join freehold.roles x on x.id = up.parent_id where x.is_active
  ), carried (permission, scope, demand, name, step) as (
    select rp.permission, rp.scope, ${demandOf(sql`rp`)}, up.name, up.step from up join freehold.role_permissions rp on rp.role_id = up.id
    where ${current(sql`rp`)} and not up.is_admin
    union all
    select p.name, 'all', '{}', up.name, up.step from up cross join freehold.permissions p where up.is_admin and p.deleted_at is null
  )
  select jsonb_agg(jsonb_build_object('permission', c.permission, 'scope', c.scope, 'from', c.name) || c.demand order by c.permission collate "C", c.step) from carried c
), '[]')`

const one = (id: string) => sql`select ${columns} from freehold.roles r where r.id = ${id} and r.deleted_at is null`

/** Reads a role again, as the last statement of a change. */
export const roleNow = (ctx: Ctx, id: string) => ctx.db.execute(one(id))

/** The given grants as rows `g`, each with a new id. */
export const granted = (grants: z.infer<typeof Grants>): SQL =>
  sql`jsonb_to_recordset(${JSON.stringify(
    grants.map(({ requires_competency: demand, ...grant }) => ({ id: crypto.randomUUID(), ...grant, ...demand })),
  )}::jsonb) as g (id uuid, permission text, scope text, type_id uuid, level integer)`

/** The columns of grants, of `g`. Those of a competency are named where one is demanded: the schema of the release before lacks them. */
export const columnsOf = (grants: z.infer<typeof Grants>) =>
  grants.some(({ requires_competency }) => requires_competency)
    ? {
        names: sql`permission, scope, competency_type_id, competency_level`,
        values: sql`g.permission, g.scope, g.type_id, g.level`,
      }
    : { names: sql`permission, scope`, values: sql`g.permission, g.scope` }

/** True for a row of grants (`rp`) that is as the given ones (`g`) say. */
export const isSame = sql`g.permission = rp.permission and g.scope = rp.scope
  and g.type_id is not distinct from (to_jsonb(rp) ->> 'competency_type_id')::uuid
  and g.level is not distinct from (to_jsonb(rp) ->> 'competency_level')::integer`

export const nameTaken = (error: unknown) =>
  brokenConstraint(error) === 'roles_name'
    ? new Problem('already_exists', 'Another role has this name.', {
        errors: [{ pointer: '#/name', detail: 'is taken' }],
        cause: error,
      })
    : null

/**
 * Lists roles by name. `search` is a case-insensitive prefix match on the name. One round trip; `role:read`. Fails with
 * invalid_cursor.
 */
export async function listRoles(ctx: Ctx, query: z.infer<typeof RoleQuery>): Promise<z.infer<typeof RoleList>> {
  const { limit, is_active, manageable, search } = query
  const [after] = (await readCursor(ctx.realm, 'roles', query.cursor)) ?? []
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from freehold.roles r where r.deleted_at is null
      ${after === undefined ? sql`` : sql`and r.name collate "C" > ${after}`}
      ${is_active === undefined ? sql`` : sql`and r.is_active = ${is_active === 'true'}`}
      ${manageable === undefined ? sql`` : sql`and r.is_manageable = ${manageable === 'true'}`}
      ${search === undefined ? sql`` : sql`and starts_with(lower(r.name), lower(${search}))`}
      order by r.name collate "C" limit ${limit + 1}`),
  )
  return paged(ctx.realm, 'roles', rowsOf<Wire>(result), limit, (row) => [row.name])
}

/** Gets a role with the permissions that it inherits, and from which role. One round trip; `role:read`. Fails with not_found. */
export async function getRole(ctx: Ctx, id: string): Promise<z.infer<typeof RoleInFull>> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${columns}, ${inherited} as inherited from freehold.roles r where r.id = ${id} and r.deleted_at is null`,
    ),
  )
  const [role] = rowsOf<z.infer<typeof RoleInFull>>(result)
  if (!role) throw new Problem('not_found')
  return role
}

/**
 * Creates a role with its permissions. One round trip; `role:create`. Fails with already_exists (the name), forbidden (a
 * permission that the caller does not hold), invalid_request (no such permission or parent).
 */
export async function createRole(ctx: Ctx, { permissions, ...role }: z.infer<typeof NewRole>): Promise<Wire> {
  const id = crypto.randomUUID()
  const { names, values } = columnsOf(permissions)
  const [created] = await mapConstraintErrors(
    create<Wire>(ctx, {
      before: [
        sql`insert into freehold.roles (id, name, description, is_active, is_manageable, max_users, parent_id)
        values (${id}, ${role.name}, ${role.description}, ${role.is_active}, ${role.is_manageable}, ${role.max_users}, ${role.parent_id})`,
        sql`insert into freehold.role_permissions (id, role_id, ${names}) select g.id, ${id}::uuid, ${values} from ${granted(permissions)}`,
      ],
      made: sql`made as (${one(id)})`,
    }),
    nameTaken,
  )
  if (!created) throw new Error('The created role cannot be read.')
  return created
}
