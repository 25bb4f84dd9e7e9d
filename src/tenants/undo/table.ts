import { sql } from 'drizzle-orm'
import { bigint, boolean, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import type { Before, Written } from '../migration/writes.ts'
import { platform, tenants } from '../table.ts'

/** The branch of before a tenant's last migration: one for each tenant, until its next migration or for a week (tenants/migration/kept.ts). */
export const kept_branches = platform.table('kept_branches', {
  tenant_id: uuid()
    .primaryKey()
    .references(() => tenants.id, { onDelete: 'cascade' }),
  /** The migration that it was taken before, and of which attempt: its name has both. */
  target: text().notNull(),
  attempt: integer().notNull(),
  /** The tenant's branch, of which it is a child. */
  parent_id: text().notNull(),
  /** null: Neon has not answered, or refused (`refused`). */
  branch_id: text(),
  refused: text(),
  /** The newest migration in it. */
  from_version: text(),
  /** What was in the database when it was taken, or a moment before. */
  before: jsonb().$type<Before>().notNull(),
  trace_id: text().notNull(),
  kept_until: moment().notNull(),
})

/** Undos of migrations: a kept branch becomes the tenant's branch (tenants/migration/undo.ts). `parent_id` is the branch that is left then. */
export const migration_undos = platform.table(
  'migration_undos',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    target: text().notNull(),
    branch_id: text().notNull(),
    parent_id: text().notNull(),
    state: text({ enum: ['running', 'done', 'refused', 'failed'] }).notNull(),
    /** After a migration that failed, by nobody's request. */
    is_automatic: boolean().notNull(),
    discard_writes: boolean().notNull(),
    /** The state of the migration before, which it has again when the undo ends without effect. */
    was: text().notNull(),
    /** What was written since the branch was taken; null: not counted yet. */
    writes: jsonb().$type<Written[]>(),
    /** How many documents were counted in the branch that was left: they still are there, wherever they are. */
    documents: bigint({ mode: 'number' }),
    attempts: integer().notNull().default(1),
    lease_until: moment().notNull(),
    error: text(),
    trace_id: text().notNull(),
    created_at: moment().notNull().defaultNow(),
    finished_at: moment(),
    /** From then on the compute of the branch that was left is removed; null: it was, or there is none. */
    compute_until: moment(),
  },
  (t) => [
    uniqueIndex('migration_undos_one_running').on(t.tenant_id).where(sql`${t.state} = 'running'`),
    index('migration_undos_tenant').on(t.tenant_id, t.created_at),
    index('migration_undos_lease').on(t.lease_until).where(sql`${t.state} = 'running'`),
    index('migration_undos_compute').on(t.compute_until).where(sql`${t.compute_until} is not null`),
  ],
)
