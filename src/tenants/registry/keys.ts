import { type SQL, sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair } from 'jose'
import type { Config } from '../../kernel/config.ts'
import { encrypt } from '../../kernel/keyring.ts'
import { newToken } from '../../kernel/token.ts'

/** The statement that gives a realm its first signing key (ES256), in use at once. A realm that has one keeps it. */
export async function firstSigningKey(config: Pick<Config, 'ENCRYPTION_KEYS'>, realm_id: string): Promise<SQL> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const kid = newToken().slice(0, 16)
  const public_jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }
  const private_jwk = await encrypt(
    config.ENCRYPTION_KEYS,
    realm_id,
    `signing_key:${kid}`,
    JSON.stringify(await exportJWK(privateKey)),
  )
  return sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
    select ${kid}, ${realm_id}, ${JSON.stringify(public_jwk)}::jsonb, ${private_jwk}, now()
    where not exists (select from platform.signing_keys where realm_id = ${realm_id})`
}
