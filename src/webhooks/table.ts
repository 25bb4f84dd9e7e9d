import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/** Where events are sent. */
export const webhooks = freehold.table(
  'webhooks',
  {
    id: uuid().primaryKey(),
    url: text().notNull(),
    /** Types of events, `user.created` or `user.*`; empty: all. */
    kinds: text().array().notNull().default([]),
    includes_details: boolean().notNull().default(false),
    is_paused: boolean().notNull().default(false),
    /** Why the system paused it: nothing was accepted for three days, or its receiver is gone. */
    paused_because: text({ enum: ['failing', 'gone'] }),
    /** The secret, and after a space the private key. */
    secret_encrypted: text().notNull(),
    public_key: text(),
    /** The secret before, with which is signed, too, until then. */
    former_secret_encrypted: text(),
    former_until: moment(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('webhooks_sorted').on(t.created_at, t.id),
    check('webhooks_texts', sql`length(${t.url}) between 1 and 500 and cardinality(${t.kinds}) <= 50`),
    check('webhooks_paused', sql`${t.paused_because} is null or ${t.is_paused} and ${t.paused_because} in ('failing', 'gone')`),
  ],
)

/** How far each webhook is. Apart from its settings, because it changes all the time, and no change of it is an event. */
export const webhook_progress = freehold.table('webhook_progress', {
  webhook_id: uuid()
    .primaryKey()
    .references(() => webhooks.id, { onDelete: 'cascade' }),
  /** All events up to this number were accepted, or are not among its kinds. */
  delivered_seq: bigint({ mode: 'number' }).notNull(),
  failures: integer().notNull().default(0),
  failing_since: moment(),
  next_at: moment().notNull().defaultNow(),
  /** Who sends for it now, and until when nobody else does. */
  lease: uuid(),
  leased_until: moment(),
})

/** Attempts to deliver, for 90 days. `seq` is null of a test. */
export const webhook_deliveries = freehold.table(
  'webhook_deliveries',
  {
    id: uuid().primaryKey(),
    webhook_id: uuid()
      .notNull()
      .references(() => webhooks.id, { onDelete: 'cascade' }),
    seq: bigint({ mode: 'number' }),
    event_id: uuid(),
    type: text().notNull(),
    attempt: integer().notNull(),
    is_delivered: boolean().notNull(),
    /** What the receiver answered; null: nothing. */
    status: integer(),
    error: text(),
    duration_ms: integer().notNull(),
    at: moment().notNull().default(sql`clock_timestamp()`),
  },
  (t) => [index('webhook_deliveries_of').on(t.webhook_id, t.at, t.id), index('webhook_deliveries_at').on(t.at)],
)
