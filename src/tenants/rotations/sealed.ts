/**
 * Every column that kernel/keyring.ts encrypts under ENCRYPTION_KEYS, and how each row says for whom and for what. Threat: a column that is
 * forgotten holds what nobody can read once the old key is gone. So test/freehold/keys-rotate.node.test.ts compares this list with the catalogue
 * of both databases: a new column whose name ends in `_encrypted` fails there until it is here, or in tenants/provisioning/owner-url.ts.
 */

/** `pk` is the primary key, `owner` the realm, `field` what it was encrypted for: expressions of the row `t`. */
export type Sealed = {
  table: string
  pk: string
  type: 'uuid' | 'text' | 'boolean' | 'bytea'
  owner: string
  columns: { name: string; field: string }[]
}

/** Of the master. */
export const IN_MASTER: Sealed[] = [
  {
    table: 'platform.realm',
    pk: 'one',
    type: 'boolean',
    owner: 't.id',
    columns: [
      { name: 'refresh_key_encrypted', field: `'refresh_key'` },
      { name: 'former_refresh_key_encrypted', field: `'refresh_key'` },
    ],
  },
  {
    table: 'platform.tenants',
    pk: 'id',
    type: 'uuid',
    owner: 't.id',
    columns: [
      { name: 'app_url_encrypted', field: `'app_url'` },
      { name: 'refresh_key_encrypted', field: `'refresh_key'` },
      { name: 'former_refresh_key_encrypted', field: `'refresh_key'` },
      { name: 'next_refresh_key_encrypted', field: `'refresh_key'` },
      { name: 'initial_admin_encrypted', field: `'initial_admin'` },
    ],
  },
  {
    table: 'platform.signing_keys',
    pk: 'kid',
    type: 'text',
    owner: 't.realm_id',
    columns: [{ name: 'private_jwk_encrypted', field: `'signing_key:' || t.kid` }],
  },
  {
    table: 'platform.credential_rotations',
    pk: 'id',
    type: 'uuid',
    owner: 't.tenant_id',
    columns: [{ name: 'app_url_encrypted', field: `'app_url'` }],
  },
  {
    table: 'platform.tenant_moves',
    pk: 'id',
    type: 'uuid',
    owner: 't.tenant_id',
    columns: [{ name: 'app_url_encrypted', field: `'app_url'` }],
  },
]

/** Of a realm's database: a tenant's, and the master for the platform's own. */
export const IN_REALM: Sealed[] = [
  {
    table: 'freehold.mails',
    pk: 'id',
    type: 'uuid',
    owner: `'realm'`,
    columns: [{ name: 'secrets_encrypted', field: `'mail'` }],
  },
  {
    table: 'freehold.totp_factors',
    pk: 'user_id',
    type: 'uuid',
    owner: `'realm'`,
    columns: [{ name: 'secret_encrypted', field: `'totp:' || t.user_id` }],
  },
  {
    table: 'freehold.providers',
    pk: 'id',
    type: 'uuid',
    owner: `'realm'`,
    columns: [{ name: 'client_secret_encrypted', field: `'client_secret:' || t.id` }],
  },
  {
    table: 'freehold.webhooks',
    pk: 'id',
    type: 'uuid',
    owner: `'realm'`,
    columns: [
      { name: 'secret_encrypted', field: `'webhook_secret:' || t.id` },
      { name: 'former_secret_encrypted', field: `'webhook_secret:' || t.id` },
    ],
  },
  {
    table: 'freehold.hooks',
    pk: 'id',
    type: 'uuid',
    owner: `'realm'`,
    columns: [
      { name: 'secret_encrypted', field: `'hook_secret:' || t.id` },
      { name: 'former_secret_encrypted', field: `'hook_secret:' || t.id` },
    ],
  },
]

/**
 * What is encrypted for one session or API key, which the row does not name. Nobody is given it after ten minutes: then it is removed
 * instead (src/idempotency).
 */
export const SHORT_LIVED = { table: 'access.kept_answers', column: 'secrets_encrypted', minutes: 10 }
