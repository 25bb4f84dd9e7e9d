import { sql } from 'drizzle-orm'
import { index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import { hosts, platform, tenants } from '../table.ts'

/**
 * Moves of tenants to a shared host or to a project of their own (tenants/move/move.ts). Until the exchange the connection strings are
 * those of the new database, which is made on `other_host_id`; after it `other_host_id` is the host that was left.
 */
export const tenant_moves = platform.table(
  'tenant_moves',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    from_isolation: text({ enum: ['database', 'branch', 'project'] }).notNull(),
    isolation: text({ enum: ['database', 'project'] }).notNull(),
    region: text().notNull(),
    state: text({ enum: ['running', 'done', 'failed'] }).notNull(),
    /** The step that is being done, or that failed. */
    step: text().notNull(),
    attempts: integer().notNull(),
    lease_until: moment().notNull(),
    error: text(),
    /** Operations of Neon that are waited for. */
    operations: jsonb().$type<{ id: string; project_id: string }[]>(),
    /** Rows of each table that are copied. */
    copied: jsonb().$type<Record<string, number>>(),
    /** The host on which the tenant has a place beside its own; null: none. */
    other_host_id: uuid().references(() => hosts.id),
    app_url_encrypted: text(),
    owner_url_encrypted: text(),
    trace_id: text().notNull(),
    created_at: moment().notNull().defaultNow(),
    /** Since when no request is answered, and from when on they are again. */
    closed_at: moment(),
    exchanged_at: moment(),
    finished_at: moment(),
    /** From then on the database that is not the tenant's is removed; null: there is none. */
    left_until: moment(),
  },
  (t) => [
    uniqueIndex('tenant_moves_one').on(t.tenant_id).where(sql`${t.state} = 'running' or ${t.left_until} is not null`),
    index('tenant_moves_tenant').on(t.tenant_id, t.created_at),
    index('tenant_moves_lease').on(t.lease_until).where(sql`${t.state} = 'running'`),
    index('tenant_moves_left').on(t.left_until).where(sql`${t.left_until} is not null`),
    index('tenant_moves_host').on(t.other_host_id).where(sql`${t.other_host_id} is not null`),
  ],
)
