import { bigint, date, index, integer, primaryKey, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'
import { platform, tenants } from '../table.ts'

/** What a tenant said of a day (UTC), with its maintenance. The numbers are of the whole day so far: saying them again changes nothing. */
export const tenant_days = platform.table(
  'tenant_days',
  {
    tenant_id: uuid()
      .notNull()
      .references(() => tenants.id, { onDelete: 'cascade' }),
    day: date().notNull(),
    /** Active users, when the tenant was last maintained on that day; null: it was not. */
    people: integer(),
    logins: integer().notNull(),
    /** Failed logins and refused requests. */
    failures: integer().notNull(),
    /** E-mails and text messages that were queued. */
    mails: integer().notNull(),
    reported_at: moment().notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.day] }), index('tenant_days_day').on(t.day)],
)

/** The sums of `tenant_days`, which a trigger keeps, and which stay when a tenant is erased. */
export const days = platform.table('days', {
  day: date().primaryKey(),
  /** Tenants that said something of the day. */
  tenants: integer().notNull(),
  people: bigint({ mode: 'number' }).notNull(),
  logins: bigint({ mode: 'number' }).notNull(),
  failures: bigint({ mode: 'number' }).notNull(),
  mails: bigint({ mode: 'number' }).notNull(),
})
