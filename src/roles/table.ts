import { sql } from 'drizzle-orm'
import { type AnyPgColumn, boolean, check, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { competency_types } from '../competencies/table.ts'
import { freehold, moment } from '../kernel/schema.ts'
import { organizations } from '../organizations/table.ts'
import { users } from '../users/table.ts'

/** Permissions: `resource:action`. */
export const permissions = freehold.table(
  'permissions',
  {
    id: uuid().primaryKey(),
    name: text().notNull().unique(),
    description: text(),
    is_system: boolean().notNull().default(false),
    /** Gives power over other users: what over-others.sql compares, and what a token names first. */
    is_administrative: boolean()
      .notNull()
      .generatedAlwaysAs(
        sql`split_part(name, ':', 1) in ('user', 'role', 'permission', 'session', 'api_key', 'setting', 'unit', 'delegation', 'organization', 'invitation', 'activity', 'tenant')`,
      ),
    created_at: moment().notNull().defaultNow(),
    deleted_at: moment(),
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
    /** The administrator's role: carries every permission, and some user must hold it. */
    is_admin: boolean().notNull().default(false),
    /** Callers with role:update below scope `all` may assign it. */
    is_manageable: boolean().notNull().default(false),
    /** The role of a user who is created without one. */
    is_fallback: boolean().notNull().default(false),
    /** The limit of concurrent holders; null: none. */
    max_users: integer(),
    parent_id: uuid().references((): AnyPgColumn => roles.id),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
    /** Marked, never deleted: past assignments name it. */
    deleted_at: moment(),
  },
  (t) => [
    uniqueIndex('roles_name').on(t.name).where(sql`${t.deleted_at} is null`),
    index('roles_parent').on(t.parent_id),
    uniqueIndex('roles_one_admin').on(t.is_admin).where(sql`${t.is_admin}`),
    uniqueIndex('roles_one_fallback').on(t.is_fallback).where(sql`${t.is_fallback}`),
    check('roles_name_form', sql`length(${t.name}) between 1 and 64`),
    check('roles_not_own_parent', sql`${t.parent_id} <> ${t.id}`),
    check('roles_max_users', sql`${t.max_users} > 0`),
  ],
)

/** Which role carries which permission, at which scope, and when. Grants end; they are not deleted. */
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
    /** The competency, and the least level of it, without which the permission is not held by this role. */
    competency_type_id: uuid().references(() => competency_types.id),
    competency_level: integer(),
    starts_at: moment().notNull().defaultNow(),
    ends_at: moment(),
  },
  (t) => [
    index('role_permissions_decision').on(t.role_id, t.permission),
    index('role_permissions_permission').on(t.permission),
    uniqueIndex('role_permissions_open').on(t.role_id, t.permission).where(sql`${t.ends_at} is null`),
    check('role_permissions_scope', sql`${t.scope} in ('all', 'department', 'team', 'own')`),
    check('role_permissions_competency', sql`num_nulls(${t.competency_type_id}, ${t.competency_level}) in (0, 2)`),
    check('role_permissions_competency_level', sql`${t.competency_level} between 1 and 5`),
    check('role_permissions_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)

/** Which user holds which role, and when. Assignments end; they are not deleted. */
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
    /** Held within this organization only, the user's own: there scope `all` is `organization`. Null: everywhere. */
    organization_id: uuid().references(() => organizations.id),
    starts_at: moment().notNull().defaultNow(),
    ends_at: moment(),
  },
  (t) => [
    index('user_roles_user').on(t.user_id),
    index('user_roles_role').on(t.role_id),
    uniqueIndex('user_roles_open').on(t.user_id, t.role_id).where(sql`${t.ends_at} is null`),
    index('user_roles_organization').on(t.organization_id).where(sql`${t.organization_id} is not null`),
    check('user_roles_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)

/**
 * When a role was active, and under which parent: the last row is open while it is. Kept by a trigger, so that past decisions can
 * be explained.
 */
export const role_periods = freehold.table(
  'role_periods',
  {
    id: uuid().primaryKey(),
    role_id: uuid()
      .notNull()
      .references(() => roles.id),
    parent_id: uuid(),
    starts_at: moment().notNull(),
    ends_at: moment(),
  },
  (t) => [
    index('role_periods_role').on(t.role_id, t.starts_at),
    index('role_periods_parent').on(t.parent_id),
    uniqueIndex('role_periods_open').on(t.role_id).where(sql`${t.ends_at} is null`),
    check('role_periods_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)

/**
 * Permissions that one user is granted or denied whatever their roles carry (the seed's custom_permissions). A denial always
 * wins.
 */
export const overrides = freehold.table(
  'overrides',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    permission: text()
      .notNull()
      .references(() => permissions.name),
    effect: text({ enum: ['grant', 'deny'] }).notNull(),
    /** The scope of a grant; a denial always applies at scope `all`. */
    scope: text({ enum: ['all', 'department', 'team', 'own'] }).notNull(),
    starts_at: moment().notNull().defaultNow(),
    ends_at: moment(),
  },
  (t) => [
    index('overrides_decision').on(t.user_id, t.permission),
    index('overrides_permission').on(t.permission),
    uniqueIndex('overrides_open').on(t.user_id, t.permission, t.effect).where(sql`${t.ends_at} is null`),
    check('overrides_effect', sql`${t.effect} in ('grant', 'deny')`),
    check('overrides_scope', sql`${t.scope} in ('all', 'department', 'team', 'own')`),
    check('overrides_order', sql`${t.ends_at} >= ${t.starts_at}`),
  ],
)
