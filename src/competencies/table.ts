import { sql } from 'drizzle-orm'
import { check, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** What somebody can be competent in. A type is retired and never deleted: records and past requirements name it. */
export const competency_types = freehold.table(
  'competency_types',
  {
    id: uuid().primaryKey(),
    name: text().notNull(),
    /** The sort and search key, and what is unique. */
    folded: text().notNull().generatedAlwaysAs(sql`lower(name)`),
    kind: text({ enum: ['certification', 'training', 'equipment', 'test_method'] }).notNull(),
    description: text(),
    /** How long a record is valid that does not say so itself; null: without end. */
    valid_months: integer(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
    retired_at: moment(),
  },
  (t) => [
    uniqueIndex('competency_types_name').on(t.folded).where(sql`${t.retired_at} is null`),
    index('competency_types_by_name').on(sql`folded collate "C"`, t.id),
    check('competency_types_name_form', sql`length(${t.name}) between 1 and 255`),
    check('competency_types_kind', sql`${t.kind} in ('certification', 'training', 'equipment', 'test_method')`),
    check('competency_types_valid_months', sql`${t.valid_months} between 1 and 1200`),
  ],
)

/**
 * The competencies of users. One counts from when it was verified and issued until it expires or is revoked; what counted is never
 * changed, so that a past moment can be asked about. A higher level is another record.
 */
export const competencies = freehold.table(
  'competencies',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    type_id: uuid()
      .notNull()
      .references(() => competency_types.id),
    level: integer().notNull(),
    issued_at: moment().notNull(),
    expires_at: moment(),
    /** Where the certificate lies. */
    evidence_url: text(),
    verified_at: moment(),
    verified_by: uuid().references(() => users.id),
    revoked_at: moment(),
    revoked_by: uuid().references(() => users.id),
    revocation_reason: text(),
    /** The fewest days before its end of which the holder was told: 60, 30 or 7. */
    alerted_days: integer(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    // The decision, and the records of one user.
    index('competencies_decision').on(t.user_id, t.type_id, t.level),
    index('competencies_by_created').on(t.created_at, t.id),
    index('competencies_type').on(t.type_id, t.user_id),
    index('competencies_expiring').on(t.expires_at).where(sql`${t.expires_at} is not null and ${t.revoked_at} is null`),
    check('competencies_level', sql`${t.level} between 1 and 5`),
    check('competencies_order', sql`${t.expires_at} > ${t.issued_at}`),
    check('competencies_verified', sql`num_nulls(${t.verified_at}, ${t.verified_by}) in (0, 2)`),
    check('competencies_other_verifier', sql`${t.verified_by} <> ${t.user_id}`),
    check('competencies_revoked', sql`${t.revoked_at} is not null or num_nonnulls(${t.revoked_by}, ${t.revocation_reason}) = 0`),
    check('competencies_alerted_days', sql`${t.alerted_days} in (60, 30, 7)`),
  ],
)
