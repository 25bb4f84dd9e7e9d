import { sql } from 'drizzle-orm'
import { check, index, integer, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * The outbox: what is to be sent, written in the transaction that gave the occasion, and kept until it was accepted or given up. `secrets_encrypted` holds what
 * nobody who reads the database may read, a link's token above all; it is encrypted by the Worker, and gone once the mail is sent.
 */
export const mails = freehold.table(
  'mails',
  {
    id: uuid().primaryKey(),
    /** Which template. */
    kind: text().notNull(),
    channel: text({ enum: ['email', 'sms'] })
      .notNull()
      .default('email'),
    user_id: uuid().references(() => users.id),
    recipient: text().notNull(),
    locale: text().notNull(),
    /** What the template shows and anybody may know. */
    data: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    secrets_encrypted: text(),
    trace_id: text(),
    state: text({ enum: ['queued', 'sent', 'dead'] })
      .notNull()
      .default('queued'),
    attempts: integer().notNull().default(0),
    next_at: moment().notNull().defaultNow(),
    /** Who sends it holds it until then. */
    lease_until: moment(),
    created_at: moment().notNull().defaultNow(),
    finished_at: moment(),
  },
  (t) => [
    index('mails_due').on(t.next_at).where(sql`${t.state} = 'queued'`),
    index('mails_user').on(t.user_id, t.created_at),
    check('mails_state', sql`${t.state} in ('queued', 'sent', 'dead') and (${t.state} = 'queued') = (${t.finished_at} is null)`),
    check('mails_channel', sql`${t.channel} in ('email', 'sms')`),
  ],
)

/** One try to send a mail, and what came of it. */
export const mail_attempts = freehold.table(
  'mail_attempts',
  {
    id: uuid().primaryKey(),
    mail_id: uuid()
      .notNull()
      .references(() => mails.id),
    started_at: moment().notNull().defaultNow(),
    finished_at: moment(),
    /** null while it is under way, or when whoever tried was lost. */
    outcome: text({ enum: ['accepted', 'refused', 'failed'] }),
    detail: text(),
  },
  (t) => [index('mail_attempts_mail').on(t.mail_id, t.started_at)],
)
