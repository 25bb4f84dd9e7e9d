import { sql } from 'drizzle-orm'
import { boolean, check, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import { platform, tenants } from '../table.ts'

/** For how long a tenant may be used. One without a license may be used without an end. */
export const licenses = platform.table(
  'licenses',
  {
    id: uuid().primaryKey(),
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    /** What the license is called outside. */
    key: text().notNull(),
    valid_from: moment().notNull(),
    valid_until: moment().notNull(),
    /** Days after its end in which the tenant goes on, unless another one follows. */
    grace_days: integer().notNull(),
    /** In place of the plan's. */
    limits: jsonb().$type<Record<string, number | boolean>>().notNull().default({}),
    /** Its beginning has been told to the tenant's own database. */
    has_begun: boolean().notNull(),
    /** So has its end. */
    has_ended: boolean().notNull().default(false),
    /** When its end was told by mail, thirty days ahead. */
    warned_at: moment(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('licenses_key').on(t.key),
    index('licenses_tenant').on(t.tenant_id, t.valid_from, t.id),
    index('licenses_to_begin').on(t.valid_from).where(sql`not ${t.has_begun}`),
    index('licenses_to_end').on(t.valid_until).where(sql`not ${t.has_ended}`),
    index('licenses_to_warn').on(t.valid_until).where(sql`${t.warned_at} is null`),
    check('licenses_order', sql`${t.valid_from} <= ${t.valid_until}`),
    check('licenses_grace', sql`${t.grace_days} between 0 and 365`),
  ],
)
