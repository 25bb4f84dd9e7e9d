import { sql } from 'drizzle-orm'
import { boolean, check, integer, pgSchema, text } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/**
 * The daily comparison of KV with the master: how far the pass is. One row; whoever holds its lease takes the next slice
 * (tenants/lifecycle/kv-pass.ts).
 */
export const kv_pass = platform.table(
  'kv_pass',
  {
    one: boolean().primaryKey().default(true),
    started_at: moment().notNull().defaultNow(),
    /** What is compared: each tenant's entry, then each key of KV. */
    part: text({ enum: ['tenants', 'keys', 'done'] })
      .notNull()
      .default('tenants'),
    /** Up to where: the last tenant's id, or KV's cursor. */
    place: text().notNull().default(''),
    /** Tenants in a slice. */
    size: integer().notNull(),
    lease_until: moment().notNull(),
  },
  (t) => [check('kv_pass_is_one', sql`${t.one}`)],
)
