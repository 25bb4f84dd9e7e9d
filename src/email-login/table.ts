import { index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * Logins by mail that somebody asked for: a code for the browser that asked, and a link. Of the three secrets only hashes are stored, and
 * that of the code holds the request token, which is nowhere here, so that nobody finds the code by trying all of them.
 */
export const email_logins = freehold.table(
  'email_logins',
  {
    /** SHA-256 of the token that whoever asked holds. */
    request_hash: bytea().primaryKey(),
    link_hash: bytea().notNull(),
    code_hash: bytea().notNull(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    /** The address that it was sent to. */
    target: text().notNull(),
    /** Who asked, for whoever opens the link elsewhere: the user agent and the place. */
    agent: text(),
    city: text(),
    country: text(),
    /** Wrong codes. */
    failures: integer().notNull().default(0),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
  },
  (t) => [
    uniqueIndex('email_logins_link').on(t.link_hash),
    index('email_logins_user').on(t.user_id),
    index('email_logins_expired').on(t.expires_at),
  ],
)
