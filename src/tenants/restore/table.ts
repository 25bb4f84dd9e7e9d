import { sql } from 'drizzle-orm'
import { index, integer, jsonb, pgSchema, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import { tenants } from '../table.ts'
import type { Difference } from './difference.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/**
 * Restore points: a branch of a tenant's branch as it was at a moment, which becomes the tenant's when it is confirmed
 * (tenants/restore/restore.ts). `parent_id` is the tenant's branch then, which is left and may be gone back to.
 */
export const restore_points = platform.table(
  'restore_points',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    at: moment().notNull(),
    state: text({
      enum: ['making', 'ready', 'restoring', 'restored', 'returning', 'returned', 'failed', 'dropped'],
    }).notNull(),
    project_id: text().notNull(),
    parent_id: text().notNull(),
    /** null: Neon has not answered. */
    branch_id: text(),
    /** What differs between then and now; null: not compared yet. */
    difference: jsonb().$type<Difference>(),
    attempts: integer().notNull(),
    lease_until: moment().notNull(),
    error: text(),
    trace_id: text().notNull(),
    created_at: moment().notNull().defaultNow(),
    ready_at: moment(),
    /** Since when the branch is the tenant's, or `parent_id` again. */
    exchanged_at: moment(),
    finished_at: moment(),
    /** Until then it can be confirmed, or gone back from. */
    kept_until: moment().notNull(),
    /** From then on the computes of the branch that is not the tenant's are removed; null: there are none. */
    compute_until: moment(),
    /** The branch of it is removed; or of one that was restored, the tenant's database in the branch that was left. */
    removed_at: moment(),
  },
  (t) => [
    uniqueIndex('restore_points_one').on(t.tenant_id).where(sql`${t.state} in ('making', 'ready', 'restoring', 'returning')`),
    index('restore_points_tenant').on(t.tenant_id, t.created_at),
    index('restore_points_lease').on(t.lease_until).where(sql`${t.state} in ('making', 'restoring', 'returning')`),
    index('restore_points_kept').on(t.kept_until).where(sql`${t.removed_at} is null`),
    index('restore_points_compute').on(t.compute_until).where(sql`${t.compute_until} is not null`),
  ],
)

/**
 * Where the audit of a restored tenant was cut: its checkpoints go on with `to_no` behind `from_no`. Those between are of the branch
 * that was left, whose last was `left_no`; no number is used twice.
 */
export const audit_cuts = platform.table(
  'audit_cuts',
  {
    realm_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    to_no: integer().notNull(),
    from_no: integer().notNull(),
    left_no: integer().notNull(),
    left_hash: text(),
    /** The hash of the checkpoint `to_no`. */
    hash: text().notNull(),
    restore_id: uuid().notNull(),
    restored_at: moment().notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.realm_id, t.to_no] })],
)
