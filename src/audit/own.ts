import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Line } from '../kernel/fields.ts'
import { invalid } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import type { ActivityWire } from './audit.ts'

const MAX_BYTES = 16 * 1024
const MAX_DEPTH = 32

const State = z.record(z.string(), z.unknown()).refine(isPlain, 'must be text without NUL, nested at most 32 deep')

/** What a service records of itself. Who, when and from where is not for it to say. */
export const NewActivity = z
  .object({
    activity_type: z
      .string()
      .max(64)
      .regex(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/, 'must be words in capitals with _ between them'),
    action: Line(64),
    resource_type: Line(64),
    resource_id: Line(255).optional(),
    risk_score: z.number().int().min(0).max(100).default(0),
    before: State.optional(),
    after: State.optional(),
  })
  .openapi('NewActivity')

/**
 * Records what a service did itself, as the caller and from where the caller is. One round trip; `activity:create`. Fails with
 * invalid_request, also when the type is one that Freehold records itself.
 */
export async function createActivity(ctx: Ctx, activity: z.infer<typeof NewActivity>): Promise<ActivityWire> {
  const { activity_type, action, resource_type, resource_id, risk_score, before, after } = activity
  if (new TextEncoder().encode(JSON.stringify(activity)).length > MAX_BYTES) throw invalid('', 'must be at most 16 KiB')
  const text = (state: object | undefined) => (state ? JSON.stringify(state) : null)
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select access.record_custom_activity(${activity_type}, ${action}, ${resource_type}, ${resource_id ?? null}, ${risk_score}::integer, ${text(before)}::jsonb, ${text(after)}::jsonb) as made`,
    ),
  )
  const [row] = rowsOf<{ made: ActivityWire }>(result)
  if (!row) throw new Error('An activity was not recorded.')
  return row.made
}

/** True for what a column of type jsonb can hold. */
function isPlain(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  return depth < MAX_DEPTH && Object.entries(value).every(([key, part]) => isPlain(key) && isPlain(part, depth + 1))
}
