import { sql } from 'drizzle-orm'
import { type AnyPgColumn, boolean, check, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { organizations } from '../organizations/table.ts'
import { units } from '../units/table.ts'

/** The users of a realm. `id` is the `sub` of their tokens and never changes; e-mail and username are stored normalised. */
export const users = freehold.table(
  'users',
  {
    id: uuid().primaryKey(),
    username: text().notNull(),
    email: text().notNull(),
    email_verified: boolean().notNull().default(false),
    password_changed_at: moment().notNull().defaultNow(),
    must_change_password: boolean().notNull().default(false),
    /** The kinds of second factors that the user has set up: a login asks for one of them. */
    factors: text().array().notNull().default([]),
    given_name: text(),
    family_name: text(),
    /** The sort and search key of lists by name. */
    name: text().notNull().generatedAlwaysAs(sql`lower(trim(coalesce(family_name, '') || ' ' || coalesce(given_name, '')))`),
    phone: text(),
    phone_verified: boolean().notNull().default(false),
    /** The name of the primary role; null when the user holds no role. user_roles has all that they hold. */
    role: text(),
    unit_id: uuid().references(() => units.id),
    /** The organization that the user belongs to: whose unit they are in. */
    organization_id: uuid().references(() => organizations.id),
    manager_id: uuid().references((): AnyPgColumn => users.id),
    designation: text(),
    description: text(),
    is_active: boolean().notNull().default(true),
    locale: text().notNull().default('en'),
    timezone: text().notNull().default('UTC'),
    /** The limit of concurrent sessions; null: the tenant's setting. */
    max_sessions: integer(),
    /** The version of the picture that is shown (src/avatars); null: initials are. */
    avatar: text(),
    preferences: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    joined_at: moment(),
    terminated_at: moment(),
    /** When the person was erased (src/personal): what is left is a former user, who never changes again. */
    erased_at: moment(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('users_username').on(t.username),
    uniqueIndex('users_email').on(t.email),
    index('users_role').on(t.role),
    index('users_manager').on(t.manager_id),
    // Lists: one index for each order, alone and within a unit. `collate "C"` makes a prefix match a range.
    index('users_by_username').on(sql`username collate "C"`, t.id),
    index('users_by_email').on(sql`email collate "C"`, t.id),
    index('users_by_name').on(sql`name collate "C"`, t.id),
    index('users_by_created').on(t.created_at, t.id),
    index('users_unit_username').on(t.unit_id, sql`username collate "C"`, t.id),
    index('users_unit_email').on(t.unit_id, sql`email collate "C"`, t.id),
    index('users_unit_name').on(t.unit_id, sql`name collate "C"`, t.id),
    index('users_unit_created').on(t.unit_id, t.created_at, t.id),
    index('users_inactive_username').on(sql`username collate "C"`, t.id).where(sql`not ${t.is_active}`),
    // Who leaves next: for the scheduled job.
    index('users_terminated').on(t.terminated_at).where(sql`${t.is_active} and ${t.terminated_at} is not null`),
    // Members of an organization: one order, as under /organizations/{id}/members.
    index('users_organization_username')
      .on(t.organization_id, sql`username collate "C"`, t.id)
      .where(sql`${t.organization_id} is not null`),
    check('users_username_form', sql`length(${t.username}) between 1 and 64 and strpos(${t.username}, '@') = 0`),
    check('users_email_form', sql`length(${t.email}) between 3 and 255 and strpos(${t.email}, '@') > 1`),
    check('users_names_form', sql`length(${t.given_name}) <= 255 and length(${t.family_name}) <= 255`),
    check(
      'users_texts_form',
      sql`length(${t.phone}) <= 32 and length(${t.designation}) <= 120 and length(${t.description}) <= 140`,
    ),
    check('users_max_sessions', sql`${t.max_sessions} between 1 and 1000`),
    check('users_avatar_form', sql`${t.avatar} ~ '^[0-9a-f]{32}$'`),
    check('users_not_own_manager', sql`${t.manager_id} <> ${t.id}`),
  ],
)

/**
 * Passwords: the current one and the history (replaced, not overwritten). Separate from `users`, so that the app login can read
 * every column there and none here.
 */
export const passwords = freehold.table(
  'passwords',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    password_hash: text().notNull(),
    /** Somebody else chose it, for a first login: it works for a limited time, and its user must change it. */
    is_first: boolean().notNull().default(false),
    created_at: moment().notNull().defaultNow(),
    replaced_at: moment(),
    /** When the user was warned that it will expire. */
    warned_at: moment(),
  },
  (t) => [
    index('passwords_unwarned').on(t.created_at).where(sql`${t.replaced_at} is null and ${t.warned_at} is null`),
    uniqueIndex('passwords_current').on(t.user_id).where(sql`${t.replaced_at} is null`),
    index('passwords_user').on(t.user_id, t.created_at),
  ],
)

/** When a user was active: the last row is open while they are. Kept by a trigger, so that past decisions can be explained. */
export const user_periods = freehold.table(
  'user_periods',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    starts_at: moment().notNull(),
    ends_at: moment(),
  },
  (t) => [
    index('user_periods_user').on(t.user_id, t.starts_at),
    uniqueIndex('user_periods_open').on(t.user_id).where(sql`${t.ends_at} is null`),
    check('user_periods_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)
