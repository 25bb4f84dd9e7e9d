import { customType, pgSchema, timestamp } from 'drizzle-orm/pg-core'

/** The schema of a tenant's tables. Nothing of ours is in `public`. */
export const freehold = pgSchema('freehold')

/** The schema that only security definer functions access. */
export const access = pgSchema('access')

/** A timestamp: in UTC with microseconds in the database, a `Date` in the program, RFC 3339 on the wire. */
export const moment = () => timestamp({ withTimezone: true })

/** Bytes: hashes, mostly. */
export const bytea = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })
