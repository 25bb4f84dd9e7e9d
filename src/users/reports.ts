/** The users who report to a manager. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { rolesOf, User, userColumns } from './users.ts'

/** `depth` is 1 for direct reports. */
export const Report = User.extend({ depth: z.int() }).openapi('Report')
export const ReportList = pageOf(Report).openapi('ReportList')
export const ReportQuery = Page.extend({ deep: z.enum(['true', 'false']).default('false') })

/** Fails with not_found unless the caller can access the user: an empty list must not hide that. */
export const requireExisting = (result: unknown) => {
  if (rowsOf(result).length === 0) throw new Problem('not_found')
}
/** Refuses a user whom the caller can read, but not with the permission of this request. */
export const requireReach = (id: string) => sql`select access.require_reach('user', ${id}::uuid)`
export const exists = (id: string) => sql`select u.id from freehold.users u where u.id = ${id}`

/** The statement of a page, with one row more than `limit`. `after` is the last row of the page before. */
export function reported(id: string, deep: boolean, limit: number, after: string[] | null): SQL {
  const [depth = '0', username = '', last = ''] = after ?? []
  const beyond = after
    ? sql`where (t.depth, t.username collate "C", t.id) > (${depth}::integer, ${username}::text, ${last}::uuid)`
    : sql``
  // The tree holds only the sort key; the other columns are read for the rows of the page alone.
  return sql`with recursive tree (id, username, depth) as (
      select u.id, u.username, 1 from freehold.users u where u.manager_id = ${id}
      union all
      select u.id, u.username, t.depth + 1 from tree t join freehold.users u on u.manager_id = t.id where ${deep}
    ) cycle id set is_round using path
    select ${userColumns}, ${rolesOf(sql`u.id`)}, page.depth
    from (select t.id, t.depth from tree t ${beyond} order by t.depth, t.username collate "C", t.id limit ${limit + 1}) page
      join freehold.users u on u.id = page.id
    order by page.depth, u.username collate "C", u.id`
}

/**
 * The direct reports of a user; with `deep` also theirs, level by level, through users whom the caller can access. One round
 * trip; `user:read`. Fails with not_found, invalid_cursor.
 */
export async function reports(
  ctx: Ctx,
  id: string,
  { limit, cursor, deep }: z.infer<typeof ReportQuery>,
): Promise<z.infer<typeof ReportList>> {
  const name = `reports:${id}:${deep}`
  const after = await readCursor(ctx.realm, name, cursor)
  const [user, result] = await ctx.run(ctx.db.execute(exists(id)), ctx.db.execute(reported(id, deep === 'true', limit, after)))
  requireExisting(user)
  const rows = rowsOf<z.infer<typeof Report>>(result)
  return paged(ctx.realm, name, rows, limit, (row) => [String(row.depth), row.username, row.id])
}
