import { sql } from 'drizzle-orm'
import { check, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** What was sent to prove that somebody holds an address, or may set a new password. Only hashes are stored; each works once. */
export const one_time_tokens = freehold.table(
  'one_time_tokens',
  {
    token_hash: bytea().primaryKey(),
    kind: text({ enum: ['reset', 'email', 'phone'] }).notNull(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    /** The address or number that it was sent to. */
    target: text().notNull(),
    tries: integer().notNull().default(0),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
  },
  (t) => [
    index('one_time_tokens_user').on(t.user_id, t.kind, t.created_at),
    check('one_time_tokens_kind', sql`${t.kind} in ('reset', 'email', 'phone')`),
  ],
)

/** Who registered and has not shown yet that the address is theirs: nobody until then. */
export const registrations = freehold.table(
  'registrations',
  {
    token_hash: bytea().primaryKey(),
    email: text().notNull(),
    /** The one that was wanted, or the one that follows from the address; with a suffix when somebody has it by then. */
    username: text().notNull(),
    password_hash: text().notNull(),
    given_name: text(),
    family_name: text(),
    locale: text().notNull().default('en'),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
  },
  (t) => [index('registrations_email').on(t.email, t.created_at), index('registrations_expired').on(t.expires_at)],
)
