import { sql } from 'drizzle-orm'
import { index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import { platform, tenants } from '../table.ts'

/** Rotations of tenants' logins (tenants/rotations/credentials.ts). The connection strings are those of the new logins, until it is over. */
export const credential_rotations = platform.table(
  'credential_rotations',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    /** `leaving`: the new logins are the tenant's, the former ones still work; `failing`: the new ones are removed. */
    state: text({ enum: ['running', 'leaving', 'failing', 'done', 'failed'] }).notNull(),
    /** The step that is being done, or that failed. */
    step: text().notNull(),
    attempts: integer().notNull().default(0),
    lease_until: moment().notNull(),
    error: text(),
    app_url_encrypted: text(),
    owner_url_encrypted: text(),
    trace_id: text().notNull(),
    created_at: moment().notNull().defaultNow(),
    /** Since when the new logins are the tenant's. */
    exchanged_at: moment(),
    /** From then on the former logins are dropped; null: not everybody knows the new ones yet. */
    left_until: moment(),
    finished_at: moment(),
  },
  (t) => [
    uniqueIndex('credential_rotations_one').on(t.tenant_id).where(sql`${t.state} in ('running', 'leaving', 'failing')`),
    index('credential_rotations_tenant').on(t.tenant_id, t.created_at),
    index('credential_rotations_open').on(t.lease_until).where(sql`${t.state} in ('running', 'leaving', 'failing')`),
  ],
)
