import { sql } from 'drizzle-orm'
import { boolean, check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/** People of a tenant. `id` is the `sub` of their tokens and never changes; e-mail and username are stored normalised. */
export const users = freehold.table(
  'users',
  {
    id: uuid().primaryKey(),
    username: text().notNull(),
    email: text().notNull(),
    email_verified: boolean().notNull().default(false),
    password_changed_at: moment().notNull().defaultNow(),
    must_change_password: boolean().notNull().default(false),
    given_name: text(),
    family_name: text(),
    role: text().notNull(),
    is_active: boolean().notNull().default(true),
    locale: text().notNull().default('en'),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('users_username').on(t.username),
    uniqueIndex('users_email').on(t.email),
    index('users_role').on(t.role),
    check('users_username_form', sql`length(${t.username}) between 1 and 64 and strpos(${t.username}, '@') = 0`),
    check('users_email_form', sql`length(${t.email}) between 3 and 255 and strpos(${t.email}, '@') > 1`),
    check('users_names_form', sql`length(${t.given_name}) <= 255 and length(${t.family_name}) <= 255`),
  ],
)

/**
 * Passwords, the current one and those before it (a grant of access: replaced, not overwritten). Apart from `users`, so that the app login
 * can be let see every column there and none here.
 */
export const passwords = freehold.table(
  'passwords',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    password_hash: text().notNull(),
    created_at: moment().notNull().defaultNow(),
    replaced_at: moment(),
  },
  (t) => [
    uniqueIndex('passwords_current').on(t.user_id).where(sql`${t.replaced_at} is null`),
    index('passwords_user').on(t.user_id, t.created_at),
  ],
)
