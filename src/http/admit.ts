/**
 * Authenticates the caller before a handler runs. Threat: a route that forgets to authenticate, one credential that is taken for
 * another, an API key that does what only a user may. A handler that answers without an admission fails.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { ApiKeyCredential } from '../kernel/api-key.ts'
import { type Ctx, makeCtx, type Need, type Realm, type StepUp } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { type Bearer, claimed, verify } from '../kernel/token.ts'
import type { AppEnv } from './app-env.ts'
import { ring } from './bells.ts'
import { accessTokenOf, ownHost, selectAccount } from './cookies.ts'
import { apiKey, readCredential } from './credential.ts'
import { failuresOf, limitPrincipal, tellPolicy } from './rate-limit.ts'

type Caller = { bearer: Bearer | null; key: ApiKeyCredential | null }
export const NOBODY: Caller = { bearer: null, key: null }

/** The context of this request: the caller, and what the route requires. */
export function contextFor(c: Context<AppEnv>, need: Need, caller: Caller): Ctx {
  const ctx = makeCtx({
    config: c.get('config'),
    realm: c.get('realm'),
    reloadRealm: c.get('reloadRealm'),
    reportActivity: c.get('reportActivity'),
    countUse: c.get('countUse'),
    ring: (rung) => ring(c, rung),
    request: c.get('facts'),
    need,
    ...caller,
    later: (work) => c.executionCtx.waitUntil(work),
  })
  return c.get('askingHooks')?.(ctx) ?? ctx
}

/** What a route requires of the admission, as it declares it. */
export const needOf = ({ permission = null, any_password = false, only_reads = false, fresh, aal }: Partial<Need>): Need => ({
  permission,
  any_password,
  only_reads,
  fresh: fresh ?? null,
  aal: aal ?? null,
})

/** For so many minutes after a login, or a step-up, a session does what asks for a fresh one. */
export const FRESH = 10

/** Two factors, of who has set up a second one; nobody else is asked (src/access/admission.sql). */
export const TWO_IF_ANY = -2

/** What a session lacks that is asked to step up, as RFC 9470 section 3 has it. `aal1` and `aal2` are the `acr` of our tokens. */
export const stepUpChallenge = ({ fresh, aal }: StepUp): string =>
  `Bearer realm="freehold", error="insufficient_user_authentication", error_description="A newer or stronger login is needed", acr_values="aal${aal ?? 1}"${fresh ? `, max_age="${fresh * 60}"` : ''}`

/** What a refused session was asked for: of two factors where there are any, the database knows whether there are. */
export const askedOf = (need: StepUp, refusal: Error | undefined): StepUp =>
  need.aal === TWO_IF_ANY ? { fresh: need.fresh ?? null, aal: /second factor/.test(refusal?.message ?? '') ? 2 : 1 } : need

/** A public endpoint: no credential is read. */
export const withoutAdmission = createMiddleware<AppEnv>(async (c, next) => {
  c.set('ctx', contextFor(c, { permission: null, any_password: false }, NOBODY))
  await next()
})

/**
 * A public endpoint that who is logged in asks as themselves: with a token, or a cookie that X-Account names. A cookie alone says
 * nothing, because a browser sends it whoever is meant. Fails as `requireCredential` does.
 */
export const sessionIfAny = createMiddleware<AppEnv>((c, next) => {
  const { headers } = c.req.raw
  const is_sent = ['Authorization', 'X-API-Key', 'X-Account'].some((name) => headers.has(name))
  return (is_sent ? requireCredential(needOf({}), 'session') : withoutAdmission)(c, next)
})

/**
 * Keys that their database admitted in this isolate, by realm and hash; at most 1,000. Where somebody in their network invents keys,
 * these go on. Whether one still works the database decides.
 */
const admitted = new Set<string>()
const MOST_ADMITTED = 1_000

/**
 * Requires one credential: a token, a key, or a cookie. `by: 'session'` refuses keys, and sessions in which somebody acts as their
 * user, whose token says so; `any-session` refuses keys alone. Limits what its user or key asks, and how often
 * a network shows one that nobody has: all before the body is read.
 */
export const requireCredential = (need: Need, by: 'session' | 'any-session' | undefined) =>
  createMiddleware<AppEnv>(async (c, next) => {
    c.set('ctx', contextFor(c, need, NOBODY))
    const held = selectAccount(c.req.raw, ownHost({ subdomain: c.get('subdomain'), realm: c.get('realm') }))
    if (held) c.set('account', held.account)
    const presented = held ? { token: accessTokenOf(held) } : readCredential(c.req.raw.headers)
    const caller =
      'key' in presented
        ? { bearer: null, key: await apiKey(presented.key) }
        : {
            bearer: (!held && (await c.get('bearerElsewhere')?.(presented.token))) || (await authenticate(c, presented.token)),
            key: null,
          }
    if (held && caller.bearer?.user_id !== held.account)
      throw new Problem('token_invalid', 'This cookie belongs to another account.')
    c.set('ctx', contextFor(c, need, caller))
    const failures = caller.key && failuresOf(c, 'key')
    const name = `${c.get('realm').id}:${caller.key?.hash}`
    if (!admitted.has(name)) failures?.refuse()
    await limitPrincipal(c, caller)
    if (caller.key && by) throw new Problem('forbidden', 'This cannot be done with an API key: log in.')
    if (caller.bearer?.external && by) throw new Problem('forbidden', 'This cannot be done with a token of a provider: log in.')
    if ('token' in presented && by === 'session' && claimed(presented.token)?.act)
      throw new Problem('forbidden', 'This cannot be done while you impersonate somebody.')
    await next()
    if (c.error instanceof Problem && c.error.code === 'step_up_required')
      c.res.headers.set('WWW-Authenticate', stepUpChallenge(askedOf(need, c.error)))
    tellPolicy(c, 'PRINCIPALS')
    await failures?.count(c.error)
    if (failures && c.get('ctx').principal) remember(name)
    // Fail closed: a handler that never asked the database must not succeed.
    if (c.res.ok && !c.get('ctx').principal) throw new Error(`${c.req.method} ${c.req.path} answered without an admission.`)
  })

/** When each realm was last reloaded for an unknown key id or name: at most every 10 s, so that garbage tokens do not load the master. */
const reloaded = new Map<string, number>()

/**
 * The identity in a token. One that is not valid counts as a failure of its network, and beyond the limit is refused as such; those
 * that are valid go on, because to tell them costs no round trip. Fails as `verify` does, and with rate_limited.
 */
export async function authenticate(c: Context<AppEnv>, token: string): Promise<Bearer> {
  try {
    return await verifyReloaded(c.get('realm'), c.get('reloadRealm'), token)
  } catch (error) {
    if (error instanceof Problem && error.is_guess) {
      const failures = failuresOf(c, 'token')
      failures.refuse()
      await failures.count(error)
    }
    throw error
  }
}

async function verifyReloaded(realm: Realm, reloadRealm: () => Promise<Realm | null>, token: string): Promise<Bearer> {
  try {
    return await verify(realm, token)
  } catch (error) {
    const cause = error instanceof Problem ? (error.cause as { code?: string; claim?: string } | undefined) : undefined
    // One of our keys, and another name: the realm was renamed, or has gone back to a name, and this location has not heard of it.
    const isOfOtherName = cause?.code === 'ERR_JWT_CLAIM_VALIDATION_FAILED' && cause.claim === 'iss'
    const isOfUnknownKey = cause?.code === 'ERR_JWKS_NO_MATCHING_KEY'
    if (!(isOfUnknownKey || isOfOtherName) || Date.now() - (reloaded.get(realm.id) ?? 0) < 10_000) throw error
    if (reloaded.size >= 1000) reloaded.clear()
    reloaded.set(realm.id, Date.now())
    const fresh = await reloadRealm()
    if (!fresh) throw error
    return verify(fresh, token)
  }
}

function remember(name: string): void {
  if (admitted.has(name)) return
  if (admitted.size >= MOST_ADMITTED) admitted.delete(admitted.values().next().value ?? '')
  admitted.add(name)
}
