/** Changing and deleting a role. The role's row is locked first, which serializes concurrent changes. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { matches, rowsOf, unchanged } from '../kernel/wire.ts'
import { columnsOf, Grants, granted, isSame, NewRole, nameTaken, type Role, roleNow } from './roles.ts'
import { mapConstraintErrors } from './wire.ts'

export const RolePatch = z
  .object({
    name: NewRole.shape.name.optional(),
    description: NewRole.shape.description.unwrap().optional(),
    parent_id: NewRole.shape.parent_id.unwrap().optional(),
    max_users: NewRole.shape.max_users.unwrap().optional(),
    is_active: z.boolean().optional(),
    is_manageable: z.boolean().optional(),
    permissions: Grants.optional(),
  })
  .openapi('RolePatch')
export const MoreGrants = z.object({ permissions: Grants.min(1) }).openapi('MoreGrants')

type Wire = z.infer<typeof Role>

/**
 * Changes the given fields; `permissions` replaces the grants of the role: an unchanged grant keeps its row, one with another
 * scope or competency ends and a new one begins. One round trip; `role:update`. Fails with not_found, forbidden, already_exists (the name),
 * in_use (name and parent of a system role), illegal_state (permissions of the administrator), limit_reached, etag_mismatch,
 * invalid_request.
 */
export async function changeRole(ctx: Ctx, id: string, change: z.infer<typeof RolePatch>, ifMatch?: string): Promise<Wire> {
  const as_read = matches('r.updated_at', ifMatch)
  const { permissions, ...fields } = change
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  const sets = given.map(([name, value]) => sql`${sql.identifier(name)} = ${value}`)
  return changed(
    ctx,
    id,
    ifMatch,
    ...(permissions ? [end(ctx, id, without(permissions), as_read), begin(ctx, id, permissions, as_read)] : []),
    // Last: activating a role is checked against the permissions that it then carries. Also without fields, so that updated_at
    // changes.
    ctx.db.execute(
      sql`update freehold.roles r set ${sql.join(sets.length ? sets : [sql`name = r.name`], sql`, `)} where r.id = ${id} and r.deleted_at is null and ${as_read}`,
    ),
  )
}

/**
 * Adds permissions to a role; a grant of the same permission at another scope, or with another competency, is replaced. One round trip; `role:update`. Fails
 * as changeRole.
 */
export async function addGrants(ctx: Ctx, id: string, { permissions }: z.infer<typeof MoreGrants>): Promise<Wire> {
  const other = sql`exists (select from ${granted(permissions)} where g.permission = rp.permission and not (${isSame}))`
  return changed(ctx, id, undefined, end(ctx, id, other), begin(ctx, id, permissions), touch(ctx, id))
}

/**
 * Removes a permission from a role. One round trip; `role:update`. Fails with not_found (also when the role does not carry it),
 * illegal_state.
 */
export async function endGrant(ctx: Ctx, id: string, permission: string): Promise<void> {
  const [, , ended] = await ctx.run(
    reach(ctx, id),
    lock(ctx, id),
    end(ctx, id, sql`rp.permission = ${permission}`),
    touch(ctx, id),
  )
  if (!rowsOf(ended).length) throw new Problem('not_found')
}

/**
 * Deletes a role that is not assigned, inherited or delegated. One round trip; `role:delete`. Fails with not_found, in_use (says
 * where).
 */
export async function deleteRole(ctx: Ctx, id: string): Promise<void> {
  const [, deleted] = await ctx.run(
    reach(ctx, id),
    ctx.db.execute(
      sql`update freehold.roles r set deleted_at = now() where r.id = ${id} and r.deleted_at is null returning r.id`,
    ),
  )
  if (!rowsOf(deleted).length) throw new Problem('not_found')
}

type Statement = ReturnType<typeof roleNow>

async function changed(ctx: Ctx, id: string, ifMatch: string | undefined, ...statements: Statement[]): Promise<Wire> {
  const results = await mapConstraintErrors(
    ctx.run(reach(ctx, id), lock(ctx, id, matches('r.updated_at', ifMatch)), ...statements, roleNow(ctx, id)),
    nameTaken,
  )
  const [role] = rowsOf<Wire>(results.at(-1))
  if (!role) throw new Problem('not_found')
  if (!rowsOf(results[1]).length) throw unchanged(role, ifMatch)
  return role
}

/** Refuses a role that the caller can only read. */
const reach = (ctx: Ctx, id: string) => ctx.db.execute(sql`select access.require_reach('role', ${id}::uuid)`)

const lock = (ctx: Ctx, id: string, as_read = sql`true`) =>
  ctx.db.execute(
    sql`select r.id from freehold.roles r where r.id = ${id} and r.deleted_at is null and ${as_read} for no key update`,
  )

/** Sets updated_at, because a change of its permissions is a change of the role. */
const touch = (ctx: Ctx, id: string) =>
  ctx.db.execute(sql`update freehold.roles r set name = r.name where r.id = ${id} and r.deleted_at is null`)

const end = (ctx: Ctx, id: string, which: SQL, as_read = sql`true`) =>
  ctx.db.execute(sql`update freehold.role_permissions rp set ends_at = greatest(now(), rp.starts_at)
    where rp.role_id = ${id} and rp.ends_at is null and ${which}
      and exists (select from freehold.roles r where r.id = rp.role_id and ${as_read}) returning rp.id`)

const without = (kept: z.infer<typeof Grants>) => sql`not exists (select from ${granted(kept)} where ${isSame})`

const begin = (ctx: Ctx, id: string, grants: z.infer<typeof Grants>, as_read = sql`true`) => {
  const { names, values } = columnsOf(grants)
  return ctx.db.execute(sql`insert into freehold.role_permissions (id, role_id, ${names})
    select g.id, r.id, ${values} from freehold.roles r cross join ${granted(grants)}
    where r.id = ${id} and r.deleted_at is null and ${as_read} and not exists (
      select from freehold.role_permissions rp where rp.role_id = r.id and rp.permission = g.permission and rp.ends_at is null)`)
}
