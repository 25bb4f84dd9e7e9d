/**
 * Access tokens of providers as credentials: `Authorization: Bearer` with a token of an issuer whose tokens the tenant takes. Threat: a token
 * that is forged, of another issuer, for another client, long over, or an ID token, which an app hands on and which is no credential; and
 * somebody who makes the Worker look up issuers for each request. So a token must say that it is an access token for this client or
 * tenant, as the documentation of its provider has it; and an isolate reads whose tokens count at most once in 30 seconds. What it keeps
 * says where keys are: whether the provider, the identity and the user still count, the admission asks with each request (bearer.sql).
 */
import { sql } from 'drizzle-orm'
import { createLocalJWKSet, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import type { Elsewhere } from '../http/plane.ts'
import { share, sharedByRealm } from '../http/shared.ts'
import type { Realm } from '../kernel/context.ts'
import { build, connect } from '../kernel/db.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { type Bearer, claimed } from '../kernel/token.ts'
import { documentsOf } from './documents.ts'
import { ALGORITHMS, checkIssuer, NotAccepted, type ProviderSettings, SKEW_SECONDS } from './id-token.ts'

type Accepted = Pick<ProviderSettings, 'id' | 'name' | 'type' | 'issuer' | 'client_id'>

/** Within which a provider that is switched on is known to every isolate. One that is switched off is refused at once. */
const FRESH_MS = 30_000
const PATIENCE_MS = 3_000
const MOST_REALMS = 1_000
const LONGEST_SECONDS = 86_400 + SKEW_SECONDS
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const memory = sharedByRealm<Accepted[]>(MOST_REALMS, [])

/**
 * Who an access token of a provider is of; null: it is of no issuer whose tokens the tenant takes. No round trip but a look-up in 30
 * seconds, beside the request. Fails with token_invalid, token_expired, provider_unavailable.
 */
export async function bearerElsewhere(asker: Elsewhere, token: string): Promise<Bearer | null> {
  const { realm, later } = asker
  const claims = claimed(token)
  if (typeof claims?.iss !== 'string' || claims.tid === realm.id || [realm.url, ...realm.former_urls].includes(claims.iss))
    return null
  const known = await share(memory.of(realm.id), FRESH_MS, () => acceptedBy(realm), later)
  const provider = known.find((one) => isOf(one, claims) && isFor(realm, one, claims))
  if (!provider) return null
  try {
    const { iss, sub, exp } = await verified(asker, provider, token)
    const external = { provider: provider.id, issuer: iss, subject: sub, system_key: realm.system_key }
    const name = `${provider.id}:${sub}`
    return { session_id: name, user_id: name, proof: null, expires_at: new Date(exp * 1000), external }
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error
    log('token of a provider refused', { tenant: realm.subdomain, provider: provider.name, why: error.message })
    if (error.message === 'expired') throw new Problem('token_expired')
    throw new Problem('token_invalid', undefined, { cause: error, is_guess: error.message === 'wrong_signature' })
  }
}

/** A database that is a version behind takes no such tokens, and one that does not answer says so to the request itself. */
async function acceptedBy({ id, system_key, subdomain, database_url }: Realm): Promise<Accepted[]> {
  if (subdomain === null) return []
  const asked = build.execute(sql`select access.token_providers(${id}, ${system_key}) as providers`)
  const answers: unknown[] = await connect(database_url, PATIENCE_MS, true).batch([asked])
  return (answers.at(-1) as { rows: { providers: Accepted[] }[] }).rows[0]?.providers ?? []
}

/** Whether a token says that it is of this issuer; that of Entra for many organizations has a place for each (documents.ts). */
const isOf = ({ type, issuer }: Accepted, { iss, tid }: JWTPayload) =>
  iss === issuer ||
  (type === 'entra' &&
    typeof tid === 'string' &&
    GUID.test(tid) &&
    iss === issuer.replace(/\/(common|organizations|consumers)\//, `/${tid}/`))

/**
 * Whether a token says that it is for the client of the provider, or for this tenant: a tenant may have several clients of one issuer. Access
 * tokens of Cognito have no `aud`.
 */
function isFor({ url }: Realm, { type, client_id }: Accepted, payload: JWTPayload): boolean {
  if (type === 'cognito') return payload.client_id === client_id
  const audiences = [payload.aud ?? []].flat()
  return audiences.includes(client_id) || (type === 'oidc' && audiences.includes(url))
}

async function verified(asker: Elsewhere, provider: Accepted, token: string) {
  const { kid, alg = '', typ = '' } = decodeProtectedHeader(token)
  if (!ALGORITHMS.includes(alg)) throw new NotAccepted('wrong_algorithm')
  const documents = await documentsOf(asker, provider, kid)
  const payload = await signed(createLocalJWKSet({ keys: documents.keys }), token)
  checkIssuer(provider, documents, payload, token)
  const { iss, sub, iat = 0, exp = 0 } = payload
  const now = Math.floor(Date.now() / 1000)
  if (
    typeof iss !== 'string' ||
    typeof sub !== 'string' ||
    sub === '' ||
    sub.length > 255 ||
    !sub.isWellFormed() ||
    sub.includes('\0')
  )
    throw new NotAccepted('no_subject')
  if (iat > now + SKEW_SECONDS) throw new NotAccepted('of_the_future')
  if (exp - now > LONGEST_SECONDS) throw new NotAccepted('lives_too_long')
  if (!isAccessToken(provider, payload, typ)) throw new NotAccepted('no_access_token')
  return { iss, sub, exp }
}

async function signed(keys: ReturnType<typeof createLocalJWKSet>, token: string): Promise<JWTPayload> {
  try {
    const requiredClaims = ['iss', 'sub', 'exp', 'iat']
    return (await jwtVerify(token, keys, { algorithms: ALGORITHMS, requiredClaims, clockTolerance: SKEW_SECONDS })).payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new NotAccepted('expired')
    if (error instanceof errors.JWTClaimValidationFailed) throw new NotAccepted(`wrong_${error.claim}`)
    throw new NotAccepted('wrong_signature')
  }
}

/** What tells an access token of each type from an ID token, which has the same issuer, keys and, but for Cognito, the same `aud`. */
function isAccessToken({ type }: Accepted, payload: JWTPayload, typ: string): boolean {
  if (type === 'cognito') return payload.token_use === 'access'
  if (type === 'entra') return typeof payload.scp === 'string'
  // Firebase has no other tokens, and documents these for the servers of an app.
  if (type === 'firebase') return typeof payload.auth_time === 'number'
  return type === 'oidc' && /^(application\/)?at\+jwt$/i.test(typ)
}
