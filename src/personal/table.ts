import { sql } from 'drizzle-orm'
import { check, index, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Requests to erase a person. A row stays once it is done: it is what proves that, and when. */
export const erasures = freehold.table(
  'erasures',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    /** The administrator who asked for it; null: the person themselves. */
    requested_by: uuid().references(() => users.id),
    reason: text(),
    requested_at: moment().notNull().defaultNow(),
    /** From when on the scheduled job erases. */
    erase_at: moment().notNull(),
    /** SHA-256 of the mailed token that cancels it. */
    cancel_hash: bytea(),
    cancelled_at: moment(),
    /** What the person is found by in the audit while its details are being erased. Null before and after. */
    traces: jsonb().$type<{ words: string[]; things: string[]; places: [string, string][] }>(),
    erased_at: moment(),
  },
  (t) => [
    uniqueIndex('erasures_open').on(t.user_id).where(sql`${t.cancelled_at} is null`),
    uniqueIndex('erasures_token').on(t.cancel_hash).where(sql`${t.cancel_hash} is not null`),
    index('erasures_due').on(t.erase_at).where(sql`${t.cancelled_at} is null and ${t.erased_at} is null`),
    index('erasures_user').on(t.user_id, t.requested_at),
    check('erasures_reason_form', sql`length(${t.reason}) <= 500`),
    check('erasures_over_once', sql`${t.cancelled_at} is null or ${t.erased_at} is null`),
  ],
)
