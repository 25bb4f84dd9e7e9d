/**
 * Signatures as in Standard Webhooks. Threat: somebody who learns where a receiver listens sends it events that never were, or sends an
 * old one again. So the id, the time and the body are under an HMAC by a secret of this webhook, and receivers refuse what is old.
 */
import { encodeBase64 } from '@oslojs/encoding'

const PREFIX = 'whsec_'
const PRIVATE = 'whsk_'
const PUBLIC = 'whpk_'

/** A new secret: 32 random bytes. */
export const newSecret = () => `${PREFIX}${encodeBase64(crypto.getRandomValues(new Uint8Array(32)))}`

/**
 * A new key pair of Ed25519: whoever has the public half can verify messages and make none. The private half leaves the Worker
 * encrypted alone, beside the secret.
 */
export async function newKeyPair(): Promise<{ private_key: string; public_key: string }> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
  const [whole, half] = await Promise.all([
    crypto.subtle.exportKey('pkcs8', pair.privateKey) as Promise<ArrayBuffer>,
    crypto.subtle.exportKey('raw', pair.publicKey) as Promise<ArrayBuffer>,
  ])
  return {
    private_key: `${PRIVATE}${encodeBase64(new Uint8Array(whole))}`,
    public_key: `${PUBLIC}${encodeBase64(new Uint8Array(half))}`,
  }
}

/**
 * The headers of a message. Each of the `secrets`, the newest first, signs by HMAC; and by Ed25519 where a private key stands beside it,
 * after a space.
 */
export async function signed(secrets: string[], id: string, at: Date, body: string): Promise<Record<string, string>> {
  const seconds = Math.floor(at.getTime() / 1000)
  const message = new TextEncoder().encode(`${id}.${seconds}.${body}`)
  const parts = secrets.flatMap((secret) => secret.split(' '))
  const signatures = await Promise.all(
    parts.map(async (part) => {
      const raw = Uint8Array.from(atob(part.slice(part.indexOf('_') + 1)), (char) => char.charCodeAt(0))
      const is_private = part.startsWith(PRIVATE)
      const key = is_private
        ? await crypto.subtle.importKey('pkcs8', raw, 'Ed25519', false, ['sign'])
        : await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
      const signature = await crypto.subtle.sign(is_private ? 'Ed25519' : 'HMAC', key, message)
      return `${is_private ? 'v1a' : 'v1'},${encodeBase64(new Uint8Array(signature))}`
    }),
  )
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signatures.join(' ') }
}
