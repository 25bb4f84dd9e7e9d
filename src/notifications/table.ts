import { sql } from 'drizzle-orm'
import { boolean, check, index, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/**
 * What somebody is told. It holds no text: `event` and `params` are written in the reader's language when they are read. No foreign keys:
 * the transaction that tells of something must wait for nobody, and rows of users are never deleted.
 */
export const notifications = freehold.table(
  'notifications',
  {
    id: uuid().primaryKey(),
    user_id: uuid().notNull(),
    /** The group that a person chooses by: access.notification_kind(event). */
    kind: text({ enum: ['security', 'competency', 'invitation', 'delegation', 'license'] }).notNull(),
    event: text().notNull(),
    params: jsonb().$type<Record<string, string>>().notNull().default({}),
    /** Another person whom it is about. Their name is not here: it is read when it is shown, and goes with them. */
    about_id: uuid(),
    resource_type: text(),
    resource_id: text(),
    /** Whether it is listed; otherwise it only waits for its mail. */
    is_listed: boolean().notNull().default(true),
    /** The mail that it waits for; null: none, or it was mailed. */
    mail: text({ enum: ['now', 'digest'] }),
    created_at: moment().notNull().default(sql`clock_timestamp()`),
    read_at: moment(),
  },
  (t) => [
    index('notifications_user').on(t.user_id, t.created_at, t.id),
    index('notifications_unread').on(t.user_id, t.created_at, t.id).where(sql`${t.read_at} is null and ${t.is_listed}`),
    index('notifications_about').on(t.about_id).where(sql`${t.about_id} is not null`),
    index('notifications_mail').on(t.mail, t.created_at).where(sql`${t.mail} is not null`),
    index('notifications_created').on(t.created_at),
    check('notifications_kind', sql`${t.kind} in ('security', 'competency', 'invitation', 'delegation', 'license')`),
    check('notifications_mail_form', sql`${t.mail} in ('now', 'digest')`),
    check('notifications_params', sql`jsonb_typeof(${t.params}) = 'object' and octet_length(${t.params}::text) <= 4096`),
  ],
)

/** What a person chose, where it is not what everybody gets: {kind: {in_app, mail}}. */
export const notification_preferences = freehold.table(
  'notification_preferences',
  {
    user_id: uuid().primaryKey(),
    kinds: jsonb().$type<Record<string, { in_app: boolean; mail: 'now' | 'digest' | 'off' }>>().notNull(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    check('notification_preferences_kinds', sql`jsonb_typeof(${t.kinds}) = 'object' and octet_length(${t.kinds}::text) <= 2048`),
  ],
)
