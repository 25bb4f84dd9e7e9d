/**
 * Encryption of secrets in KV and in the master database. Threat: an attacker who can read or write there, but lacks the Worker's
 * secrets, must learn nothing and must not be able to give one tenant another's database or key. AES-256-GCM with a fresh nonce;
 * tenant and field are additional data, so a ciphertext that was moved does not decrypt.
 */
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'

export type KeyRing = { id: string; key: Uint8Array<ArrayBuffer> }[]

const bytes = new TextEncoder()
const decode = (text: string) => new Uint8Array(decodeBase64urlIgnorePadding(text))
const importKey = (key: Uint8Array<ArrayBuffer>, use: 'encrypt' | 'decrypt') =>
  crypto.subtle.importKey('raw', key, 'AES-GCM', false, [use])
const bound = (tenant_id: string, field: string) => bytes.encode(`freehold:${tenant_id}:${field}`)

/** Encrypts with the first key of the ring. Returns `key id.nonce.ciphertext`, the latter two in base64url. */
export async function encrypt(ring: KeyRing, tenant_id: string, field: string, text: string): Promise<string> {
  const [active] = ring
  if (!active) throw new Error('The key ring is empty.')
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const key = await importKey(active.key, 'encrypt')
  const ciphertext = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData: bound(tenant_id, field) },
    key,
    bytes.encode(text),
  )
  return `${active.id}.${encodeBase64urlNoPadding(iv)}.${encodeBase64urlNoPadding(new Uint8Array(ciphertext))}`
}

/** Decrypts what `encrypt` returned. Fails when the key is gone, or when the ciphertext was made for another tenant or field. */
export async function decrypt(ring: KeyRing, tenant_id: string, field: string, encrypted: string): Promise<string> {
  const [id, iv, data] = encrypted.split('.')
  const entry = ring.find((k) => k.id === id)
  const setting = field === 'owner_url' ? 'OWNER_KEYS' : 'ENCRYPTION_KEYS'
  if (!entry || !iv || !data) throw new Error(`${setting} has no key ${id} for ${field} of tenant ${tenant_id}.`)
  const key = await importKey(entry.key, 'decrypt')
  const plaintext = await crypto.subtle.decrypt(
    { name: 'AES-GCM', iv: decode(iv), additionalData: bound(tenant_id, field) },
    key,
    decode(data),
  )
  return new TextDecoder().decode(plaintext)
}
