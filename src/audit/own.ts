import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Line } from '../kernel/fields.ts'
import { invalid } from '../kernel/problem.ts'
import type { ActivityWire } from './audit.ts'

const MAX_BYTES = 16 * 1024
const MAX_DEPTH = 32

const State = z.record(z.string(), z.unknown()).refine(isStorable, 'must be text without NUL, nested at most 32 deep')

/** An activity that a service records. User, time and address are those of the request. */
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
 * Records an activity of a service, with the user and address of the request. One round trip; `activity:create`. Fails with
 * invalid_request, also for a type that only Freehold records.
 */
export async function createActivity(ctx: Ctx, activity: z.infer<typeof NewActivity>): Promise<ActivityWire> {
  const { activity_type, action, resource_type, resource_id, risk_score, before, after } = activity
  if (new TextEncoder().encode(JSON.stringify(activity)).length > MAX_BYTES) throw invalid('', 'must be at most 16 KiB')
  const text = (state: object | undefined) => (state ? JSON.stringify(state) : null)
  const [row] = await create<{ activity: ActivityWire }>(ctx, {
    made: sql`made as (select access.record_custom_activity(${activity_type}, ${action}, ${resource_type}, ${resource_id ?? null}, ${risk_score}::integer, ${text(before)}::jsonb, ${text(after)}::jsonb) as activity)`,
  })
  if (!row) throw new Error('The activity was not recorded.')
  // A database that is a version behind does not say it.
  return { ...row.activity, impersonator_id: row.activity.impersonator_id ?? null }
}

/** True for a value that jsonb can hold and that is nested at most MAX_DEPTH deep. */
function isStorable(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  return depth < MAX_DEPTH && Object.entries(value).every(([key, part]) => isStorable(key) && isStorable(part, depth + 1))
}
