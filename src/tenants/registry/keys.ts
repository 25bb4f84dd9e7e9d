import { type SQL, sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Config } from '../../kernel/config.ts'
import { encrypt } from '../../kernel/keyring.ts'
import { newToken } from '../../kernel/token.ts'

/** A key pair for tokens (ES256), the private half encrypted for its realm. */
export async function newSigningKey(config: Pick<Config, 'ENCRYPTION_KEYS'>, realm_id: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const kid = newToken().slice(0, 16)
  const public_jwk = JSON.stringify({ ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' })
  const private_jwk = await sealPrivate(config, realm_id, kid, await exportJWK(privateKey))
  return { kid, public_jwk, private_jwk }
}

/** The private half of a signing key, encrypted for its column; null: it is destroyed. */
export const sealPrivate = (config: Pick<Config, 'ENCRYPTION_KEYS'>, realm_id: string, kid: string, jwk: JWK | null) =>
  encrypt(config.ENCRYPTION_KEYS, realm_id, `signing_key:${kid}`, JSON.stringify(jwk))

/** The statement that gives a realm its first signing key, in use at once. A realm that has one keeps it. */
export async function firstSigningKey(config: Pick<Config, 'ENCRYPTION_KEYS'>, realm_id: string): Promise<SQL> {
  const { kid, public_jwk, private_jwk } = await newSigningKey(config, realm_id)
  return sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
    select ${kid}, ${realm_id}, ${public_jwk}::jsonb, ${private_jwk}, now()
    where not exists (select from platform.signing_keys where realm_id = ${realm_id})`
}
