/**
 * Verifies the ID token of a provider (OpenID Connect Core 1.0, section 3.1.3.7). Threat: a token that is forged, of another provider, for
 * another client, of another login, long over, or no ID token at all; a token that is signed by a public key as if that were a secret;
 * an address of somebody else that the provider never looked at. So only asymmetric signatures count, by the keys of this issuer; every
 * claim that says for whom and when it is must be there; and each type of provider has the rules that its documentation has.
 */
import { z } from '@hono/zod-openapi'
import { createLocalJWKSet, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import { tokenHash } from '../kernel/token.ts'
import { Email } from '../names/addresses.ts'
import { Locale } from '../users/fields.ts'
import { usernameFrom } from '../users/username.ts'
import { type Asker, type Documents, documentsOf, TENANT } from './documents.ts'

/** The settings of a provider, as access.begin_external_login has them. */
export type ProviderSettings = {
  id: string
  name: string
  type: 'oidc' | 'google' | 'entra' | 'cognito' | 'firebase'
  issuer: string
  client_id: string
  client_secret_encrypted: string | null
  claims: { email?: string; given_name?: string; family_name?: string; roles?: string }
  allowed_domains: string[]
  trusts_emails: boolean
  mfa_values: string[]
  updated_at: string
  /** What the settings of risk want for a login. Missing from a database that is a version behind. */
  mails_code?: boolean
}

/** Who somebody is at a provider, as access.finish_external_login takes it. */
export type Identity = {
  issuer: string
  subject: string
  email: string | null
  email_verified: boolean
  given_name: string | null
  family_name: string | null
  username: string | null
  locale: string | null
  roles: string[]
  is_mfa: boolean
}
export type Verified = { identity: Identity; token_hash: string; expires_at: Date }

/** Why a token is not taken: for the log and the audit, never for the caller. */
export class NotAccepted extends Error {}

export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/
export const SKEW_SECONDS = 60
/** Of Cognito, whose tokens live longest. A longer life would have to be remembered as long, for each token. */
const LONGEST_SECONDS = 86_400 + SKEW_SECONDS
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What a token has to be beside being the provider's: it answers the `nonce` of a login; undefined: none was sent with it. */
export async function verifyIdToken(
  asker: Asker,
  provider: ProviderSettings,
  token: string,
  nonce: string | undefined,
): Promise<Verified> {
  if (!COMPACT.test(token)) throw new NotAccepted('not_a_token')
  const documents = await documentsOf(asker, provider, kidOf(token))
  const payload = await verified(documents, token, provider.client_id)
  const { sub, iat = 0, exp = 0 } = payload
  const now = Math.floor(Date.now() / 1000)
  checkIssuer(provider, documents, payload, token)
  if (typeof sub !== 'string' || sub === '' || sub.length > 255 || !sub.isWellFormed() || sub.includes('\0'))
    throw new NotAccepted('no_subject')
  // Where `azp` is, it is who asked for the token; a token for several has to say who.
  const is_for_several = Array.isArray(payload.aud) && payload.aud.length > 1
  if ((payload.azp !== undefined || is_for_several) && payload.azp !== provider.client_id) throw new NotAccepted('wrong_party')
  if (iat > now + SKEW_SECONDS) throw new NotAccepted('of_the_future')
  if (exp - now > LONGEST_SECONDS) throw new NotAccepted('lives_too_long')
  if (payload.nonce !== nonce && !(provider.type === 'firebase' && payload.nonce === undefined))
    throw new NotAccepted('wrong_nonce')
  // Firebase's login by an SDK has no nonce; everywhere else a token without one answers no login.
  if (nonce === undefined && provider.type !== 'firebase') throw new NotAccepted('no_nonce')
  checkType(provider, payload, now)
  const identity = identityIn(provider, payload, sub)
  const domain = identity.email?.split('@')[1] ?? ''
  if (provider.allowed_domains.length && !(identity.email_verified && provider.allowed_domains.includes(domain)))
    throw new NotAccepted('domain_not_allowed')
  // Of what was signed: a signature may have several spellings.
  return { identity, token_hash: await tokenHash(token.slice(0, token.lastIndexOf('.'))), expires_at: new Date(exp * 1000) }
}

function kidOf(token: string): string | undefined {
  try {
    const { kid, alg = '', typ } = decodeProtectedHeader(token)
    if (!ALGORITHMS.includes(alg)) throw new NotAccepted('wrong_algorithm')
    if (typ !== undefined && !/^(application\/)?jwt$/i.test(typ)) throw new NotAccepted('wrong_type')
    return kid
  } catch (error) {
    throw error instanceof NotAccepted ? error : new NotAccepted('not_a_token')
  }
}

async function verified(documents: Documents, token: string, audience: string): Promise<JWTPayload> {
  const keys = createLocalJWKSet({ keys: documents.keys })
  try {
    const requiredClaims = ['iss', 'sub', 'aud', 'exp', 'iat']
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ALGORITHMS,
      audience,
      requiredClaims,
      clockTolerance: SKEW_SECONDS,
    })
    return payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new NotAccepted('expired')
    if (error instanceof errors.JWTClaimValidationFailed) throw new NotAccepted(`wrong_${error.claim}`)
    // Also of a key that WebCrypto does not take: it is the provider's.
    throw new NotAccepted('wrong_signature')
  }
}

/** Google's tokens of before 2014 name it without https://, and it still says that they may. */
const GOOGLE = ['https://accounts.google.com', 'accounts.google.com']

export function checkIssuer(
  { type }: Pick<ProviderSettings, 'type'>,
  documents: Documents,
  payload: JWTPayload,
  token: string,
): void {
  const { issuer } = documents
  if (!issuer.includes(TENANT)) {
    if (payload.iss !== issuer && !(type === 'google' && GOOGLE.includes(issuer) && GOOGLE.includes(payload.iss ?? '')))
      throw new NotAccepted('wrong_iss')
    return
  }
  // The metadata of Entra for many organizations: each has an issuer of its own, whose id is a claim.
  const tid = typeof payload.tid === 'string' && GUID.test(payload.tid) ? payload.tid : null
  if (tid === null || payload.iss !== issuer.replace(TENANT, tid)) throw new NotAccepted('wrong_iss')
  const key = documents.keys.find(({ kid }) => kid === decodeProtectedHeader(token).kid)
  if (key?.issuer !== undefined && key.issuer.replace(TENANT, tid) !== payload.iss) throw new NotAccepted('key_of_another')
}

function checkType({ type }: ProviderSettings, payload: JWTPayload, now: number): void {
  // An access token of Cognito has no `aud`, and is for whatever its client may do.
  if (type === 'cognito' && payload.token_use !== 'id') throw new NotAccepted('wrong_token_use')
  if (type === 'firebase' && !(typeof payload.auth_time === 'number' && payload.auth_time <= now + SKEW_SECONDS))
    throw new NotAccepted('wrong_auth_time')
}

const Person = z
  .string()
  .normalize('NFC')
  .trim()
  .min(1)
  .max(255)
  .regex(/^\P{C}*$/u)
const orNull = <T>(schema: z.ZodType<T>, value: unknown): T | null => schema.safeParse(value).data ?? null
const isTrue = (claim: unknown) => claim === true || claim === 'true' || claim === 1 || claim === '1'
const listOf = (claim: unknown) => (Array.isArray(claim) ? claim : [claim]).filter((one) => typeof one === 'string').slice(0, 500)

function identityIn(provider: ProviderSettings, payload: JWTPayload, subject: string): Identity {
  const { claims, mfa_values } = provider
  const email = orNull(Email, payload[claims.email ?? 'email'])
  const methods = [...listOf(payload.amr), ...listOf(payload.acr)]
  return {
    issuer: String(payload.iss),
    subject,
    email,
    email_verified: email !== null && isVerified(provider, payload, email),
    given_name: orNull(Person, payload[claims.given_name ?? 'given_name']),
    family_name: orNull(Person, payload[claims.family_name ?? 'family_name']),
    username: email && usernameFrom(email),
    locale: orNull(Locale, payload.locale),
    roles: listOf(payload[claims.roles ?? 'roles']),
    is_mfa: mfa_values.some((value) => methods.includes(value)),
  }
}

/** Whether the provider has seen that the address is theirs, as far as its documentation says so. */
function isVerified({ type, claims, trusts_emails }: ProviderSettings, payload: JWTPayload, email: string): boolean {
  if (trusts_emails) return true
  // What verifies `email` verifies no other claim.
  if (claims.email !== undefined && claims.email !== 'email') return false
  // Whoever administers a directory writes there what they like. `xms_edov`: the domain is proven to be the directory's.
  if (type === 'entra') return isTrue(payload.xms_edov)
  // Google answers for its own addresses, and those of an organization (`hd`); others may have changed hands since.
  if (type === 'google')
    return isTrue(payload.email_verified) && (email.endsWith('@gmail.com') || payload.hd === email.split('@')[1])
  return isTrue(payload.email_verified)
}
