import type { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { POINT, Point } from './points.ts'

export const RestorePointList = pageOf(Point).openapi('RestorePointList')

/** The restore points of a tenant, newest first. One round trip to the master; `tenant:read`. Fails with not_found, invalid_cursor. */
export async function listRestorePoints(
  ctx: Ctx,
  tenant_id: string,
  { limit, cursor }: z.infer<typeof Page>,
): Promise<z.infer<typeof RestorePointList>> {
  const list = `restore-points:${tenant_id}`
  const [at, last] = (await readCursor(ctx.realm, list, cursor)) ?? []
  const after = at ? sql`and (r.created_at, r.id) < (${at}::timestamptz, ${last}::uuid)` : sql``
  const [known, result] = await ctx.run(
    ctx.db.execute(sql`select t.id from platform.tenants t where t.id = ${tenant_id}`),
    ctx.db.execute(
      sql`select ${POINT} as point, ${rfc3339('r.created_at')} as created_at, r.id from platform.restore_points r
          where r.tenant_id = ${tenant_id} ${after} order by r.created_at desc, r.id desc limit ${limit + 1}`,
    ),
  )
  if (!rowsOf(known).length) throw new Problem('not_found')
  const rows = rowsOf<{ point: z.infer<typeof Point>; created_at: string; id: string }>(result)
  const page = await paged(ctx.realm, list, rows, limit, (row) => [row.created_at, row.id])
  return { ...page, data: page.data.map(({ point }) => point) }
}
