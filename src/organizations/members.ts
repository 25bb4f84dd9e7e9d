/**
 * Who belongs to an organization. Threat: somebody is taken in from another organization by a user who does not reach them there, or
 * the last place is taken twice. Belonging is a column of the user, so that the rules of users hold (src/users/users.sql), and
 * places are counted by the database (organizations.sql).
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'

export const Member = z
  .object({
    id: z.uuid(),
    username: z.string(),
    email: z.string(),
    given_name: z.string().nullable(),
    family_name: z.string().nullable(),
    role: z.string().nullable(),
    unit_id: z.uuid().nullable(),
    is_active: z.boolean(),
    created_at: z.iso.datetime(),
  })
  .openapi('OrganizationMember')
export const MemberList = pageOf(Member).openapi('OrganizationMemberList')

const columns = sql`u.id, u.username, u.email, u.given_name, u.family_name, u.role, u.unit_id, u.is_active,
  ${rfc3339('u.created_at')} as created_at`

/** The statement of a page of members, by username, with one row more than `limit`. `after` is the last row of the page before. */
export function memberPage(id: string, limit: number, after: string[] | null, further = sql``): SQL {
  const beyond = after ? sql`and (u.username collate "C", u.id) > (${after[0]}::text, ${after[1]}::uuid)` : sql``
  return sql`select ${columns} from freehold.users u where u.organization_id = ${id} ${beyond} ${further}
    order by u.username collate "C", u.id limit ${limit + 1}`
}

const organization = (id: string) => sql`select o.id from freehold.organizations o where o.id = ${id}`

/** Lists the members that the caller can access, by username. One round trip; `user:read`. Fails with not_found, invalid_cursor. */
export async function listMembers(
  ctx: Ctx,
  id: string,
  { limit, cursor }: z.infer<typeof Page>,
): Promise<z.infer<typeof MemberList>> {
  const after = await readCursor(ctx.realm, `members:${id}`, cursor)
  const [found, result] = await ctx.run(ctx.db.execute(organization(id)), ctx.db.execute(memberPage(id, limit, after)))
  if (!rowsOf(found).length) throw new Problem('not_found')
  return paged(ctx.realm, `members:${id}`, rowsOf<z.infer<typeof Member>>(result), limit, (row) => [row.username, row.id])
}

const reach = (user_id: string) => sql`select access.require_reach('user', ${user_id}::uuid)`

/**
 * Makes a user a member: they leave another organization, with their unit and the roles that they held within it. Idempotent. One round trip;
 * `user:update` at scope `all`. Fails with not_found (the organization or the user), limit_reached, illegal_state (it is being
 * wiped out), forbidden (a user with more power over others).
 */
export async function putMember(ctx: Ctx, id: string, user_id: string): Promise<z.infer<typeof Member>> {
  const move = sql`update freehold.users u set organization_id = o.id
    from freehold.organizations o where o.id = ${id} and u.id = ${user_id} and u.organization_id is distinct from o.id`
  const [, , result] = await ctx.run(
    ctx.db.execute(reach(user_id)),
    ctx.db.execute(move),
    ctx.db.execute(sql`select ${columns} from freehold.users u where u.id = ${user_id} and u.organization_id = ${id}`),
  )
  const [member] = rowsOf<z.infer<typeof Member>>(result)
  if (!member) throw new Problem('not_found')
  return member
}

/**
 * Ends that a user belongs to an organization, is in a unit of it, and holds roles within it. One round trip; `user:update` at scope `all`. Fails with
 * not_found, forbidden.
 */
export async function removeMember(ctx: Ctx, id: string, user_id: string): Promise<void> {
  const leave = sql`update freehold.users u set organization_id = null
    where u.id = ${user_id} and u.organization_id = ${id} returning u.id`
  const [, left] = await ctx.run(ctx.db.execute(reach(user_id)), ctx.db.execute(leave))
  if (!rowsOf(left).length) throw new Problem('not_found')
}
