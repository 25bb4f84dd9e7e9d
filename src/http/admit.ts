/**
 * Authenticates the caller before a handler runs. Threat: a route that forgets to authenticate, one credential that is taken for
 * another, an API key that does what only a user may. A handler that answers without an admission fails.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { ApiKeyCredential } from '../kernel/api-key.ts'
import { makeCtx, type Need, type Realm } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { type Bearer, verify } from '../kernel/token.ts'
import type { AppEnv } from './app-env.ts'
import { accessTokenOf, ownHost, selectAccount } from './cookies.ts'
import { apiKey, readCredential } from './credential.ts'

type Caller = { bearer: Bearer | null; key: ApiKeyCredential | null }
const NOBODY: Caller = { bearer: null, key: null }

/** The context of this request: the caller, and what the route requires. */
export const contextFor = (c: Context<AppEnv>, need: Need, caller: Caller) =>
  makeCtx({
    config: c.get('config'),
    realm: c.get('realm'),
    reloadRealm: c.get('reloadRealm'),
    reportActivity: c.get('reportActivity'),
    countUse: c.get('countUse'),
    request: c.get('facts'),
    need,
    ...caller,
    later: (work) => c.executionCtx.waitUntil(work),
  })

/** A public endpoint: no credential is read. */
export const withoutAdmission = createMiddleware<AppEnv>(async (c, next) => {
  c.set('ctx', contextFor(c, { permission: null, any_password: false }, NOBODY))
  await next()
})

/** Requires one credential: a token, a key, or a cookie. `by: 'session'` refuses keys. */
export const requireCredential = (need: Need, by: 'session' | undefined) =>
  createMiddleware<AppEnv>(async (c, next) => {
    c.set('ctx', contextFor(c, need, NOBODY))
    const held = selectAccount(c.req.raw, ownHost({ subdomain: c.get('subdomain'), realm: c.get('realm') }))
    if (held) c.set('account', held.account)
    const presented = held ? { token: accessTokenOf(held) } : readCredential(c.req.raw.headers)
    const caller =
      'key' in presented
        ? { bearer: null, key: await apiKey(presented.key) }
        : { bearer: await authenticate(c.get('realm'), c.get('reloadRealm'), presented.token), key: null }
    if (held && caller.bearer?.user_id !== held.account)
      throw new Problem('token_invalid', 'This cookie belongs to another account.')
    c.set('ctx', contextFor(c, need, caller))
    if (caller.key && by === 'session') throw new Problem('forbidden', 'This cannot be done with an API key: log in.')
    await next()
    // Fail closed: a handler that never asked the database must not succeed.
    if (c.res.ok && !c.get('ctx').principal) throw new Error(`${c.req.method} ${c.req.path} answered without an admission.`)
  })

/** When each realm was last reloaded for an unknown key id: at most every 10 s, so that garbage tokens do not load the master. */
const reloaded = new Map<string, number>()

async function authenticate(realm: Realm, reloadRealm: () => Promise<Realm | null>, token: string): Promise<Bearer> {
  try {
    return await verify(realm, token)
  } catch (error) {
    const unknownKey =
      error instanceof Problem &&
      error.cause instanceof Error &&
      'code' in error.cause &&
      error.cause.code === 'ERR_JWKS_NO_MATCHING_KEY'
    if (!unknownKey || Date.now() - (reloaded.get(realm.id) ?? 0) < 10_000) throw error
    if (reloaded.size >= 1000) reloaded.clear()
    reloaded.set(realm.id, Date.now())
    const fresh = await reloadRealm()
    if (!fresh) throw error
    return verify(fresh, token)
  }
}
