import { sql } from 'drizzle-orm'
import { boolean, check } from 'drizzle-orm/pg-core'
import { access, moment } from '../kernel/schema.ts'

/** When what has outlived its purpose was last purged to the end. One row, from the first time on. */
export const purges = access.table(
  'purges',
  {
    one: boolean().primaryKey().default(true),
    last_at: moment().notNull(),
  },
  (t) => [check('purges_is_one', sql`${t.one}`)],
)
