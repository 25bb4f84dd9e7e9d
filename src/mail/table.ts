import { sql } from 'drizzle-orm'
import { boolean, check, date, index, integer, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { access, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * The outbox: mails to send, written by the transaction that is the reason for them. `secrets_encrypted` holds values that nobody
 * who reads the database may learn, such as a link's token; the Worker encrypts them, and they are removed when the mail is sent
 * or given up.
 */
export const mails = freehold.table(
  'mails',
  {
    id: uuid().primaryKey(),
    /** The template. */
    kind: text().notNull(),
    channel: text({ enum: ['email', 'sms'] })
      .notNull()
      .default('email'),
    user_id: uuid().references(() => users.id),
    recipient: text().notNull(),
    locale: text().notNull(),
    /** The template's values that are not secret. */
    data: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    secrets_encrypted: text(),
    trace_id: text(),
    state: text({ enum: ['queued', 'sent', 'dead'] })
      .notNull()
      .default('queued'),
    attempts: integer().notNull().default(0),
    next_at: moment().notNull().defaultNow(),
    /** The lease of the sender that claimed it. */
    lease_until: moment(),
    created_at: moment().notNull().defaultNow(),
    finished_at: moment(),
  },
  (t) => [
    index('mails_due').on(t.next_at).where(sql`${t.state} = 'queued'`),
    index('mails_user').on(t.user_id, t.created_at),
    // For what a day had: access.count_days.
    index('mails_created').on(t.created_at),
    // The expression of access.recipient_key.
    index('mails_recipient').on(
      sql`(case when channel = 'sms' then regexp_replace(recipient, '[^0-9]', '', 'g') else recipient end)`,
      t.created_at,
    ),
    check('mails_state', sql`${t.state} in ('queued', 'sent', 'dead') and (${t.state} = 'queued') = (${t.finished_at} is null)`),
    check('mails_channel', sql`${t.channel} in ('email', 'sms')`),
  ],
)

/** One attempt to send a mail, and its outcome. */
export const mail_attempts = freehold.table(
  'mail_attempts',
  {
    id: uuid().primaryKey(),
    mail_id: uuid()
      .notNull()
      .references(() => mails.id),
    started_at: moment().notNull().defaultNow(),
    finished_at: moment(),
    /** null while it is under way, or when the sender died. */
    outcome: text({ enum: ['accepted', 'refused', 'failed'] }),
    detail: text(),
  },
  (t) => [index('mail_attempts_mail').on(t.mail_id, t.started_at)],
)

/** How many mails the tenant sent on its latest day (UTC), counted apart: those that strangers can cause, and all others. */
export const mail_counter = access.table(
  'mail_counter',
  {
    one: boolean().primaryKey().default(true),
    day: date().notNull(),
    by_strangers: integer().notNull(),
    by_others: integer().notNull(),
    /** What tells people of a change of their password or address, which no other mail may crowd out. */
    notices: integer().notNull().default(0),
  },
  (t) => [check('mail_counter_is_one', sql`${t.one}`)],
)

/** Mails that were dropped because of a limit, without their recipients, until the Worker has logged them. */
export const dropped_mails = access.table('dropped_mails', {
  id: uuid().primaryKey(),
  kind: text().notNull(),
  channel: text().notNull(),
  /** The setting that limits them. */
  reached: text().notNull(),
  trace_id: text(),
  created_at: moment().notNull().defaultNow(),
})
