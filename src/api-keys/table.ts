import { bigint, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Keys with which programs act for a person: never for more than the person may, nor for more than the key names. */
export const api_keys = freehold.table(
  'api_keys',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    name: text().notNull(),
    /** What is shown of it: the eight characters after `fh_`. */
    prefix: text().notNull(),
    key_hash: bytea().notNull(),
    permissions: text().array().notNull(),
    /** From where it works (CIDR); none: from anywhere. */
    addresses: text().array().notNull().default([]),
    /** Which key this one replaces. */
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
    // Each key is rotated once.
    uniqueIndex('api_keys_successor').on(t.rotated_from),
  ],
)

/** Which batch of counts of which isolate was taken last: one that is sent twice counts once. */
export const key_counters = access.table('key_counters', {
  writer: uuid().primaryKey(),
  batch: integer().notNull(),
  counted_at: moment().notNull().defaultNow(),
})
