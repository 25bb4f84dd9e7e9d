import { bigint, boolean, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Passkeys of users (WebAuthn credentials). What is secret of one never leaves the authenticator. */
export const passkeys = freehold.table(
  'passkeys',
  {
    id: uuid().primaryKey(),
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    credential_id: bytea().notNull(),
    /** As the authenticator gave it (COSE_Key, RFC 9052). */
    public_key: bytea().notNull(),
    /** How often it was used, as it last said; one that counts nothing says 0 for ever. */
    counter: bigint({ mode: 'number' }).notNull(),
    /** The host for which it was made, and the only one for which it answers. */
    rp_id: text().notNull(),
    /** Until when it works after its host became a former one of the tenant; null: it has no end (renaming.sql). */
    ends_at: moment(),
    name: text().notNull(),
    /** The model of the authenticator; all zeros: it does not say. */
    aaguid: uuid().notNull(),
    /** How a browser reaches it: `internal`, `hybrid`, `usb` ... */
    transports: text().array().notNull().default([]),
    /** Whether it can be on several devices. */
    is_synced: boolean().notNull(),
    created_at: moment().notNull().defaultNow(),
    last_used_at: moment(),
  },
  (t) => [uniqueIndex('passkeys_credential').on(t.credential_id), index('passkeys_user').on(t.user_id, t.created_at)],
)

/** Challenges that were answered, until they expire: each counts once. Those that nobody answered are nowhere. */
export const passkey_challenges = access.table(
  'passkey_challenges',
  { challenge_hash: bytea().primaryKey(), expires_at: moment().notNull() },
  (t) => [index('passkey_challenges_expired').on(t.expires_at)],
)
