import { sql } from 'drizzle-orm'
import { bigint, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Keys with which programs act for a user: with the permissions that the key names and that the user holds. */
export const api_keys = freehold.table(
  'api_keys',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    name: text().notNull(),
    /** The part of the key that identifies it: the eight characters after `fh_`. */
    prefix: text().notNull(),
    key_hash: bytea().notNull(),
    permissions: text().array().notNull(),
    /** The networks from which it works (CIDR); empty: any. */
    addresses: text().array().notNull().default([]),
    /** The key that this one replaces. */
    rotated_from: uuid(),
    last_used_at: moment(),
    use_count: bigint({ mode: 'number' }).notNull().default(0),
    created_at: moment().notNull().defaultNow(),
    expires_at: moment(),
    revoked_at: moment(),
  },
  (t) => [
    uniqueIndex('api_keys_hash').on(t.key_hash),
    uniqueIndex('api_keys_prefix').on(t.prefix),
    index('api_keys_user').on(t.user_id, t.created_at),
    // Those that end by themselves, for the limit of a tenant's keys.
    index('api_keys_ends').on(t.expires_at).where(sql`${t.revoked_at} is null`),
    // A key is rotated at most once.
    uniqueIndex('api_keys_successor').on(t.rotated_from),
  ],
)

/** The last batch of counts taken from each isolate, so that a batch that is sent twice counts once. */
export const key_counters = access.table('key_counters', {
  writer: uuid().primaryKey(),
  batch: integer().notNull(),
  counted_at: moment().notNull().defaultNow(),
})
