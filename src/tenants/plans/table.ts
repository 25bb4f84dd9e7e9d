import { sql } from 'drizzle-orm'
import { check, jsonb, pgSchema, text } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/** What tenants can have: the limits of a plan are those of its tenants, unless a license or the tenant's own say otherwise. */
export const plans = platform.table(
  'plans',
  {
    key: text().primaryKey(),
    name: text().notNull(),
    description: text(),
    /** Of new tenants; null: DEFAULT_ISOLATION. */
    isolation: text({ enum: ['database', 'branch', 'project'] }),
    limits: jsonb().$type<Record<string, number | boolean>>().notNull().default({}),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    check('plans_key_form', sql`${t.key} ~ '^[a-z0-9_-]{1,50}$'`),
    check('plans_isolation', sql`${t.isolation} in ('database', 'branch', 'project')`),
  ],
)
