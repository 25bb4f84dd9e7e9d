import { sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair } from 'jose'
import type { Config } from '../../src/kernel/config.ts'
import { batch } from '../../src/kernel/db.ts'
import { encrypt } from '../../src/kernel/keyring.ts'
import { newToken, type SigningKey } from '../../src/kernel/token.ts'
import { ask } from './load.ts'
import type { Site } from './stage.ts'

export type Planted = { id: string; subdomain: string; keys: SigningKey[] }

const AT_ONCE = 500

/** Writes tenants into the master, without databases but with secrets and a key as real ones have. */
export async function plant(config: Config, count: number): Promise<Planted[]> {
  const pair = await generateKeyPair('ES256', { extractable: true })
  const keys = { public: await exportJWK(pair.publicKey), private: await exportJWK(pair.privateKey) }
  const planted: Planted[] = []
  while (planted.length < count) {
    const rows = await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - planted.length) }, (_, i) => row(config, planted.length + i, keys)),
    )
    await batch(config.MASTER_DATABASE_URL, [
      sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, admin_email, region, environment, status, isolation, role_preset,
            database_name, app_url_encrypted, refresh_key_encrypted)
          select id, subdomain, subdomain, subdomain, 'PE', 'bench@freehold.test', 'bench', 'demo', 'active', 'database', 'minimal', subdomain, app_url, refresh_key
          from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as x (id uuid, subdomain text, app_url text, refresh_key text)`,
      sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
          select kid, id, public || jsonb_build_object('kid', kid, 'alg', 'ES256', 'use', 'sig'), private, now()
          from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as x (id uuid, kid text, public jsonb, private text)`,
    ])
    planted.push(
      ...rows.map(({ id, subdomain, kid }) => ({ id, subdomain, keys: [{ kid, ...keys, use_from: new Date(0).toISOString() }] })),
    )
  }
  await batch(config.MASTER_DATABASE_URL, [sql`analyze platform.tenants`, sql`analyze platform.signing_keys`])
  return planted
}

/** Puts planted tenants into the KV of a Worker. */
export async function publish(site: Site, tenants: Planted[]): Promise<void> {
  for (let i = 0; i < tenants.length; i += AT_ONCE)
    await ask(site.at(null, '/bench/publish', { body: tenants.slice(i, i + AT_ONCE).map(({ id }) => id) }))
}

async function row(config: Config, number: number, keys: { public: object; private: object }) {
  const id = crypto.randomUUID()
  const kid = newToken().slice(0, 16)
  const encrypted = (field: string, text: string) => encrypt(config.ENCRYPTION_KEYS, id, field, text)
  return {
    id,
    kid,
    subdomain: `planted-${number}`,
    app_url: await encrypted('app_url', `postgresql://planted:${newToken()}@db.freehold.test/planted_${number}`),
    refresh_key: await encrypted('refresh_key', newToken()),
    public: keys.public,
    private: await encrypted(`signing_key:${kid}`, JSON.stringify(keys.private)),
  }
}
