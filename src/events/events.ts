import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { Whole } from '../kernel/fields.ts'

/** The greatest number that JSON carries exactly. */
const MOST = Number.MAX_SAFE_INTEGER

/** The number of an event, in a query. */
const Seq = z
  .string()
  .regex(/^\d{1,16}$/, 'must be a whole number in digits')
  .transform(Number)
  .pipe(z.int().min(0).max(MOST))
  .openapi({ type: 'integer', minimum: 0, maximum: MOST })

export const EventQuery = z.object({
  after: Seq.default(0).openapi({ description: 'The `seq` of the last event that you have; 0: from the first', example: 0 }),
  limit: Whole(1, 100).default(50),
  include: z.enum(['details']).optional().openapi({
    description: 'Also who, from where, and what changed: personal data, with the salt that verifies them',
  }),
})
export type EventQuery = z.infer<typeof EventQuery>

const EventCheckpoint = z
  .object({
    no: z.int(),
    entries: z.int(),
    oldest_xid: z.int().nullable(),
    next_xid: z.int().nullable(),
    created_at: z.iso.datetime(),
    hash: z.string().openapi({
      description: 'SHA-256 of `previous_hash`, of these fields and of the events under this checkpoint, in hexadecimal',
    }),
    previous_hash: z.string().nullable().openapi({ description: '`hash` of the checkpoint before; null: this is the first' }),
  })
  .openapi('EventCheckpoint')

const EventDetails = z
  .object({
    salt: z.string(),
    user_name: z.string().nullable(),
    address: z.string().nullable(),
    agent: z.string().nullable(),
    method: z.string().nullable(),
    path: z.string().nullable(),
    before: z.record(z.string(), z.unknown()).nullable(),
    after: z.record(z.string(), z.unknown()).nullable(),
    api_key_id: z.uuid().nullable(),
    impersonator_id: z.uuid().nullable(),
  })
  .openapi('EventDetails')

export const Event = z
  .object({
    v: z.literal(1).openapi({ description: 'The version of this form' }),
    seq: z.int().openapi({ description: 'Its place in the audit: 1 more than that of the event before, within an epoch' }),
    epoch: z.int().openapi({ description: '1 more after the tenant was restored to an earlier moment' }),
    id: z.uuid(),
    type: z.string().openapi({ description: 'What happened, as `user.created`', example: 'user.created' }),
    at: z.iso.datetime(),
    user_id: z.uuid().nullable(),
    activity_type: z.string(),
    action: z.string(),
    resource_type: z.string(),
    resource_id: z.string().nullable(),
    risk_score: z.int(),
    trace_id: z.string().nullable(),
    xid: z.int().openapi({ description: 'The transaction that wrote it' }),
    detail_hash: z.string().openapi({ description: 'SHA-256 of its details with their salt, in hexadecimal' }),
    checkpoint: EventCheckpoint,
    details: EventDetails.nullable().optional().openapi({ description: 'Where asked for; null: they were erased' }),
  })
  .openapi('Event')
export type Event = z.infer<typeof Event>

export const EventList = z
  .object({
    data: z.array(Event),
    next_after: z.int().openapi({ description: 'The `after` of the next request' }),
  })
  .openapi('EventList')

const { placeholder } = sql
const PAGE = question(
  sql`access.read_events(${placeholder('after')}::bigint, ${placeholder('limit')}::integer, ${placeholder('is_detailed')}::boolean)`,
)

/**
 * Lists events in order, after a number; what is recorded while nobody else writes is there after about a second. One round trip;
 * `activity:export` at scope `all`. Fails with forbidden.
 */
export async function listEvents(ctx: Ctx, { after, limit, include }: EventQuery): Promise<z.infer<typeof EventList>> {
  const data = await ctx.ask<Event[]>(PAGE, { after, limit, is_detailed: include === 'details' })
  return { data, next_after: data.at(-1)?.seq ?? after }
}
