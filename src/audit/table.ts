import { customType, index, integer, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

const bytea = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })

/** That someone acted. Append-only; stays when the person is erased. */
export const audit_log = freehold.table(
  'audit_log',
  {
    id: uuid().primaryKey(),
    user_id: uuid(),
    activity_type: text().notNull(),
    action: text().notNull(),
    resource_type: text().notNull(),
    resource_id: text(),
    risk_score: integer().notNull().default(0),
    trace_id: text(),
    at: moment().notNull().defaultNow(),
    detail_hash: bytea().notNull(),
  },
  (t) => [index('audit_log_at').on(t.at), index('audit_log_user').on(t.user_id, t.at)],
)

/** Who, from where, and what exactly changed: beside the record, so that it can be erased without breaking it. */
export const audit_detail = freehold.table('audit_detail', {
  log_id: uuid()
    .primaryKey()
    .references(() => audit_log.id),
  salt: bytea().notNull(),
  user_name: text(),
  address: text(),
  agent: text(),
  method: text(),
  path: text(),
  before: jsonb(),
  after: jsonb(),
})
