/** The signature of what is kept in KV. Threat: whoever can write to KV changes where a tenant's requests go. So each entry is signed as a whole. */
import { encodeHexLowerCase } from '@oslojs/encoding'
import type { Config } from '../../kernel/config.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'

type Signable = { tenant_id: string }

const digestOf = async (entry: Signable) =>
  encodeHexLowerCase(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(entry)))))

/** An entry with its signature, as text for KV. */
export async function signed<T extends Signable>(config: Config, entry: T): Promise<string> {
  const signature = await encrypt(config.ENCRYPTION_KEYS, entry.tenant_id, 'registry', await digestOf(entry))
  return JSON.stringify({ ...entry, signature })
}

/** True when this deployment signed exactly this entry. */
export async function isAuthentic<T extends Signable & { signature: string }>(
  config: Config,
  { signature, ...entry }: T,
): Promise<boolean> {
  const digest = await decrypt(config.ENCRYPTION_KEYS, entry.tenant_id, 'registry', signature).catch(() => null)
  return digest === (await digestOf(entry))
}
