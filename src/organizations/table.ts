import { sql } from 'drizzle-orm'
import { check, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/**
 * Organizations within a tenant: users and units belong to one or none. A row is not deleted, because past assignments of roles
 * name it; one that was wiped out keeps nothing but its id and when it ended.
 */
export const organizations = freehold.table(
  'organizations',
  {
    id: uuid().primaryKey(),
    name: text().notNull(),
    /** The sort and search key, and what is unique. */
    folded: text().notNull().generatedAlwaysAs(sql`lower(name)`),
    /** The unit that it is: its users and units are in it, or below it. Null once it has ended; no foreign key, because units have one. */
    unit_id: uuid(),
    settings: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** What it has bought: the name of a role, as the preset `groups` has them. */
    plan_group: text(),
    /** How many active users may belong to it; null: no limit. */
    user_limit: integer(),
    /** How many do; counted by a trigger, which locks the row. */
    active_users: integer().notNull().default(0),
    /** `ending` while it is wiped out, `ended` afterwards. */
    state: text({ enum: ['active', 'ending', 'ended'] })
      .notNull()
      .default('active'),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
    ended_at: moment(),
    /** While it is wiped out: what becomes of its users, who asked for it, and what there was. No foreign key: it is forgotten then. */
    ending_people: text({ enum: ['keep', 'deactivate', 'erase'] }),
    ending_by: uuid(),
    ending_counts: jsonb().$type<Record<string, number>>(),
  },
  (t) => [
    uniqueIndex('organizations_name').on(t.folded).where(sql`${t.state} <> 'ended'`),
    index('organizations_by_name').on(sql`folded collate "C"`, t.id),
    index('organizations_ending').on(t.updated_at, t.id).where(sql`${t.state} = 'ending'`),
    index('organizations_by_created').on(t.created_at, t.id),
    check('organizations_name_form', sql`length(${t.name}) between 1 and 70`),
    check('organizations_plan_group_form', sql`length(${t.plan_group}) between 1 and 64`),
    check('organizations_user_limit', sql`${t.user_limit} between 1 and 1000000`),
    check('organizations_active_users', sql`${t.active_users} >= 0`),
    check('organizations_state', sql`${t.state} in ('active', 'ending', 'ended')`),
  ],
)
