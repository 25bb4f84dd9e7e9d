import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Moment } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { requireReach } from '../users/reports.ts'
import { current, mapConstraintErrors } from './wire.ts'

export const NewAssignment = z
  .object({
    role_id: z.uuid(),
    organization_id: z.uuid().nullable().optional().openapi({
      description: 'Held within this organization only, the one of the user: there scope `all` reaches its users and units',
    }),
    starts_at: Moment.optional(),
    ends_at: Moment.nullable().optional(),
  })
  .openapi('NewAssignment')
export const Assignment = z
  .object({
    id: z.uuid(),
    role_id: z.uuid(),
    role: z.string(),
    organization_id: z.uuid().nullable().openapi({ description: 'Held within this organization only; null: everywhere' }),
    starts_at: z.iso.datetime(),
    ends_at: z.iso.datetime().nullable(),
  })
  .openapi('Assignment')
export const AssignmentList = pageOf(Assignment).openapi('AssignmentList')
/** The query of a list of validity ranges: the current and scheduled ones, or with `all` also those that have ended. */
export const Ranges = Page.extend({ all: z.enum(['true', 'false']).optional() })

export const Holder = z
  .object({
    id: z.uuid(),
    username: z.string(),
    email: z.string(),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    is_active: z.boolean(),
  })
  .openapi('RoleHolder')
export const HolderList = pageOf(Holder).openapi('RoleHolderList')

type Wire = z.infer<typeof Assignment>

/** The organization by its name, because a database that is a version behind has no such column. */
const columns = sql`ur.id, ur.role_id, r.name as role, (to_jsonb(ur) ->> 'organization_id')::uuid as organization_id, ${rfc3339('ur.starts_at')} as starts_at, ${rfc3339('ur.ends_at')} as ends_at`

/** Locks the user before the triggers lock the role: the same order as where a user is changed or deactivated. */
const lockUser = (user_id: string) => sql`select access.lock_user(${user_id}::uuid)`

/**
 * Assigns a role to a user from `starts_at` (default: now) to `ends_at` (default: no end). One round trip; `role:update`. Fails
 * with not_found, forbidden (a user whom the caller can only read; to the caller themselves, a role that carries more than the caller holds, or below scope `all` a
 * role that is not manageable), already_exists, limit_reached, invalid_request.
 */
export async function assignRole(ctx: Ctx, user_id: string, wanted: z.infer<typeof NewAssignment>): Promise<Wire> {
  const id = crypto.randomUUID()
  const within = wanted.organization_id ?? null
  const [made] = await mapConstraintErrors(
    create<Wire>(ctx, {
      before: [
        requireReach(user_id),
        lockUser(user_id),
        sql`insert into freehold.user_roles (id, user_id, role_id${within === null ? sql`` : sql`, organization_id`}, starts_at, ends_at)
        select ${id}, u.id, ${wanted.role_id}${within === null ? sql`` : sql`, ${within}::uuid`}, coalesce(${wanted.starts_at ?? null}::timestamptz, now()), ${wanted.ends_at ?? null}::timestamptz
        from freehold.users u where u.id = ${user_id}`,
      ],
      made: sql`made as (select ${columns} from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id where ur.id = ${id})`,
    }),
    (error) =>
      brokenConstraint(error) === 'user_roles_open' ? new Problem('already_exists', undefined, { cause: error }) : null,
  )
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * The assignments of a user, newest first: current and scheduled ones, with `all` also those that have ended. One round trip;
 * `user:read`.
 */
export async function listAssignments(
  ctx: Ctx,
  user_id: string,
  query: z.infer<typeof Ranges>,
): Promise<z.infer<typeof AssignmentList>> {
  const { limit, all } = query
  const name = `assignments:${user_id}:${all ?? ''}`
  const [at, id] = (await readCursor(ctx.realm, name, query.cursor)) ?? []
  const [users, result] = await ctx.run(
    ctx.db.execute(sql`select u.id from freehold.users u where u.id = ${user_id}`),
    ctx.db.execute(sql`select ${columns} from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id where ur.user_id = ${user_id}
      ${all === 'true' ? sql`` : sql`and (ur.ends_at is null or ur.ends_at > now())`}
      ${at === undefined ? sql`` : sql`and (ur.starts_at, ur.id) < (${at}::timestamptz, ${id}::uuid)`}
      order by ur.starts_at desc, ur.id desc limit ${limit + 1}`),
  )
  if (!rowsOf(users).length) throw new Problem('not_found')
  return paged(ctx.realm, name, rowsOf<Wire>(result), limit, (row) => [row.starts_at, row.id])
}

/**
 * Ends the assignment of a role to a user now; a scheduled one never begins. One round trip; `role:update`. Fails with not_found,
 * forbidden, illegal_state (the last administrator).
 */
export async function endAssignment(ctx: Ctx, user_id: string, role_id: string): Promise<void> {
  const open = sql`ur.user_id = ${user_id} and ur.role_id = ${role_id} and (ur.ends_at is null or ur.ends_at > now())`
  const [, , ended] = await ctx.run(
    ctx.db.execute(sql`select access.require_reach('assignment', ${role_id}::uuid, ${user_id}::uuid)`),
    ctx.db.execute(lockUser(user_id)),
    ctx.db.execute(sql`update freehold.user_roles ur set ends_at = greatest(now(), ur.starts_at) where ${open} returning ur.id`),
  )
  if (!rowsOf(ended).length) throw new Problem('not_found')
}

/**
 * The users the caller can access who hold a role now, by username. One round trip; `user:read`. Fails with not_found,
 * invalid_cursor.
 */
export async function listHolders(ctx: Ctx, role_id: string, query: z.infer<typeof Page>): Promise<z.infer<typeof HolderList>> {
  const name = `holders:${role_id}`
  const [username, id] = (await readCursor(ctx.realm, name, query.cursor)) ?? []
  const [roles, result] = await ctx.run(
    ctx.db.execute(sql`select r.id from freehold.roles r where r.id = ${role_id} and r.deleted_at is null`),
    ctx.db.execute(sql`select u.id, u.username, u.email, u.given_name, u.family_name, u.is_active from freehold.users u
      where exists (select from freehold.user_roles ur where ur.user_id = u.id and ur.role_id = ${role_id} and ${current(sql`ur`)})
      ${username === undefined ? sql`` : sql`and (u.username collate "C", u.id) > (${username}, ${id}::uuid)`}
      order by u.username collate "C", u.id limit ${query.limit + 1}`),
  )
  if (!rowsOf(roles).length) throw new Problem('not_found')
  return paged(ctx.realm, name, rowsOf<z.infer<typeof Holder>>(result), query.limit, (row) => [row.username, row.id])
}
