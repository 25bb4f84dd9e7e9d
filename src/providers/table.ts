import { sql } from 'drizzle-orm'
import { boolean, check, index, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/** Where the users of a tenant can log in, beside their password: issuers of ID tokens (OpenID Connect). */
export const providers = freehold.table(
  'providers',
  {
    id: uuid().primaryKey(),
    /** In addresses and in identities. It never changes, and neither do the next three: they decide who an external id is. */
    name: text().notNull(),
    type: text({ enum: ['oidc', 'google', 'entra', 'cognito', 'firebase'] }).notNull(),
    issuer: text().notNull(),
    client_id: text().notNull(),
    client_secret_encrypted: text(),
    is_confidential: boolean().notNull().generatedAlwaysAs(sql`client_secret_encrypted is not null`),
    /** What the button of the login says. */
    label: text().notNull(),
    /** In which claims the provider has what we call email, given_name, family_name and roles, where it has other names for them. */
    claims: jsonb().$type<Record<string, string>>().notNull().default({}),
    /** Domains of the verified e-mail address that a login needs; empty: none is needed. */
    allowed_domains: text().array().notNull().default([]),
    creates_users: boolean().notNull().default(false),
    /** The role of users that are created (null: that of registration), and those of the values of the claim of roles: value -> id. */
    role_id: uuid(),
    role_mapping: jsonb().$type<Record<string, string>>().notNull().default({}),
    links_by_email: boolean().notNull().default(false),
    /** Addresses count as verified, whatever the token says of them. */
    trusts_emails: boolean().notNull().default(false),
    /** Values of `amr` or `acr` that count as two factors; empty: none do. */
    mfa_values: text().array().notNull().default([]),
    /** Its access tokens are credentials here (src/external/bearer.ts). */
    accepts_tokens: boolean().notNull().default(false),
    is_enabled: boolean().notNull().default(true),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('providers_name').on(t.name),
    index('providers_sorted').on(t.label, t.id),
    check('providers_name_form', sql`${t.name} ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'`),
    check('providers_type', sql`${t.type} in ('oidc', 'google', 'entra', 'cognito', 'firebase')`),
    check(
      'providers_texts',
      sql`length(${t.issuer}) between 1 and 500 and length(${t.client_id}) between 1 and 255 and char_length(${t.label}) between 1 and 70`,
    ),
    check(
      'providers_lists',
      sql`cardinality(${t.allowed_domains}) <= 100 and cardinality(${t.mfa_values}) <= 20 and jsonb_typeof(${t.claims}) = 'object'
        and jsonb_typeof(${t.role_mapping}) = 'object' and octet_length(${t.claims}::text) <= 2048 and octet_length(${t.role_mapping}::text) <= 16384`,
    ),
  ],
)
