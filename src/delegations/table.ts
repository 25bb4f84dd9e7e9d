import { sql } from 'drizzle-orm'
import { check, index, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { permissions, roles } from '../roles/table.ts'
import { users } from '../users/table.ts'

/**
 * A role or chosen permissions that one user delegates to another for a time. In force from `starts_at` to `ends_at` once
 * approved and until revoked, and only as far as the delegator holds them at that moment; no job has to end it.
 */
export const delegations = freehold.table(
  'delegations',
  {
    id: uuid().primaryKey(),
    delegator_id: uuid()
      .notNull()
      .references(() => users.id),
    delegate_id: uuid()
      .notNull()
      .references(() => users.id),
    /** null: the permissions in delegation_permissions. */
    role_id: uuid().references(() => roles.id),
    starts_at: moment().notNull(),
    ends_at: moment().notNull(),
    reason: text(),
    decision: text({ enum: ['approved', 'rejected'] }),
    decided_at: moment(),
    decided_by: uuid().references(() => users.id),
    revoked_at: moment(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('delegations_delegate').on(t.delegate_id, t.ends_at),
    index('delegations_delegator').on(t.delegator_id, t.ends_at),
    index('delegations_created').on(t.created_at, t.id),
    check('delegations_order', sql`${t.ends_at} > ${t.starts_at}`),
    check('delegations_not_to_oneself', sql`${t.delegate_id} <> ${t.delegator_id}`),
    check(
      'delegations_decision',
      sql`${t.decision} in ('approved', 'rejected') and (${t.decision} is null) = (${t.decided_at} is null)`,
    ),
    check('delegations_reason_form', sql`length(${t.reason}) <= 500`),
  ],
)

/** The chosen permissions of a delegation without a role. */
export const delegation_permissions = freehold.table(
  'delegation_permissions',
  {
    delegation_id: uuid()
      .notNull()
      .references(() => delegations.id),
    permission: text()
      .notNull()
      .references(() => permissions.name),
  },
  (t) => [primaryKey({ columns: [t.delegation_id, t.permission] }), index('delegation_permissions_permission').on(t.permission)],
)
