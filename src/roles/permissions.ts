import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { PermissionName } from '../names/names.ts'

const Description = Line(255).nullable()

export const Permission = z
  .object({
    id: z.uuid(),
    name: z.string(),
    resource: z.string(),
    action: z.string(),
    description: z.string().nullable(),
    is_system: z.boolean(),
    is_administrative: z.boolean().openapi({ description: 'Whether it gives power over other users' }),
    created_at: z.iso.datetime(),
  })
  .openapi('Permission')
export const NewPermission = z.object({ name: PermissionName, description: Description.optional() }).openapi('NewPermission')
export const PermissionChange = z.object({ description: Description }).openapi('PermissionChange')
export const PermissionList = pageOf(Permission).openapi('PermissionList')
export const PermissionQuery = Page.extend({
  resource: Line(63).optional(),
  action: Line(32).optional(),
  search: Line(95).optional(),
})

type Wire = z.infer<typeof Permission>

const columns = sql`p.id, p.name, split_part(p.name, ':', 1) as resource, split_part(p.name, ':', 2) as action, p.description, p.is_system, p.is_administrative,
  ${rfc3339('p.created_at')} as created_at`

/**
 * Lists the tenant's permissions by name. `search` is a prefix match on the name. One round trip; `permission:read`. Fails with
 * invalid_cursor.
 */
export async function listPermissions(ctx: Ctx, query: z.infer<typeof PermissionQuery>): Promise<z.infer<typeof PermissionList>> {
  const { limit, resource, action, search } = query
  const [after] = (await readCursor(ctx.realm, 'permissions', query.cursor)) ?? []
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from freehold.permissions p where p.deleted_at is null
      ${after === undefined ? sql`` : sql`and p.name collate "C" > ${after}`}
      ${resource === undefined ? sql`` : sql`and split_part(p.name, ':', 1) = ${resource}`}
      ${action === undefined ? sql`` : sql`and split_part(p.name, ':', 2) = ${action}`}
      ${search === undefined ? sql`` : sql`and starts_with(p.name, ${search.toLowerCase()})`}
      order by p.name collate "C" limit ${limit + 1}`),
  )
  return paged(ctx.realm, 'permissions', rowsOf<Wire>(result), limit, (row) => [row.name])
}

/** Gets a permission. One round trip; `permission:read`. Fails with not_found. */
export async function getPermission(ctx: Ctx, id: string): Promise<Wire> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from freehold.permissions p where p.id = ${id} and p.deleted_at is null`),
  )
  return oneOf(result)
}

/** Creates a permission, or restores one that was deleted. One round trip; `permission:create`. Fails with already_exists. */
export async function createPermission(ctx: Ctx, { name, description }: z.infer<typeof NewPermission>): Promise<Wire> {
  const [made] = await create<Wire>(ctx, {
    made: sql`made as (insert into freehold.permissions as p (id, name, description) values (${crypto.randomUUID()}, ${name}, ${description ?? null})
      on conflict (name) do update set deleted_at = null, description = excluded.description where p.deleted_at is not null returning ${columns})`,
  })
  if (!made) throw new Problem('already_exists')
  return made
}

/** Changes the description of a permission; the name never changes. One round trip; `permission:update`. Fails with not_found. */
export async function changePermission(ctx: Ctx, id: string, change: z.infer<typeof PermissionChange>): Promise<Wire> {
  const [, changed] = await ctx.run(
    reach(ctx, id),
    ctx.db.execute(sql`update freehold.permissions p set description = ${change.description}
      where p.id = ${id} and p.deleted_at is null returning ${columns}`),
  )
  return oneOf(changed)
}

/** Deletes an unused permission. One round trip; `permission:delete`. Fails with not_found, in_use (says where). */
export async function deletePermission(ctx: Ctx, id: string): Promise<void> {
  const [, deleted] = await ctx.run(
    reach(ctx, id),
    ctx.db.execute(
      sql`update freehold.permissions p set deleted_at = now() where p.id = ${id} and p.deleted_at is null returning p.id`,
    ),
  )
  if (!rowsOf(deleted).length) throw new Problem('not_found')
}

/** Refuses a permission that the caller can only read. */
const reach = (ctx: Ctx, id: string) => ctx.db.execute(sql`select access.require_reach('permission', ${id}::uuid)`)

function oneOf(result: unknown): Wire {
  const [row] = rowsOf<Wire>(result)
  if (!row) throw new Problem('not_found')
  return row
}
