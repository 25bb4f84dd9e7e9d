import { sql } from 'drizzle-orm'
import { bigint, check, index, integer, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * A login whose first factor was right and whose second is open. `guard` is the lockout that counts what fails (src/auth/lockouts.sql),
 * `device` the one that the login is from, `amr` how the first factor was proven.
 */
export const login_challenges = freehold.table(
  'login_challenges',
  {
    /** SHA-256 of the token that whoever logs in holds. */
    token_hash: bytea().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    guard: text().notNull(),
    /** The OAuth client that logs in and the API that its first access token is for; null: none was named. */
    client: text(),
    audience: text(),
    device: uuid(),
    amr: text().notNull(),
    /** The attempt whose risk was assessed before; null: a release before that opened it (src/risk). */
    risk_id: uuid(),
    /** Of the code that was mailed with the challenge's token, which the database never has; null: a second factor is asked for. */
    code_hash: bytea(),
    /** How many codes were mailed, and when the last was. */
    mails: integer().notNull().default(0),
    mailed_at: moment(),
    /** Wrong answers to this challenge. */
    failures: integer().notNull().default(0),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
  },
  (t) => [index('login_challenges_expiry').on(t.expires_at), index('login_challenges_user').on(t.user_id)],
)

/** The TOTP secrets of users (RFC 6238), at most one each, encrypted by the Worker. Until it is enabled, nothing asks for it. */
export const totp_factors = freehold.table('totp_factors', {
  user_id: uuid()
    .primaryKey()
    .references(() => users.id),
  secret_encrypted: text().notNull(),
  created_at: moment().notNull().defaultNow(),
  enabled_at: moment(),
  /** The newest time step whose code was accepted: neither it nor an older one is accepted again. */
  last_step: bigint({ mode: 'number' }),
})

/** Backup codes, of which each works once: MACs under the database's own key (access.mac). */
export const backup_codes = freehold.table(
  'backup_codes',
  {
    code_mac: bytea().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    created_at: moment().notNull().defaultNow(),
    used_at: moment(),
  },
  (t) => [index('backup_codes_user').on(t.user_id), check('backup_codes_mac', sql`octet_length(${t.code_mac}) = 32`)],
)

/** Devices on which users asked not to be asked for the second factor: `device` is the id in a device token (src/auth/devices.sql). */
export const remembered_devices = freehold.table(
  'remembered_devices',
  {
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    device: uuid().notNull(),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
  },
  (t) => [primaryKey({ columns: [t.user_id, t.device] }), index('remembered_devices_expiry').on(t.expires_at)],
)
