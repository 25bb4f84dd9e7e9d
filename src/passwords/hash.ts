/**
 * Password hashing. Threat: a stolen database. PBKDF2-HMAC-SHA-256 (RFC 8018) with as many iterations as PASSWORD_HASH_ITERATIONS
 * says (600,000, OWASP), in chained calls of at most 100,000 each: Cloudflare refuses more in one call, in production only. A hash is stored as
 * `$pbkdf2-sha256-chain$r=6,i=100000$salt$hash`, base64 without padding. Everything before the last `$` is its parameters. The
 * database returns the parameters, the Worker answers with the digest, and the database compares its SHA-256 with the stored hash
 * (src/auth/login.sql): a stolen hash cannot be used to log in.
 */
import { decodeBase64IgnorePadding, encodeBase64NoPadding } from '@oslojs/encoding'
import { foreignDigest, isForeign, nextSalt } from './foreign-hash.ts'

/** In one call. */
const MAX_ITERATIONS = 100_000
const MAX_ROUNDS = 20
const PARAMETERS = /^\$pbkdf2-sha256-chain\$r=(\d{1,2}),i=(\d{1,6})\$([A-Za-z0-9+/]{22,86})$/

const freshSalt = () => encodeBase64NoPadding(crypto.getRandomValues(new Uint8Array(16)))

/** Hash parameters with a salt of 16 bytes, by default a fresh one: `r` calls of `i` iterations each. */
export function newHashParameters(iterations: number, salt = freshSalt()): string {
  const rounds = Math.ceil(iterations / MAX_ITERATIONS)
  return `$pbkdf2-sha256-chain$r=${rounds},i=${Math.ceil(iterations / rounds)}$${salt}`
}

/**
 * How many iterations a hash of ours lacks to cost what a new one does, because it was made before the setting was raised. 0 for
 * another system's hash, which is replaced at its user's login.
 */
export function missingIterations(parameters: string, iterations: number): number {
  const [, rounds, each] = PARAMETERS.exec(parameters) ?? []
  return rounds ? Math.max(0, iterations - Number(rounds) * Number(each)) : 0
}

/** The parameters of the hash that replaces another system's when its user logs in; null for our own parameters. */
export function rehashParameters(parameters: string, iterations: number): string | null {
  const salt = nextSalt(parameters)
  return salt && newHashParameters(iterations, salt)
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
  const [, r, i, salt] = PARAMETERS.exec(parameters) ?? []
  const rounds = Number(r)
  const iterations = Number(i)
  if (!salt || !(rounds >= 1 && rounds <= MAX_ROUNDS) || !(iterations >= 1 && iterations <= MAX_ITERATIONS))
    throw new Error('These are no hash parameters of a password.')
  const bytes = new Uint8Array(decodeBase64IgnorePadding(salt))
  let material = new Uint8Array(new TextEncoder().encode(password.normalize('NFC')))
  for (let round = 1; round <= rounds; round++) {
    const key = await crypto.subtle.importKey('raw', material, 'PBKDF2', false, ['deriveBits'])
    const salted = round === 1 ? bytes : Uint8Array.of(...bytes, round)
    material = new Uint8Array(
      await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: salted, iterations }, key, 256),
    )
  }
  return encodeBase64NoPadding(material)
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
