/**
 * Password hashes of another system: bcrypt ($2a$, $2b$, $2y$) and Django's pbkdf2_sha256. Threat: a hash that keeps a login busy
 * for minutes; one that is kept although it is weaker than ours; a stolen one that lets its thief log in. So its cost is bounded;
 * it is replaced when its user first logs in; and as with our own (hash.ts), only its parameters and the SHA-256 of a digest of
 * 32 bytes are stored. The parameters also hold the salt of the replacing hash, so that concurrent first logins all compute the
 * same one.
 *
 * The other system hashed the password as typed. So here a password is hashed as it was sent, and not in NFC as ours are; the
 * replacing hash is over NFC. The three names of bcrypt stand for one algorithm: 72 bytes count, the rest does not.
 */
import { pbkdf2 } from '@noble/hashes/pbkdf2.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { decodeBase64IgnorePadding, encodeBase64NoPadding } from '@oslojs/encoding'
import { hashSync } from 'bcryptjs'

const MIN_COST = 4
/** About a second of CPU; each further one doubles it. */
const MAX_COST = 14
/** Several seconds of CPU, of the 30 that a request may spend. */
const MAX_ITERATIONS = 2_000_000
const MAX_SALT = 128

// The last of the 31 characters holds four bits; no implementation sets the others.
const BCRYPT = /^\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{30}[.CGKOSWaeimquy26])$/
const DJANGO = /^pbkdf2_sha256\$([1-9]\d{0,9})\$([^$]+)\$([A-Za-z0-9+/]{43}=?)$/
const BCRYPT_PARAMETERS = /^\$bcrypt\$r=(\d{1,2}),next=([A-Za-z0-9+/]{22})\$([./A-Za-z0-9]{22})$/
const DJANGO_PARAMETERS = /^\$django-pbkdf2-sha256\$i=(\d{1,7}),next=([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{2,683})$/

const utf8 = (text: string) => new TextEncoder().encode(text)
const isCost = (cost: number) => cost >= MIN_COST && cost <= MAX_COST
const isIterations = (iterations: number) => iterations >= 1 && iterations <= MAX_ITERATIONS

/** The stored form of another system's hash, or why it is not accepted. Needs no password, and hashes none. */
export function fromForeign(hash: string): { stored: string } | { fault: string } {
  const next = encodeBase64NoPadding(crypto.getRandomValues(new Uint8Array(16)))
  const accepted = (parameters: string, digest: Uint8Array) => ({
    stored: `${parameters}$${encodeBase64NoPadding(sha256(digest))}`,
  })
  const [, cost, bcryptSalt, last] = BCRYPT.exec(hash) ?? []
  if (cost && bcryptSalt && last) {
    if (!isCost(Number(cost))) return { fault: `must have a bcrypt cost from ${MIN_COST} to ${MAX_COST}` }
    return accepted(`$bcrypt$r=${Number(cost)},next=${next}$${bcryptSalt}`, sha256(utf8(last)))
  }
  const [, iterations, salt, base64] = DJANGO.exec(hash) ?? []
  if (iterations && salt && base64) {
    if (!isIterations(Number(iterations))) return { fault: `must have at most ${MAX_ITERATIONS} iterations` }
    if (salt.length > MAX_SALT) return { fault: `must have a salt of at most ${MAX_SALT} characters` }
    const digest = decoded(base64)
    if (digest)
      return accepted(`$django-pbkdf2-sha256$i=${Number(iterations)},next=${next}$${encodeBase64NoPadding(utf8(salt))}`, digest)
  }
  return { fault: 'must be a whole hash of bcrypt ($2a$, $2b$ or $2y$) or of Django (pbkdf2_sha256$)' }
}

/** The bytes of canonical base64; null for any other text. */
function decoded(base64: string): Uint8Array | null {
  try {
    return decodeBase64IgnorePadding(base64)
  } catch {
    return null
  }
}

/** The digest of a password under another system's parameters, 32 bytes; null for any other parameters. */
export function foreignDigest(password: string, parameters: string): Uint8Array | null {
  const [, cost, , bcryptSalt] = BCRYPT_PARAMETERS.exec(parameters) ?? []
  // Synchronous: the clock of a Worker stands still while it computes, so the asynchronous function would never yield either.
  if (bcryptSalt && isCost(Number(cost)))
    return sha256(utf8(hashSync(password, `$2b$${String(cost).padStart(2, '0')}$${bcryptSalt}`).slice(29)))
  const [, iterations, , salt] = DJANGO_PARAMETERS.exec(parameters) ?? []
  // Not Web Crypto, which in production refuses more than 100,000 iterations.
  if (salt && isIterations(Number(iterations)))
    return pbkdf2(sha256, utf8(password), decodeBase64IgnorePadding(salt), { c: Number(iterations), dkLen: 32 })
  return null
}

/** The salt of the hash that replaces another system's; null for our own parameters. */
export const nextSalt = (parameters: string): string | null =>
  BCRYPT_PARAMETERS.exec(parameters)?.[2] ?? DJANGO_PARAMETERS.exec(parameters)?.[2] ?? null
