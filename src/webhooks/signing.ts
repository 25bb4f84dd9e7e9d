/**
 * Signatures as in Standard Webhooks. Threat: somebody who learns where a receiver listens sends it events that never were, or sends an
 * old one again. So the id, the time and the body are under an HMAC by a secret of this webhook, and receivers refuse what is old.
 */
import { encodeBase64 } from '@oslojs/encoding'

const PREFIX = 'whsec_'

/** A new secret: 32 random bytes. */
export const newSecret = () => `${PREFIX}${encodeBase64(crypto.getRandomValues(new Uint8Array(32)))}`

/** The headers of a message: with one signature for each secret, the newest first. */
export async function signed(secrets: string[], id: string, at: Date, body: string): Promise<Record<string, string>> {
  const seconds = Math.floor(at.getTime() / 1000)
  const message = new TextEncoder().encode(`${id}.${seconds}.${body}`)
  const signatures = await Promise.all(
    secrets.map(async (secret) => {
      const raw = Uint8Array.from(atob(secret.slice(PREFIX.length)), (char) => char.charCodeAt(0))
      const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
      return `v1,${encodeBase64(new Uint8Array(await crypto.subtle.sign('HMAC', key, message)))}`
    }),
  )
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signatures.join(' ') }
}
