import { index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'
import { providers } from '../providers/table.ts'
import { users } from '../users/table.ts'

/** Who a user is elsewhere: each lets them log in. */
export const external_identities = freehold.table(
  'external_identities',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    provider_id: uuid()
      .notNull()
      .references(() => providers.id),
    /** The name of the provider, which never changes. */
    provider: text().notNull(),
    /** `iss` and `sub` of the tokens: a provider of many organizations has an issuer for each. */
    issuer: text().notNull(),
    external_id: text().notNull(),
    /** What the provider called them when they came first. */
    email: text(),
    created_at: moment().notNull().defaultNow(),
    last_used_at: moment(),
  },
  (t) => [
    uniqueIndex('external_identities_of_provider').on(t.provider_id, t.issuer, t.external_id),
    index('external_identities_user').on(t.user_id, t.created_at),
  ],
)

/** ID tokens that were used, until they expire: each counts once. */
export const external_tokens = access.table(
  'external_tokens',
  { token_hash: bytea().primaryKey(), expires_at: moment().notNull() },
  (t) => [index('external_tokens_expired').on(t.expires_at)],
)
