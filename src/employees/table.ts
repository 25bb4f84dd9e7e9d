import { sql } from 'drizzle-orm'
import { boolean, check, date, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { units } from '../units/table.ts'
import { users } from '../users/table.ts'

/** In words that `status` of a list implies, for the planner to see. */
const OTHER = sql`employment = 'inactive' or terminated_at is not null`

/**
 * The people whom an organisation employs, with or without an account: the Empleado of the first requirement document, in English. What
 * is sensitive is read through access.sensitive_of alone.
 */
export const employees = freehold.table(
  'employees',
  {
    id: uuid().primaryKey(),
    /** Their account. */
    user_id: uuid().references(() => users.id),
    document_type: text().notNull(),
    document_number: text().notNull(),
    /** What whoever may not read the number sees of it. */
    document_hint: text()
      .notNull()
      .generatedAlwaysAs(
        sql`repeat('*', greatest(length(document_number) - 2, 2)) || right(document_number, greatest(least(length(document_number) - 4, 2), 0))`,
      ),
    given_names: text().notNull(),
    family_name: text().notNull(),
    /** The sort and search key of lists by name. */
    name: text().notNull().generatedAlwaysAs(sql`lower(family_name || ' ' || given_names)`),
    sex: text(),
    nationality: text(),
    birth_date: date(),
    /** As it was said. Whoever has been terminated is `terminated`, whatever stands here. */
    employment: text().notNull().default('active'),
    position: text(),
    area: text(),
    cost_centre: text(),
    unit_id: uuid().references(() => units.id),
    /** Since when they work under a contract for services, and since when on the payroll. */
    contractor_since: date(),
    employed_since: date(),
    terminated_at: moment(),
    termination_reason: text(),
    /** Whether that ended the account, and when the account was to end before. */
    ends_account: boolean().notNull().default(false),
    account_was_to_end_at: moment(),
    email: text(),
    phone: text(),
    address: text(),
    district: text(),
    emergency_contact: text(),
    emergency_phone: text(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('employees_document').on(sql`lower(document_type)`, sql`upper(document_number)`),
    uniqueIndex('employees_user').on(t.user_id),
    // Lists: one index for each order, alone and within a unit. `collate "C"` makes a prefix match a range.
    index('employees_by_name').on(sql`name collate "C"`, t.id),
    index('employees_by_created').on(t.created_at, t.id),
    index('employees_unit_name').on(t.unit_id, sql`name collate "C"`, t.id),
    index('employees_unit_created').on(t.unit_id, t.created_at, t.id),
    // Those who are not simply active are few: a list of them would read everybody.
    index('employees_other_name').on(sql`name collate "C"`, t.id).where(OTHER),
    index('employees_other_created').on(t.created_at, t.id).where(OTHER),
    check(
      'employees_document_form',
      sql`length(${t.document_type}) between 1 and 20 and length(${t.document_number}) between 1 and 64`,
    ),
    check('employees_employment', sql`${t.employment} in ('active', 'inactive')`),
    check('employees_names_form', sql`length(${t.given_names}) between 1 and 255 and length(${t.family_name}) between 1 and 255`),
    check('employees_termination', sql`${t.terminated_at} is not null or ${t.termination_reason} is null`),
  ],
)
