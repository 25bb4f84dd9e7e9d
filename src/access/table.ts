import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** The one row by which a tenant's database knows whose it is, whether it is switched on, and its settings. */
export const tenant = freehold.table(
  'tenant',
  {
    one: boolean().primaryKey().default(true),
    id: uuid().notNull(),
    subdomain: text().notNull(),
    is_active: boolean().notNull().default(true),
    /** The registry's version that this row was written from; an older one never replaces a newer one. */
    v: bigint({ mode: 'number' }).notNull().default(0),
    max_failures: integer().notNull().default(5),
    lock_minutes: integer().notNull().default(30),
    idle_days: integer().notNull().default(7),
    session_days: integer().notNull().default(30),
    max_sessions: integer().notNull().default(5),
    /** How long an access token lives. */
    access_minutes: integer().notNull().default(15),
    /** After how many days a password must be changed; 0: never. */
    password_days: integer().notNull().default(90),
    password_warning_days: integer().notNull().default(14),
    password_min_length: integer().notNull().default(8),
    password_max_length: integer().notNull().default(128),
    password_upper: boolean().notNull().default(true),
    password_lower: boolean().notNull().default(true),
    password_digit: boolean().notNull().default(true),
    password_special: boolean().notNull().default(true),
    password_unique: integer().notNull().default(5),
    /** A new password is none of so many before it. */
    password_history: integer().notNull().default(5),
    /** No part of the name or e-mail in a password; none of the commonest. */
    password_personal: boolean().notNull().default(true),
    password_common: boolean().notNull().default(true),
    /** Whether strangers may register, with addresses of which domains (none named: any), and the role they get (null: the preset's). */
    registration: boolean().notNull().default(false),
    registration_domains: text().array().notNull().default([]),
    registration_role: text(),
    /** A delegation waits for somebody with delegation:approve. */
    delegation_approval: boolean().notNull().default(false),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    check('tenant_is_one', sql`${t.one}`),
    check(
      'tenant_settings',
      sql`${t.max_failures} between 1 and 100 and ${t.lock_minutes} between 1 and 1440 and ${t.idle_days} between 1 and 365
        and ${t.session_days} between 1 and 365 and ${t.max_sessions} between 1 and 1000 and ${t.access_minutes} between 5 and 10080
        and ${t.password_days} between 0 and 3650 and ${t.password_warning_days} between 0 and 365 and ${t.password_min_length} between 8 and 64
        and ${t.password_max_length} between 64 and 1024 and ${t.password_unique} between 1 and 32 and ${t.password_history} between 0 and 24`,
    ),
  ],
)

/** Failures per identifier. `key` is a user, or the keyed hash of an identifier that nobody has. */
export const login_guards = freehold.table(
  'login_guards',
  {
    key: text().primaryKey(),
    failures: integer().notNull().default(0),
    failed_at: moment(),
    locked_until: moment(),
  },
  (t) => [index('login_guards_failed').on(t.failed_at)],
)

/** One try of a password: reserved before the comparison, settled after it. `recipe` is the hash without its last part. */
export const login_attempts = freehold.table(
  'login_attempts',
  {
    id: uuid().primaryKey(),
    key: text().notNull(),
    user_id: uuid().references(() => users.id),
    identifier: text().notNull(),
    recipe: text().notNull(),
    state: text({ enum: ['reserved', 'refused', 'succeeded', 'failed'] }).notNull(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('login_attempts_key').on(t.key, t.state, t.created_at),
    check('login_attempts_state', sql`${t.state} in ('reserved', 'refused', 'succeeded', 'failed')`),
  ],
)

/**
 * The database's own key, with which claims are signed: as the two padded keys of HMAC-SHA-256 (RFC 2104), so that no extension is needed. One
 * row, which access.make_secrets writes once the database belongs to a tenant. Nobody but freehold_owner reads it.
 */
export const secrets = access.table(
  'secrets',
  {
    one: boolean().primaryKey().default(true),
    inner_key: bytea().notNull(),
    outer_key: bytea().notNull(),
    /** SHA-256 of the key that the system shows (cron, what is done after an answer). */
    system_hash: bytea(),
  },
  (t) => [check('secrets_one_check', sql`${t.one}`)],
)
