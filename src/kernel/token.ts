/**
 * Access tokens (JWT, RFC 7519; profile RFC 9068) and opaque tokens. Threat: forged, replayed and foreign tokens. ES256 only, a
 * key pair per tenant, `iss` and `aud` are the tenant's URL, or one that it had before it was renamed, and `tid` its id. A token
 * identifies its user; the database decides on permissions.
 */
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding, encodeHexLowerCase } from '@oslojs/encoding'
import { decodeJwt, errors, importJWK, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { Problem } from './problem.ts'

const SKEW_SECONDS = 5

/** A signing key of a tenant. Keys are published first and used later, so that every JWKS cache has them. */
export type SigningKey = { kid: string; public: JWK; private: JWK; use_from: string }
/** The identity in a verified token; `proof` shows the database that the caller knows more than the id of the session. */
export type Bearer = { session_id: string; user_id: string; proof: string | null; expires_at: Date; external?: External }
export type External = { provider: string; issuer: string; subject: string; system_key: string }
type Party = { id: string; url: string; former_urls?: string[]; keys: SigningKey[] }

const imported = new Map<string, CryptoKey>()

/** Imported keys, by kid and use; at most 500, the oldest is dropped. A CryptoKey is no I/O, and may outlive a request. */
async function keyFor(key: SigningKey, use: 'public' | 'private'): Promise<CryptoKey> {
  // jose imports with the algorithm given to it; the parameters of the key itself must agree.
  const { kty, crv, x, y, alg = 'ES256', use: purpose = 'sig', key_ops } = key.public
  if (kty !== 'EC' || crv !== 'P-256' || alg !== 'ES256' || purpose !== 'sig' || (key_ops && !key_ops.includes('verify'))) {
    throw new errors.JWKInvalid()
  }
  const name = `${use}:${key.kid}:${x}:${y}`
  const known = imported.get(name)
  if (known) return known
  const made = (await importJWK(key[use], 'ES256')) as CryptoKey
  if (imported.size >= 500) imported.delete(imported.keys().next().value ?? '')
  imported.set(name, made)
  return made
}

/**
 * When a token that is made now was issued and when it expires, in seconds since 1970: after `minutes`, and never later than its
 * session.
 */
export function lifetimeOf(minutes: number, session_expires_at?: string): { iat: number; exp: number } {
  const iat = Math.floor(Date.now() / 1000)
  const end = session_expires_at === undefined ? Number.POSITIVE_INFINITY : Math.floor(Date.parse(session_expires_at) / 1000)
  return { iat, exp: Math.max(iat, Math.min(iat + minutes * 60, end)) }
}

type AccessClaims = JWTPayload & { sub: string; iat: number; exp: number; client_id: string }

/** Signs an access token (RFC 9068) with the newest key in use. Without `aud` it is for the party itself. */
export async function sign(party: Party, { aud = party.url, ...claims }: AccessClaims): Promise<string> {
  const now = new Date().toISOString()
  const key = party.keys.filter((k) => k.use_from <= now).sort((a, b) => (a.use_from < b.use_from ? 1 : -1))[0]
  if (!key) throw new Error(`Tenant ${party.id} has no signing key in use.`)
  return new SignJWT({ tid: party.id, jti: crypto.randomUUID(), ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: key.kid })
    .setIssuer(party.url)
    .setAudience(aud)
    .sign(await keyFor(key, 'private'))
}

/** The compact form of a signed token. jose also takes signatures with padding, which would give one token several spellings. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/** What nobody gets who sends a token that one of our keys signed. */
const FORGED = [
  errors.JWSInvalid,
  errors.JWTInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JWKSNoMatchingKey,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
]

type Verified = { key: SigningKey; url: string; bearer: Bearer }
const verified = new Map<string, Verified>()

/** A cached verification, if it still holds: not expired, and its key is still one of the party's. */
function remembered(party: Party, name: string): Bearer | null {
  const known = verified.get(name)
  if (!known || known.url !== party.url || known.bearer.expires_at.getTime() <= Date.now()) return null
  const { kid, public: jwk } = known.key
  return party.keys.some((key) => key.kid === kid && key.public.x === jwk.x && key.public.y === jwk.y) ? known.bearer : null
}

const urlsOf = (party: Party) => [party.url, ...(party.former_urls ?? [])]

/** The claims of a token that is valid now, and the key that signed it. Without `audience` it may be for whomever. */
async function checked(
  party: Party,
  token: string,
  audience?: string[],
): Promise<JWTPayload & { key: SigningKey; sub: string; sid: string }> {
  let key: SigningKey | undefined
  if (!COMPACT.test(token)) throw new errors.JWSInvalid()
  const { payload } = await jwtVerify(
    token,
    async ({ kid }) => {
      key = party.keys.find((k) => k.kid === kid)
      if (!key) throw new errors.JWKSNoMatchingKey()
      return keyFor(key, 'public')
    },
    {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: urlsOf(party),
      ...(audience && { audience }),
      clockTolerance: SKEW_SECONDS,
      requiredClaims: ['sub', 'sid', 'tid', 'exp', 'iat'],
    },
  )
  const { sub, sid, tid } = payload
  if (!key || !isUuid(sub) || !isUuid(sid) || tid !== party.id) throw new Problem('token_invalid')
  return { ...payload, key, sub, sid }
}

/**
 * The claims of an access token of this party that is valid now, also one for an API; null: it is none. `is_own`: it is for the
 * party itself.
 */
export async function inspect(party: Party, token: string) {
  const claims = await checked(party, token).catch(() => null)
  return claims && { ...claims, is_own: typeof claims.aud === 'string' && urlsOf(party).includes(claims.aud) }
}

/**
 * Verifies a token and returns its identity. Fails with token_invalid, token_expired or token_wrong_tenant. Valid signatures are
 * cached, because checking one is the most expensive part of a request: at most 1,000, the oldest is dropped. The database checks
 * whether the session is still active.
 */
export async function verify(party: Party, token: string): Promise<Bearer> {
  const name = `${party.id}:${token}`
  const known = remembered(party, name)
  if (known) return known
  try {
    const { key, sub, sid, exp, proof } = await checked(party, token, urlsOf(party))
    const bearer = {
      session_id: sid,
      user_id: sub,
      proof: typeof proof === 'string' ? proof : null,
      expires_at: new Date(Number(exp) * 1000),
    }
    if (verified.size >= 1000) verified.delete(verified.keys().next().value ?? '')
    verified.set(name, { key, url: party.url, bearer })
    return bearer
  } catch (error) {
    const tid = claimed(token)?.tid
    if (typeof tid === 'string' && tid !== party.id) throw new Problem('token_wrong_tenant')
    if (error instanceof errors.JWTExpired) throw new Problem('token_expired')
    if (error instanceof Problem) throw error
    throw new Problem('token_invalid', undefined, { cause: error, is_guess: FORGED.some((kind) => error instanceof kind) })
  }
}

/** The claims of a token, unverified: only for choosing the key that must then verify it. */
export function claimed(token: string): JWTPayload | null {
  try {
    return decodeJwt(token)
  } catch {
    return null
  }
}

const isUuid = (value: unknown): value is string =>
  typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)

/** A new opaque token: 32 random bytes in base64url. */
export const newToken = () => encodeBase64urlNoPadding(crypto.getRandomValues(new Uint8Array(32)))

/** A token sent by mail: 24 random bytes in base64url, 32 characters (seed 004: at most 40). */
export const newMailToken = () => encodeBase64urlNoPadding(crypto.getRandomValues(new Uint8Array(24)))

/** The stored form of an opaque token: its SHA-256, as Postgres writes bytea. */
export async function tokenHash(token: string): Promise<string> {
  return `\\x${encodeHexLowerCase(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))))}`
}

/** The only successor of a refresh token: HMAC-SHA-256 under the tenant's key, so that repeated requests return the same one. */
export async function successorOf(refresh_key: string, token: string): Promise<string> {
  const raw = new Uint8Array(decodeBase64urlIgnorePadding(refresh_key))
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(token))
  return encodeBase64urlNoPadding(new Uint8Array(mac))
}

/**
 * The key that authenticates the system to a realm's database (access.check_system). It is the successor of no token: those have
 * 43 characters.
 */
export const systemKeyOf = (refresh_key: string) => successorOf(refresh_key, 'system')
