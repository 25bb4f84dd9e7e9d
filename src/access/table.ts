import { sql } from 'drizzle-orm'
import { boolean, check } from 'drizzle-orm/pg-core'
import { access, bytea, moment } from '../kernel/schema.ts'

/**
 * The database's own keys, as the two padded keys of HMAC-SHA-256 (RFC 2104), so that no extension is needed. One row, which
 * access.make_secrets writes once the database belongs to a tenant. Nobody but freehold_owner reads it.
 */
export const secrets = access.table(
  'secrets',
  {
    one: boolean().primaryKey().default(true),
    /** Signs claims and proofs. */
    inner_key: bytea().notNull(),
    outer_key: bytea().notNull(),
    /** What did so before the last rotation, `rotated_at`. */
    former_inner_key: bytea(),
    former_outer_key: bytea(),
    rotated_at: moment(),
    /** For what no rotation may change (access.mac). Null: the first key, in a database that was made before there were two. */
    lasting_inner_key: bytea(),
    lasting_outer_key: bytea(),
    /** SHA-256 of the key that authenticates the system (cron, work after a response). */
    system_hash: bytea(),
    /** The same of the key before it, which is accepted until then. */
    former_system_hash: bytea(),
    former_system_until: moment(),
  },
  (t) => [check('secrets_one_check', sql`${t.one}`)],
)
