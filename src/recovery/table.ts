import { sql } from 'drizzle-orm'
import { boolean, check, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Tokens and codes that verify an address or a number, or allow a password reset. Only hashes are stored; each works once. */
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

/**
 * Registrations, and the tokens that were mailed to their addresses. No user exists until the address is verified. Each
 * registration has a token, and each resend adds a row that has nothing else.
 */
export const registrations = freehold.table(
  'registrations',
  {
    token_hash: bytea().primaryKey(),
    email: text().notNull(),
    /** The hash of what the registration was answered with; null for a resend. Whoever knows it gave the password. */
    secret_hash: bytea(),
    /**
     * The requested username, or the one derived from the address; it gets a suffix if it is taken by the time of the
     * verification.
     */
    username: text(),
    password_hash: text(),
    given_name: text(),
    family_name: text(),
    locale: text().notNull().default('en'),
    /** Whether the token was mailed. Of those that were not, the newest ten of an address are kept. */
    is_mailed: boolean().notNull().default(true),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
  },
  (t) => [index('registrations_email').on(t.email, t.created_at), index('registrations_expired').on(t.expires_at)],
)
