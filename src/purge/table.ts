import { sql } from 'drizzle-orm'
import { boolean, check } from 'drizzle-orm/pg-core'
import { access, moment } from '../kernel/schema.ts'

/** When the last complete purge ended. One row, or none before the first purge. */
export const purges = access.table(
  'purges',
  {
    one: boolean().primaryKey().default(true),
    last_at: moment().notNull(),
    /** The details of strangers' failures of before this are erased; null: none yet. */
    failures_erased_to: moment(),
  },
  (t) => [check('purges_is_one', sql`${t.one}`)],
)
