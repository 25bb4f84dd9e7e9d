import { sql } from 'drizzle-orm'
import { check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/** The APIs of a tenant that take its access tokens, each under its `identifier`: the `aud` of the tokens that are for it. */
export const audiences = freehold.table(
  'audiences',
  {
    id: uuid().primaryKey(),
    /** A URI, as `resource` names it (RFC 8707). It never changes. */
    identifier: text().notNull(),
    name: text().notNull(),
    /** Which of a user's permissions its tokens carry: as many as fit, those of the list, or none. */
    token_permissions: text({ enum: ['all', 'list', 'none'] })
      .notNull()
      .default('all'),
    token_permission_list: text().array().notNull().default([]),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('audiences_identifier').on(t.identifier),
    index('audiences_sorted').on(t.name, t.id),
    check('audiences_identifier_form', sql`length(${t.identifier}) between 1 and 255`),
    check('audiences_name_form', sql`length(${t.name}) between 1 and 120`),
    check('audiences_token_permissions', sql`${t.token_permissions} in ('all', 'list', 'none')`),
    check('audiences_token_permission_list', sql`cardinality(${t.token_permission_list}) <= 100`),
  ],
)
