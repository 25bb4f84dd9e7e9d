/**
 * Verifies access tokens of Freehold where they are used, without asking Freehold for each request (RFC 9068). Threat: tokens that are
 * forged, expired, of another tenant, or for another API. So the algorithm is fixed, the issuer is the tenant that the request is for,
 * and the audience is compared. What a token says was true when it was made: `online` asks what is true now.
 */
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose'
import { keyStore } from './keys.ts'
import { Refusal } from './refusal.ts'
import type { Asked, Caller, PermissionOptions, Verifier, VerifierOptions } from './types.ts'

export { type ExpressNext, type ExpressRequest, type ExpressResponse, forExpress, forHono, type HonoContext } from './adapters.ts'
export { Refusal, type RefusalCode } from './refusal.ts'
export type { Asked, Caller, PermissionOptions, Verifier, VerifierOptions } from './types.ts'

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const TIMEOUT_MS = 5_000

/** Makes a verifier; one for the whole server, because it keeps keys. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { audience, clock_tolerance = 10, api_key } = options
  const platform = new URL(options.platform)
  const ask = options.fetch ?? ((url: string, init: RequestInit) => fetch(url, init))
  const keysOf = keyStore(ask)

  /** Whom this verifier verified. That something is shaped like a caller says nothing: other middleware sets `claims`, too. */
  const callers = new WeakSet<object>()
  /** What came of each request, so that several middlewares verify it once. */
  const known = new WeakMap<object, Promise<Caller>>()

  const verifyOnce = async (request: Asked): Promise<Caller> => {
    const token = bearerOf(request)
    const tenant = typeof options.tenant === 'function' ? await options.tenant(request) : options.tenant
    if (tenant === null || !LABEL.test(tenant)) throw new Refusal('token_wrong_tenant')
    const issuer = issuerOf(platform, tenant)
    try {
      const { payload } = await jwtVerify(token, keysOf(`${issuer}/.well-known/jwks.json`), {
        algorithms: ['ES256'],
        typ: 'at+jwt',
        issuer,
        audience: audience ?? issuer,
        clockTolerance: clock_tolerance,
        requiredClaims: ['sub', 'tid', 'exp', 'iat'],
      })
      const caller = callerOf(payload, tenant, token)
      callers.add(caller)
      return caller
    } catch (error) {
      if (error instanceof Refusal) throw error
      throw new Refusal(codeOf(error, token, issuer), { cause: error })
    }
  }

  const verify = (request: Asked): Promise<Caller> => {
    const before = known.get(request)
    if (before) return before
    const verifying = verifyOnce(request)
    known.set(request, verifying)
    return verifying
  }

  /** What the service says of a permission, in one request. */
  const isAllowed = async (caller: Caller, permission: string, resource?: PermissionOptions['resource']): Promise<boolean> => {
    const check = { permission, ...(api_key !== undefined && { user_id: caller.sub }), ...(resource && { resource }) }
    const credential = api_key === undefined ? { Authorization: `Bearer ${caller.token}` } : { 'X-API-Key': api_key }
    const answer = await ask(`${issuerOf(platform, caller.tenant)}/api/v1/authz/check`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...credential },
      body: JSON.stringify({ checks: [check] }),
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).catch((cause) => {
      throw new Refusal('unavailable', { cause })
    })
    const said = (await answer.json().catch(() => null)) as { results?: { allowed?: unknown }[] } | null
    // The session ended, or its user may no longer do anything.
    if (answer.status === 401 && api_key === undefined) throw new Refusal('token_invalid', { cause: said })
    if (answer.status === 403 && api_key === undefined) return false
    const result = answer.ok ? said?.results?.[0] : undefined
    if (typeof result?.allowed !== 'boolean') throw new Refusal('unavailable', { cause: said ?? answer.status })
    return result.allowed
  }

  return {
    verify,
    requirePermission: async (request, permission, { online, resource } = {}) => {
      if (resource && online === false) throw new TypeError('A resource is known to the service alone: leave online out.')
      const caller = callers.has(request) ? (request as Caller) : await verify(request as Asked)
      const isSaid = caller.permissions.includes(permission)
      const isAsked = online ?? (resource !== undefined || (!isSaid && caller.permissions_truncated))
      if (!(isAsked ? await isAllowed(caller, permission, resource) : isSaid)) throw new Refusal('forbidden', { permission })
      return caller
    },
  }
}

const issuerOf = ({ protocol, host }: URL, tenant: string) => `${protocol}//${tenant}.${host}`

/** The token of a request. API keys are for Freehold alone. */
function bearerOf({ headers }: Asked): string {
  const given =
    typeof headers.get === 'function' ? headers.get('Authorization') : (headers as Record<string, unknown>).authorization
  const [, token] = /^Bearer +([\w.~+/=-]+)$/i.exec(typeof given === 'string' ? given : '') ?? []
  if (token === undefined) throw new Refusal(given ? 'token_invalid' : 'token_missing')
  return token
}

function callerOf(claims: JWTPayload, tenant: string, token: string): Caller {
  const text = (name: string) => (typeof claims[name] === 'string' ? claims[name] : null)
  const list = (name: string) => (Array.isArray(claims[name]) ? claims[name].map(String) : [])
  return {
    sub: String(claims.sub),
    tenant,
    tenant_id: String(claims.tid),
    session_id: text('sid'),
    client_id: text('client_id'),
    username: text('username'),
    email: text('email'),
    role: text('role'),
    roles: list('roles'),
    permissions: list('permissions'),
    // A token without the list says nothing about permissions.
    permissions_truncated: claims.permissions_truncated === true || !Array.isArray(claims.permissions),
    scope: text('scope')?.split(' ').filter(Boolean) ?? [],
    token,
    claims,
  }
}

/** What is wrong with a token that was not verified. Its own words decide only how it is refused. */
function codeOf(error: unknown, token: string, issuer: string) {
  if (error instanceof errors.JWTExpired) return 'token_expired'
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud') return 'token_wrong_audience'
  return isOfAnother(token, issuer) ? 'token_wrong_tenant' : 'token_invalid'
}

function isOfAnother(token: string, issuer: string): boolean {
  try {
    const { iss } = decodeJwt(token)
    return typeof iss === 'string' && iss !== issuer
  } catch {
    return false
  }
}
