/**
 * Checkpoints over HTTP: what an export is verified against. Threat: somebody who can write the database makes the whole chain
 * anew, and its checkpoints with it. Whoever kept checkpoints from before sees it, without the master.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'

export const Checkpoint = z
  .object({
    no: z.int(),
    entries: z.int().openapi({ description: 'The number of activities under this checkpoint' }),
    oldest_xid: z.int().nullable().openapi({
      description: 'No activity under a later checkpoint is of an older transaction; null: made by an earlier release',
    }),
    next_xid: z.int().nullable().openapi({ description: 'No transaction had this id, or a greater one, at `created_at`' }),
    hash: z
      .string()
      .openapi({ description: 'SHA-256 of the hash before it, of this checkpoint and of its activities, in hexadecimal' }),
    created_at: z.iso.datetime(),
  })
  .openapi('Checkpoint')
type CheckpointWire = z.infer<typeof Checkpoint>

export const CheckpointList = pageOf(Checkpoint).openapi('CheckpointList')

/**
 * Lists the checkpoints of the audit, newest first. One round trip; `activity:read` at scope all. Fails with invalid_cursor,
 * forbidden.
 */
export async function listCheckpoints(ctx: Ctx, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
  const [before] = (await readCursor(ctx.realm, 'checkpoints', cursor)) ?? []
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select s.no, s.entries, s.oldest_xid, s.next_xid, encode(s.hash, 'hex') as hash, to_char(s.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at
          from freehold.audit_checkpoints s where ${before ?? null}::integer is null or s.no < ${before ?? null}::integer order by s.no desc limit ${limit + 1}`,
    ),
  )
  if (ctx.principal?.scope !== 'all')
    throw new Problem('forbidden', 'Checkpoints cover all activities: activity:read at scope all is needed.')
  const number = (xid: number | null) => (xid === null ? null : Number(xid))
  const rows = rowsOf<CheckpointWire>(result).map((row) => ({
    ...row,
    oldest_xid: number(row.oldest_xid),
    next_xid: number(row.next_xid),
  }))
  return paged(ctx.realm, 'checkpoints', rows, limit, ({ no }) => [String(no)])
}
