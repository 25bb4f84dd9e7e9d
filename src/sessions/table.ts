import { sql } from 'drizzle-orm'
import { check, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** One login on one device. `device` is the user agent that logged in. */
export const sessions = freehold.table(
  'sessions',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    device: text(),
    /** The device of its token (src/auth/devices.sql); null: the session is of before sessions had one. */
    device_id: uuid(),
    address: text(),
    city: text(),
    /** ISO 3166-1 alpha-2, as Cloudflare knows it. */
    country: text(),
    /** The OAuth client that logged in, of which nothing proves that it is that one; null: none was named. */
    client_id: text(),
    /** How the user authenticated: methods of RFC 8176, with a space between them. */
    amr: text().notNull().default('pwd'),
    /** How many factors that was: 1, or 2 when nothing less was enough to get here. */
    aal: integer().notNull().default(1),
    /** When the user last authenticated in this session; null: when it began. */
    authenticated_at: moment(),
    created_at: moment().notNull().defaultNow(),
    last_active_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    ended_at: moment(),
    ended_because: text(),
    /** Who acts as the user, from which session of theirs, and why (src/impersonation); null: the user does. */
    impersonator_id: uuid().references(() => users.id),
    impersonator_session_id: uuid(),
    impersonation_reason: text(),
    /** What the hook of logins said of the user (src/hooks), for the claim `ext` of its tokens; null: nothing. */
    hook_claims: jsonb(),
  },
  (t) => [
    index('sessions_user').on(t.user_id, t.created_at),
    index('sessions_impersonator').on(t.impersonator_session_id).where(sql`${t.impersonator_session_id} is not null`),
    check('sessions_aal', sql`${t.aal} in (1, 2)`),
    check('sessions_end', sql`(${t.ended_at} is null) = (${t.ended_because} is null)`),
    check(
      'sessions_impersonation',
      sql`num_nulls(${t.impersonator_id}, ${t.impersonator_session_id}, ${t.impersonation_reason}) in (0, 3)`,
    ),
  ],
)

/** One link of a session's chain of refresh tokens. Only hashes are stored; a used link names its successor. */
export const refresh_tokens = freehold.table(
  'refresh_tokens',
  {
    token_hash: bytea().primaryKey(),
    session_id: uuid()
      .notNull()
      .references(() => sessions.id),
    device: text(),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    used_at: moment(),
    successor_hash: bytea(),
  },
  (t) => [
    index('refresh_tokens_session').on(t.session_id),
    uniqueIndex('refresh_tokens_successor').on(t.successor_hash),
    check('refresh_tokens_use', sql`(${t.used_at} is null) = (${t.successor_hash} is null)`),
  ],
)
