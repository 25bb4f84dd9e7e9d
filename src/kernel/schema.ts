import { customType, pgSchema, timestamp } from 'drizzle-orm/pg-core'

/** Where every table of a tenant lives. Nothing of ours is in `public`. */
export const freehold = pgSchema('freehold')

/** What only definer functions touch. */
export const access = pgSchema('access')

/** A moment in UTC, microseconds in the database, a `Date` in the program, RFC 3339 on the wire. */
export const moment = () => timestamp({ withTimezone: true })

/** Bytes: hashes, mostly. */
export const bytea = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })
