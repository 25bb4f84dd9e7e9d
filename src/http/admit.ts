/**
 * Who asks, found out before a route is reached. Threat: a route that forgets to ask, one credential that is taken for another, a key that does what
 * only a person may. A handler that answers without an admission fails.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { ApiKey } from '../kernel/api-key.ts'
import { makeCtx, type Need, type Realm } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { type Bearer, verify } from '../kernel/token.ts'
import type { AppEnv } from './app-env.ts'
import { accessTokenOf, ownHost, selectAccount } from './cookies.ts'
import { apiKey, readCredential } from './credential.ts'

type Caller = { bearer: Bearer | null; key: ApiKey | null }
const NOBODY: Caller = { bearer: null, key: null }

/** What a verb gets to know of this request, by whom and with what need. */
export const contextFor = (c: Context<AppEnv>, need: Need, who: Caller) =>
  makeCtx({
    config: c.get('config'),
    realm: c.get('realm'),
    reloadRealm: c.get('reloadRealm'),
    reportActivity: c.get('reportActivity'),
    countUse: c.get('countUse'),
    request: c.get('facts'),
    need,
    ...who,
    later: (work) => c.executionCtx.waitUntil(work),
  })

/** An anonymous door. */
export const withoutAdmission = createMiddleware<AppEnv>(async (c, next) => {
  c.set('ctx', contextFor(c, { permission: null, any_password: false }, NOBODY))
  await next()
})

/** Who shows one credential: a token, a key, or a cookie. `by: 'session'` refuses keys. */
export const requireCredential = (need: Need, by: 'session' | undefined) =>
  createMiddleware<AppEnv>(async (c, next) => {
    c.set('ctx', contextFor(c, need, NOBODY))
    const held = selectAccount(c.req.raw, ownHost(c.var))
    if (held) c.set('account', held.account)
    const shown = held ? { token: accessTokenOf(held) } : readCredential(c.req.raw.headers)
    const who =
      'key' in shown
        ? { bearer: null, key: await apiKey(shown.key) }
        : { bearer: await authenticate(c.get('realm'), c.get('reloadRealm'), shown.token), key: null }
    if (held && who.bearer?.user_id !== held.account) throw new Problem('token_invalid', 'This cookie is of another account.')
    c.set('ctx', contextFor(c, need, who))
    if (who.key && by === 'session') throw new Problem('forbidden', 'This cannot be done with an API key: log in.')
    await next()
    // Default closed: a handler that forgot to ask the database must not have answered.
    if (c.res.ok && !c.get('ctx').principal) throw new Error(`${c.req.method} ${c.req.path} answered without an admission.`)
  })

/** When each realm was last asked for a key that nobody knew: at most every 10 s, so that garbage tokens do not load the master. */
const asked = new Map<string, number>()

async function authenticate(realm: Realm, again: () => Promise<Realm | null>, token: string): Promise<Bearer> {
  try {
    return await verify(realm, token)
  } catch (error) {
    const unknownKey =
      error instanceof Problem &&
      error.cause instanceof Error &&
      'code' in error.cause &&
      error.cause.code === 'ERR_JWKS_NO_MATCHING_KEY'
    if (!unknownKey || Date.now() - (asked.get(realm.id) ?? 0) < 10_000) throw error
    if (asked.size >= 1000) asked.clear()
    asked.set(realm.id, Date.now())
    const fresh = await again()
    if (!fresh) throw error
    return verify(fresh, token)
  }
}
