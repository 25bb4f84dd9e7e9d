import { sql } from 'drizzle-orm'
import { check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, freehold, moment } from '../kernel/schema.ts'
import { organizations } from '../organizations/table.ts'
import { units } from '../units/table.ts'
import { users } from '../users/table.ts'

/** Invitations by mail. Of the token only the hash is stored; another mail has another token, and the one before is dead. */
export const invitations = freehold.table(
  'invitations',
  {
    id: uuid().primaryKey(),
    email: text().notNull(),
    inviter_id: uuid()
      .notNull()
      .references(() => users.id),
    /** Where a new person comes to; somebody who has an account is moved to the organization, and stays in their unit. */
    organization_id: uuid().references(() => organizations.id),
    unit_id: uuid().references(() => units.id, { onDelete: 'set null' }),
    /** What is given; none: the role that whoever registers gets. Roles are marked when they are deleted, so that no id is lost. */
    role_ids: uuid().array().notNull().default([]),
    given_name: text(),
    family_name: text(),
    locale: text().notNull().default('en'),
    token_hash: bytea().notNull(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
    sent_at: moment().notNull().defaultNow(),
    expires_at: moment().notNull(),
    accepted_at: moment(),
    accepted_by: uuid().references(() => users.id),
    revoked_at: moment(),
    /** Accepted, revoked, or expired and followed by another one: it never opens again. */
    closed_at: moment(),
  },
  (t) => [
    uniqueIndex('invitations_token').on(t.token_hash),
    // One for each address and organization.
    uniqueIndex('invitations_open')
      .on(t.email, sql`coalesce(organization_id, '00000000-0000-0000-0000-000000000000'::uuid)`)
      .where(sql`${t.closed_at} is null`),
    index('invitations_created').on(t.created_at, t.id),
    index('invitations_unit_created').on(t.unit_id, t.created_at, t.id),
    index('invitations_inviter_created').on(t.inviter_id, t.created_at, t.id),
    index('invitations_inviter_sent').on(t.inviter_id, t.sent_at),
    index('invitations_email').on(t.email),
    index('invitations_accepted_by').on(t.accepted_by),
    index('invitations_expired').on(t.expires_at),
    index('invitations_organization').on(t.organization_id, t.created_at, t.id),
    check('invitations_roles', sql`cardinality(${t.role_ids}) <= 20`),
  ],
)
