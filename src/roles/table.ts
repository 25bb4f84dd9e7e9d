import { sql } from 'drizzle-orm'
import { type AnyPgColumn, boolean, check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** What can be asked for: `resource:action`. */
export const permissions = freehold.table(
  'permissions',
  {
    id: uuid().primaryKey(),
    name: text().notNull().unique(),
    description: text(),
    is_system: boolean().notNull().default(false),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [check('permissions_name_form', sql`${t.name} ~ '^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$'`)],
)

/** A role inherits the permissions of its parent. */
export const roles = freehold.table(
  'roles',
  {
    id: uuid().primaryKey(),
    name: text().notNull(),
    description: text(),
    is_active: boolean().notNull().default(true),
    is_system: boolean().notNull().default(false),
    parent_id: uuid().references((): AnyPgColumn => roles.id),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('roles_name').on(t.name),
    index('roles_parent').on(t.parent_id),
    check('roles_name_form', sql`length(${t.name}) between 1 and 64`),
    check('roles_not_own_parent', sql`${t.parent_id} <> ${t.id}`),
  ],
)

/** Which role carries which permission, how far, and when. Grants end; they are not deleted. */
export const role_permissions = freehold.table(
  'role_permissions',
  {
    id: uuid().primaryKey(),
    role_id: uuid()
      .notNull()
      .references(() => roles.id),
    permission: text()
      .notNull()
      .references(() => permissions.name),
    scope: text({ enum: ['all', 'department', 'team', 'own'] }).notNull(),
    starts_at: moment().notNull().defaultNow(),
    ends_at: moment(),
  },
  (t) => [
    index('role_permissions_decision').on(t.role_id, t.permission),
    index('role_permissions_permission').on(t.permission),
    uniqueIndex('role_permissions_open').on(t.role_id, t.permission).where(sql`${t.ends_at} is null`),
    check('role_permissions_scope', sql`${t.scope} in ('all', 'department', 'team', 'own')`),
    check('role_permissions_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)

/** Who holds which role, and when. Grants end; they are not deleted. */
export const user_roles = freehold.table(
  'user_roles',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    role_id: uuid()
      .notNull()
      .references(() => roles.id),
    starts_at: moment().notNull().defaultNow(),
    ends_at: moment(),
  },
  (t) => [
    index('user_roles_user').on(t.user_id),
    index('user_roles_role').on(t.role_id),
    uniqueIndex('user_roles_open').on(t.user_id, t.role_id).where(sql`${t.ends_at} is null`),
    check('user_roles_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)
