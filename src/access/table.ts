import { sql } from 'drizzle-orm'
import { boolean, check } from 'drizzle-orm/pg-core'
import { access, bytea } from '../kernel/schema.ts'

/**
 * The database's own key, with which claims are signed: as the two padded keys of HMAC-SHA-256 (RFC 2104), so that no extension
 * is needed. One row, which access.make_secrets writes once the database belongs to a tenant. Nobody but freehold_owner reads it.
 */
export const secrets = access.table(
  'secrets',
  {
    one: boolean().primaryKey().default(true),
    inner_key: bytea().notNull(),
    outer_key: bytea().notNull(),
    /** SHA-256 of the key that authenticates the system (cron, work after a response). */
    system_hash: bytea(),
  },
  (t) => [check('secrets_one_check', sql`${t.one}`)],
)
