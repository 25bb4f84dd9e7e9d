/**
 * Password hashing. Threat: a stolen database. PBKDF2-HMAC-SHA-256 (RFC 8018) with as many iterations as PASSWORD_HASH_ITERATIONS
 * says (600,000, OWASP), in chained calls of at most 100,000 each: Cloudflare refuses more in one call, in production only. A hash is stored as
 * `$pbkdf2-sha256-chain$r=6,i=100000$salt$hash`, base64 without padding: `r` calls of `i` iterations; more calls may follow, as
 * `r=6,i=100000+r=2,i=75000`, where the setting was raised since, so that what was computed to compare a password goes on to its new
 * hash. Everything before the last `$` is its parameters. The
 * database returns the parameters, the Worker answers with the digest, and the database compares its SHA-256 with the stored hash
 * (src/auth/login.sql): a stolen hash cannot be used to log in.
 */
import { decodeBase64IgnorePadding, encodeBase64NoPadding } from '@oslojs/encoding'
import { foreignDigest, isForeign, nextSalt } from './foreign-hash.ts'

/** In one call. */
const MAX_ITERATIONS = 100_000
/** What the highest setting takes, and as many more for how a hash came to it. */
const MAX_ROUNDS = 40
const PARAMETERS =
  /^\$pbkdf2-sha256-chain\$(r=[1-9]\d?,i=[1-9]\d{0,5}(?:\+r=[1-9]\d?,i=[1-9]\d{0,5}){0,19})\$([A-Za-z0-9+/]{22,86})$/

const freshSalt = () => encodeBase64NoPadding(crypto.getRandomValues(new Uint8Array(16)))

/** `r` calls of `i` iterations each, at least as many in all. */
function callsFor(iterations: number): string {
  const rounds = Math.ceil(iterations / MAX_ITERATIONS)
  return `r=${rounds},i=${Math.ceil(iterations / rounds)}`
}

/** Hash parameters with a salt of 16 bytes, by default a fresh one. */
export const newHashParameters = (iterations: number, salt = freshSalt()) =>
  `$pbkdf2-sha256-chain$${callsFor(iterations)}$${salt}`

/** The iterations of each call, and the salt. Fails on parameters that are not ours. */
function callsOf(parameters: string): { calls: number[]; salt: string } {
  const [, stages = '', salt] = PARAMETERS.exec(parameters) ?? []
  const calls = [...stages.matchAll(/r=(\d+),i=(\d+)/g)].flatMap(([, r, i]) => Array<number>(Number(r)).fill(Number(i)))
  if (!salt || calls.length > MAX_ROUNDS || !calls.length || calls.some((each) => each > MAX_ITERATIONS))
    throw new Error('These are no hash parameters of a password.')
  return { calls, salt }
}

/**
 * Parameters of ours with as many iterations more as a new hash has; null: they have as many. The salt stays, so that concurrent
 * logins all come to the same, and so that the new hash costs no more than what compares the old one and what was missing.
 */
export function extendedParameters(parameters: string, iterations: number): string | null {
  const { calls, salt } = callsOf(parameters)
  const missing = iterations - calls.reduce((sum, each) => sum + each, 0)
  if (missing <= 0 || calls.length + Math.ceil(missing / MAX_ITERATIONS) > MAX_ROUNDS) return null
  return `${parameters.slice(0, -salt.length - 1)}+${callsFor(missing)}$${salt}`
}

/** The parameters of the hash that replaces another system's when its user logs in; null for our own parameters. */
export function rehashParameters(parameters: string, iterations: number): string | null {
  const salt = nextSalt(parameters)
  return salt && newHashParameters(iterations, salt)
}

/** What a login is compared by, and what replaces the stored hash when the password is right; null: nothing does. */
export type LoginDigests = { compared: string | null; renewal: { parameters: string; digest: string } | null }

/**
 * The digests of a login. With a hash of ours it costs what a new hash costs, whether the stored one is as expensive or not: a
 * cheaper login would tell who exists, and since when. `compared` is null as for `attemptedDigest`.
 */
export async function loginDigests(password: string, parameters: string, iterations: number): Promise<LoginDigests> {
  const foreign = rehashParameters(parameters, iterations)
  if (foreign) {
    const compared = await attemptedDigest(password, parameters)
    return { compared, renewal: compared === null ? null : { parameters: foreign, digest: await digest(password, foreign) } }
  }
  const { calls, salt } = callsOf(parameters)
  const material = await chained(bytesOf(password), salt, calls, 0)
  const compared = encodeBase64NoPadding(material)
  const extended = extendedParameters(parameters, iterations)
  if (!extended) return { compared, renewal: null }
  const rest = await chained(material, salt, callsOf(extended).calls, calls.length)
  return { compared, renewal: { parameters: extended, digest: encodeBase64NoPadding(rest) } }
}

/**
 * What an attempt at a password is compared by: as `digest`, and also under another system's parameters. null: too many of those
 * were being computed. Nothing but an attempt is worth what they cost.
 */
export async function attemptedDigest(password: string, parameters: string): Promise<string | null> {
  if (!isForeign(parameters)) return digest(password, parameters)
  const foreign = await foreignDigest(password, parameters)
  return foreign && encodeBase64NoPadding(foreign)
}

/**
 * The digest of a password under parameters of our own: 32 bytes in base64. About 100 ms of CPU for 600,000 iterations. Fails on
 * any other parameters.
 */
export async function digest(password: string, parameters: string): Promise<string> {
  const { calls, salt } = callsOf(parameters)
  return encodeBase64NoPadding(await chained(bytesOf(password), salt, calls, 0))
}

const bytesOf = (password: string) => new Uint8Array(new TextEncoder().encode(password.normalize('NFC')))

/** The calls of a chain from the `done`th on. From the second on each has its number behind the salt. */
async function chained(start: Uint8Array<ArrayBuffer>, salt: string, calls: number[], done: number) {
  const bytes = new Uint8Array(decodeBase64IgnorePadding(salt))
  let material = start
  for (const [i, iterations] of calls.entries()) {
    if (i < done) continue
    const key = await crypto.subtle.importKey('raw', material, 'PBKDF2', false, ['deriveBits'])
    const salted = i === 0 ? bytes : Uint8Array.of(...bytes, i + 1)
    material = new Uint8Array(
      await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: salted, iterations }, key, 256),
    )
  }
  return material
}

/** The string to store for a new password. */
export async function hash(password: string, iterations: number): Promise<string> {
  const parameters = newHashParameters(iterations)
  const proof = new Uint8Array(decodeBase64IgnorePadding(await digest(password, parameters)))
  return `${parameters}$${encodeBase64NoPadding(new Uint8Array(await crypto.subtle.digest('SHA-256', proof)))}`
}

const ALPHABETS = ['ABCDEFGHJKLMNPQRSTUVWXYZ', 'abcdefghijkmnopqrstuvwxyz', '23456789', '-_.!+']

/**
 * A random password for a first login: 20 characters, or as many as a policy requires, without look-alikes, of all four kinds.
 */
export function generatePassword({ length = 20 }: { length?: number } = {}): string {
  const all = ALPHABETS.join('')
  const pick = (from: string) => {
    const limit = 256 - (256 % from.length)
    for (;;) {
      const [byte = 255] = crypto.getRandomValues(new Uint8Array(1))
      if (byte < limit) return from.charAt(byte % from.length)
    }
  }
  const start = Array.from({ length: Math.max(20, length) - ALPHABETS.length }, () => pick(all)).join('')
  return start + ALPHABETS.map(pick).join('')
}
