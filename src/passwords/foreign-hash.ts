/**
 * Password hashes of another system: bcrypt ($2a$, $2b$, $2y$) and Django's pbkdf2_sha256. Threat: a hash that keeps an isolate busy,
 * and with it everybody else; one that is so cheap that whoever reads the file reads the password; one that is kept although it is
 * weaker than ours; a stolen one that lets its thief log in. So its cost is bounded on both sides, and it is computed in slices
 * (slices.ts); it is replaced when its user first logs in; and as with our own (hash.ts), only its parameters and the SHA-256 of a
 * digest of 32 bytes are stored. The parameters also hold the salt of the replacing hash, so that concurrent first logins all compute
 * the same one.
 *
 * The other system hashed the password as typed. So here a password is hashed as it was sent, and not in NFC as ours are; the
 * replacing hash is over NFC. The three names of bcrypt stand for one algorithm: 72 bytes count, the rest does not.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { decodeBase64IgnorePadding, encodeBase64NoPadding } from '@oslojs/encoding'
import { bcrypt } from './bcrypt.ts'
import { type EndSlice, inSlices } from './slices.ts'

const MIN_COST = 4
/** Just under a second of CPU; each further one doubles it. */
const MAX_COST = 14
/** The least that NIST SP 800-132 recommends. Django has never made fewer than 10,000. */
const MIN_ITERATIONS = 1000
/** Three seconds of CPU. Django 6 makes 1,200,000. */
const MAX_ITERATIONS = 1_500_000
/** Earlier imports took from 1 to as many: their users still log in. */
const MAX_STORED_ITERATIONS = 2_000_000
const MAX_SALT = 128

/** Iterations in a slice: 8 to 9 ms of CPU in workerd (decision 16 says how that was measured). */
const SLICE = 4096

// The last of the 31 characters holds four bits; no implementation sets the others.
const BCRYPT = /^\$2[aby]\$(0[0-9]|[12]\d|3[01])\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{30}[.CGKOSWaeimquy26])$/
const DJANGO = /^pbkdf2_sha256\$([1-9]\d{0,9})\$([^$]+)\$([A-Za-z0-9+/]{43}=?)$/
const BCRYPT_PARAMETERS = /^\$bcrypt\$r=(\d{1,2}),next=([A-Za-z0-9+/]{22})\$([./A-Za-z0-9]{22})$/
const DJANGO_PARAMETERS = /^\$django-pbkdf2-sha256\$i=(\d{1,7}),next=([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{2,683})$/

const RESET = 'the user has no password until they reset it'

const utf8 = (text: string) => new TextEncoder().encode(text)

/**
 * `fault`: the hash is refused. `excess`: it is a hash, and costs too much to be computed here. `unusable`: no password has it, as
 * Django writes of users who have none.
 */
export type ForeignHash = { stored: string } | { fault: string } | { excess: string } | { unusable: true }

/** The stored form of another system's hash, or why there is none. Needs no password, and hashes none. */
export function fromForeign(hash: string): ForeignHash {
  if (hash.startsWith('!')) return { unusable: true }
  const next = encodeBase64NoPadding(crypto.getRandomValues(new Uint8Array(16)))
  const accepted = (parameters: string, digest: Uint8Array) => ({
    stored: `${parameters}$${encodeBase64NoPadding(sha256(digest))}`,
  })
  const [, cost, bcryptSalt, last] = BCRYPT.exec(hash) ?? []
  if (cost && bcryptSalt && last) {
    if (Number(cost) < MIN_COST) return { fault: `must have a bcrypt cost of at least ${MIN_COST}` }
    if (Number(cost) > MAX_COST) return { excess: `has a bcrypt cost above ${MAX_COST}, so it is not stored: ${RESET}` }
    return accepted(`$bcrypt$r=${Number(cost)},next=${next}$${bcryptSalt}`, sha256(utf8(last)))
  }
  const [, iterations, salt, base64] = DJANGO.exec(hash) ?? []
  const digest = base64 && decoded(base64)
  if (iterations && salt && digest) {
    if (salt.length > MAX_SALT) return { fault: `must have a salt of at most ${MAX_SALT} characters` }
    if (Number(iterations) < MIN_ITERATIONS) return { fault: `must have at least ${MIN_ITERATIONS} iterations` }
    if (Number(iterations) > MAX_ITERATIONS)
      return { excess: `has more than ${MAX_ITERATIONS} iterations, so it is not stored: ${RESET}` }
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

/**
 * The digest of a password under another system's parameters, 32 bytes. null: too many others were being computed. Fails on any
 * other parameters.
 */
export async function foreignDigest(password: string, parameters: string): Promise<Uint8Array | null> {
  const [, cost, , bcryptSalt] = BCRYPT_PARAMETERS.exec(parameters) ?? []
  if (bcryptSalt && Number(cost) >= MIN_COST && Number(cost) <= MAX_COST) {
    const hash = await inSlices((endSlice) => bcrypt(password, Number(cost), bcryptSalt, endSlice))
    return hash === null ? null : sha256(utf8(hash))
  }
  const [, iterations, , salt] = DJANGO_PARAMETERS.exec(parameters) ?? []
  if (salt && Number(iterations) >= 1 && Number(iterations) <= MAX_STORED_ITERATIONS)
    return inSlices((endSlice) => pbkdf2(utf8(password), decodeBase64IgnorePadding(salt), Number(iterations), endSlice))
  throw new Error('These are no hash parameters of another system.')
}

/**
 * PBKDF2-HMAC-SHA-256 (RFC 8018) with a result of 32 bytes. Not Web Crypto, which in production refuses more than 100,000
 * iterations; nor noble's own, which yields by the clock.
 */
async function pbkdf2(password: Uint8Array, salt: Uint8Array, iterations: number, endSlice: EndSlice): Promise<Uint8Array> {
  const keyed = hmac.create(sha256, password)
  const work = keyed.clone()
  const step = new Uint8Array(32)
  keyed
    ._cloneInto(work)
    .update(salt)
    .update(Uint8Array.of(0, 0, 0, 1))
    .digestInto(step)
  const result = step.slice()
  for (let i = 1; i < iterations; i++) {
    if (i % SLICE === 0) await endSlice()
    keyed._cloneInto(work).update(step).digestInto(step)
    for (let byte = 0; byte < 32; byte++) result[byte] = (result[byte] as number) ^ (step[byte] as number)
  }
  return result
}

/** Whether these are another system's parameters. */
export const isForeign = (parameters: string): boolean => nextSalt(parameters) !== null

/** The salt of the hash that replaces another system's; null for our own parameters. */
export const nextSalt = (parameters: string): string | null =>
  BCRYPT_PARAMETERS.exec(parameters)?.[2] ?? DJANGO_PARAMETERS.exec(parameters)?.[2] ?? null
