import { sql } from 'drizzle-orm'
import { check, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * Failures, counted together under a key (src/auth/lockouts.sql): of a known device, of a network at one person, of all strangers at
 * one person, of changes within a session. `failed_at` is the last one; of all strangers the first within the tenant's lock_minutes.
 */
export const lockouts = freehold.table(
  'lockouts',
  {
    key: text().primaryKey(),
    /** The row that is locked before this one is read or written; null: this one. */
    parent: text(),
    failures: integer().notNull().default(0),
    failed_at: moment(),
    locked_until: moment(),
  },
  (t) => [index('lockouts_failed').on(t.failed_at), index('lockouts_parent').on(t.parent)],
)

/**
 * One password attempt: begun before the comparison, finished after it. `key` is the lockout that is locked for it, `guard` the one
 * that counts it (null: the same). `identifier` is the username, or of an unknown one a part of its keyed hash. `hash_parameters` is
 * the hash without its last part. `refused`: the lockout was locked; `deferred`: too many hashes of other systems were being
 * computed. Neither was compared.
 */
export const login_attempts = freehold.table(
  'login_attempts',
  {
    id: uuid().primaryKey(),
    key: text().notNull(),
    guard: text(),
    /** The network of a stranger (access.login_network). */
    network: text(),
    user_id: uuid().references(() => users.id),
    identifier: text().notNull(),
    hash_parameters: text().notNull(),
    state: text({ enum: ['pending', 'refused', 'deferred', 'succeeded', 'failed'] }).notNull(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('login_attempts_key').on(t.key, t.state, t.created_at),
    // How many accounts are tried from one network: src/risk.
    index('login_attempts_network').on(t.network, t.created_at).where(sql`${t.network} is not null`),
    // Those with hashes of other systems: access.foreign_wait.
    index('login_attempts_foreign')
      .on(t.created_at)
      .where(sql`strpos(${t.hash_parameters}, ',next=') > 0 and ${t.state} <> 'deferred'`),
    check('login_attempts_state', sql`${t.state} in ('pending', 'refused', 'deferred', 'succeeded', 'failed')`),
  ],
)
