/**
 * Challenges of passkeys. Threat: an answer that was made for another tenant, another session or another purpose, long ago, or for a
 * challenge that an attacker chose. A challenge carries when it expires and a MAC under the tenant's key, over what it is for, so that
 * strangers who ask for challenges store nothing here. That one counts once is decided where it is spent (passkeys.sql).
 */
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'
import type { Realm } from '../kernel/context.ts'
import { newMailToken, successorOf, tokenHash } from '../kernel/token.ts'

/** How long an answer may take; pages ask for a new challenge before. */
export const CHALLENGE_SECONDS = 300

/** What a challenge is for: a login, a new passkey in one session, or one of whoever accepts an invitation, by the hash of its token. */
export type Purpose = 'login' | `register:${string}` | `invitation:${string}`

const macOf = (key: string, purpose: Purpose, said: string) => successorOf(key, `passkey:${purpose}:${said}`)

/** A new challenge, in base64url. */
export async function newChallenge(realm: Realm, purpose: Purpose): Promise<string> {
  const said = `${Math.floor(Date.now() / 1000) + CHALLENGE_SECONDS}.${newMailToken()}`
  return encodeBase64urlNoPadding(new TextEncoder().encode(`${said}.${await macOf(realm.refresh_key, purpose, said)}`))
}

/** A challenge that is ours: when it expires, and what is kept of it once it is spent. */
export type Challenge = { expires_at: Date; hash: string }

/** What a challenge says; null: it is none of this tenant for this purpose. Whether it has expired the caller compares. */
export async function readChallenge(realm: Realm, purpose: Purpose, challenge: string): Promise<Challenge | null> {
  const [, said = '', expiry, mac = ''] = /^((\d{10})\.[\w-]{32})\.([\w-]{43})$/.exec(textOf(challenge)) ?? []
  if (!said) return null
  // Around a rotation of the tenant's keys an isolate may know the other one as the newest. Hashed, so that no timing tells of a MAC.
  const keys = [realm.refresh_key, ...(realm.other_refresh_key ? [realm.other_refresh_key] : [])]
  const macs = await Promise.all(keys.map(async (key) => tokenHash(await macOf(key, purpose, said))))
  if (!macs.includes(await tokenHash(mac))) return null
  return { expires_at: new Date(Number(expiry) * 1000), hash: await tokenHash(said) }
}

function textOf(challenge: string): string {
  try {
    return new TextDecoder().decode(decodeBase64urlIgnorePadding(challenge))
  } catch {
    return ''
  }
}
