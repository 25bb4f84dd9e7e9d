import { sql } from 'drizzle-orm'
import { bigint, check, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { access, moment } from '../kernel/schema.ts'

/**
 * What the platform limits in this tenant, and how much of it there is. A row exists for what is counted: documents always, the others
 * while there is a limit. Sessions are counted by their places.
 */
export const limits = access.table(
  'limits',
  {
    /** `users`, `organizations`, `documents`, `api_keys`, `sessions`. */
    name: text().primaryKey(),
    /** null: there is no limit. */
    most: integer(),
    used: bigint({ mode: 'number' }).notNull().default(0),
    /** Of what ends by itself (API keys): what ended before is no longer in `used`. */
    counted_to: moment().notNull().defaultNow(),
  },
  (t) => [check('limits_most', sql`${t.most} >= 0`)],
)

/** Where the sessions of a tenant are limited: as many places as there may be sessions. A login takes one that is free. */
export const session_places = access.table(
  'session_places',
  {
    place: integer().primaryKey(),
    /** Who had it last; null: nobody. No foreign key, which would cost a login another row lock. */
    session_id: uuid(),
    /** From when on it is free, unless its session was active since. */
    free_from: moment().notNull().default(sql`'-infinity'`),
  },
  (t) => [uniqueIndex('session_places_session').on(t.session_id), index('session_places_free').on(t.free_from)],
)
