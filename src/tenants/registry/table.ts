import { sql } from 'drizzle-orm'
import { bigint, index, jsonb, pgSchema, text, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/**
 * Key pairs that sign tokens, of tenants and of the platform. Published at once, used from `use_from` on, which is 9999 until all know the
 * key (tenants/rotations/signing.ts).
 */
export const signing_keys = platform.table(
  'signing_keys',
  {
    kid: text().primaryKey(),
    realm_id: uuid().notNull(),
    public_jwk: jsonb().$type<Record<string, unknown>>().notNull(),
    private_jwk_encrypted: text().notNull(),
    use_from: moment().notNull(),
    /** The key that it took the place of, while that one is published: of two rotations at once one does. */
    follows: text().unique(),
    /** Until when it verifies tokens, once it signs none and its private half is destroyed. */
    published_until: moment(),
    created_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('signing_keys_realm').on(t.realm_id),
    index('signing_keys_published').on(t.published_until).where(sql`${t.published_until} is not null`),
  ],
)

/**
 * Every name that a tenant has (`until` is null) or had in the last 30 days: nobody else may take it (subdomains.sql). `v`: the
 * version of the tenant in which it was taken or, once it is a former name, that since which it says where the tenant is.
 */
export const subdomains = platform.table(
  'subdomains',
  {
    name: text().primaryKey(),
    tenant_id: uuid().notNull(),
    until: moment(),
    v: bigint({ mode: 'number' }).notNull(),
  },
  (t) => [index('subdomains_tenant').on(t.tenant_id), index('subdomains_until').on(t.until).where(sql`${t.until} is not null`)],
)
