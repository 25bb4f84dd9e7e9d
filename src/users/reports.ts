/** Who reports to a person. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { columns, rolesOf, User } from './users.ts'

/** `depth` is 1 for who reports to the person directly. */
export const Report = User.extend({ depth: z.int() }).openapi('Report')
export const ReportList = pageOf(Report).openapi('ReportList')
export const ReportQuery = Page.extend({ deep: z.enum(['true', 'false']).default('false') })

/** Fails with not_found unless the person is reached: an empty list must not look like somebody who is not there. */
export const requireExisting = (result: unknown) => {
  if (rowsOf(result).length === 0) throw new Problem('not_found')
}
export const exists = (id: string) => sql`select u.id from freehold.users u where u.id = ${id}`

/** The statement of a page: one row more than is shown. `after` is the last row of the page before. */
export function reported(id: string, deep: boolean, limit: number, after: string[] | null): SQL {
  const [depth = '0', username = '', last = ''] = after ?? []
  const beyond = after
    ? sql`where (t.depth, t.username collate "C", t.id) > (${depth}::integer, ${username}::text, ${last}::uuid)`
    : sql``
  // The tree holds what it is sorted by and nothing else; the rest is read of who is shown.
  return sql`with recursive tree (id, username, depth) as (
      select u.id, u.username, 1 from freehold.users u where u.manager_id = ${id}
      union all
      select u.id, u.username, t.depth + 1 from tree t join freehold.users u on u.manager_id = t.id where ${deep}
    ) cycle id set is_round using path
    select ${columns}, ${rolesOf(sql`u.id`)}, page.depth
    from (select t.id, t.depth from tree t ${beyond} order by t.depth, t.username collate "C", t.id limit ${limit + 1}) page
      join freehold.users u on u.id = page.id
    order by page.depth, u.username collate "C", u.id`
}

/**
 * Who has this person for a manager; `deep`: and who has those, level by level, through people whom the caller reaches. One round trip;
 * `user:read`. Fails with not_found, invalid_cursor.
 */
export async function reports(
  ctx: Ctx,
  id: string,
  { limit, cursor, deep }: z.infer<typeof ReportQuery>,
): Promise<z.infer<typeof ReportList>> {
  const name = `reports:${id}:${deep}`
  const after = await readCursor(ctx.realm, name, cursor)
  const [person, result] = await ctx.run(ctx.db.execute(exists(id)), ctx.db.execute(reported(id, deep === 'true', limit, after)))
  requireExisting(person)
  const rows = rowsOf<z.infer<typeof Report>>(result)
  return paged(ctx.realm, name, rows, limit, (row) => [String(row.depth), row.username, row.id])
}
