import { index, json, text, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, moment } from '../kernel/schema.ts'

/** The answers to requests with an Idempotency-Key, for 24 hours, so that a repeated request is answered with the same one. */
export const kept_answers = access.table(
  'kept_answers',
  {
    /** SHA-256 of the credential, the route and the key: one answer for each. */
    id: bytea().primaryKey(),
    /** The user who asked. No foreign key: nothing here outlives a day, and users are below no room. */
    user_id: uuid().notNull(),
    /** SHA-256 of the path's parameters and the body. */
    request_hash: bytea().notNull(),
    /** The created resource as its row was returned; not jsonb, which sorts keys. */
    resource: json().notNull(),
    /** What the answer shows only once, encrypted by the Worker. */
    secrets_encrypted: text(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [index('kept_answers_created').on(t.created_at)],
)
