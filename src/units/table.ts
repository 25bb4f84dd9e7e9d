import { sql } from 'drizzle-orm'
import { type AnyPgColumn, check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { organizations } from '../organizations/table.ts'

/**
 * The tree of departments and teams. Scope `team` is the same unit; scope `department` the nearest department above it, with its
 * subtree.
 */
export const units = freehold.table(
  'units',
  {
    id: uuid().primaryKey(),
    kind: text({ enum: ['department', 'team'] }).notNull(),
    name: text().notNull(),
    parent_id: uuid().references((): AnyPgColumn => units.id),
    /** Whose unit it is: one without a parent is the organization's own, and all under it has the same. */
    organization_id: uuid().references(() => organizations.id),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('units_name').on(t.parent_id, t.name),
    uniqueIndex('units_root_name').on(t.name).where(sql`${t.parent_id} is null and ${t.organization_id} is null`),
    uniqueIndex('units_organization_root').on(t.organization_id).where(sql`${t.parent_id} is null`),
    index('units_organization').on(t.organization_id).where(sql`${t.organization_id} is not null`),
    index('units_sorted').on(t.name, t.id),
    check('units_kind', sql`${t.kind} in ('department', 'team')`),
    check('units_name_form', sql`length(${t.name}) between 1 and 120`),
    check('units_not_own_parent', sql`${t.parent_id} <> ${t.id}`),
  ],
)
