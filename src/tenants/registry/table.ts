import { index, jsonb, pgSchema, text, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/** Key pairs that sign tokens, of tenants and of the platform. Published at once, used from `use_from` on. */
export const signing_keys = platform.table(
  'signing_keys',
  {
    kid: text().primaryKey(),
    realm_id: uuid().notNull(),
    public_jwk: jsonb().$type<Record<string, unknown>>().notNull(),
    private_jwk_encrypted: text().notNull(),
    use_from: moment().notNull(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [index('signing_keys_realm').on(t.realm_id)],
)
