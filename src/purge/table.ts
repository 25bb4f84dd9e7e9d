import { sql } from 'drizzle-orm'
import { boolean, check } from 'drizzle-orm/pg-core'
import { access, moment } from '../kernel/schema.ts'

/** When what has outlived its purpose was last purged to the end. One row, from the first time on. */
export const sweeps = access.table(
  'sweeps',
  {
    one: boolean().primaryKey().default(true),
    last_at: moment().notNull(),
  },
  (t) => [check('sweeps_is_one', sql`${t.one}`)],
)
