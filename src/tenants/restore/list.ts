/** Restore points as they are shown, and all of a tenant's. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'

const Named = z.object({ count: z.int(), names: z.array(z.string()).openapi({ description: 'The first twenty' }) })
const Difference = z
  .object({
    people: z.object({ added: Named, changed: Named, removed: Named, deactivated: Named }),
    passwords: z
      .object({ changed: Named })
      .openapi({ description: 'They are as they were then, and must be changed at the next login' }),
    roles: z.object({ added: Named, changed: Named, removed: Named }),
    assignments: z.object({ given: Named, taken: Named }),
    api_keys: z.object({ made: Named, revoked: Named }),
    settings: z.object({ changed: Named }),
    sessions: z.object({ ended: z.int() }),
    one_time_tokens: z.object({ ended: z.int() }),
    audit: z.object({ entries: z.int() }),
  })
  .openapi({
    description:
      'Since then. What was added, given or made is not there after a restore, what was removed is there again; what was deactivated, taken or revoked stays so, and all sessions and one-time tokens end',
  })

export const Point = z.object({
  id: z.uuid(),
  at: z.iso.datetime(),
  state: z.enum(['making', 'ready', 'restoring', 'restored', 'returning', 'returned', 'failed', 'dropped']),
  error: z.string().nullable(),
  difference: Difference.nullable(),
  created_at: z.iso.datetime(),
  ready_at: z.iso.datetime().nullable(),
  exchanged_at: z.iso
    .datetime()
    .nullable()
    .openapi({ description: 'Since when the tenant is as it was then, or as before again' }),
  finished_at: z.iso.datetime().nullable(),
  kept_until: z.iso.datetime().openapi({ description: 'Until then it can be confirmed, or gone back from' }),
})

/** A row `r` as a Point. */
export const POINT = sql`jsonb_build_object('id', r.id, 'at', ${rfc3339('r.at')}, 'state', r.state, 'error', r.error, 'difference', r.difference, 'created_at', ${rfc3339('r.created_at')},
  'ready_at', ${rfc3339('r.ready_at')}, 'exchanged_at', ${rfc3339('r.exchanged_at')}, 'finished_at', ${rfc3339('r.finished_at')}, 'kept_until', ${rfc3339('r.kept_until')})`

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
