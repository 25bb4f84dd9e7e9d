/**
 * Resolves the realm of a request. Each plane (tenant, platform) does so in its own way. The two ways, and the counter of API key
 * uses, belong to rooms above this one, so app.ts passes them in.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import type { Config } from '../kernel/config.ts'
import type { Ctx, Realm } from '../kernel/context.ts'
import { toProblem } from '../kernel/db.ts'
import type { Env, Meter } from '../kernel/env.ts'
import type { Bearer } from '../kernel/token.ts'
import { withoutAdmission } from './admit.ts'
import type { AppEnv } from './app-env.ts'
import { isPreflight, type Looker, lookerOf, preflight, withPage } from './cors.ts'
import { failuresOf } from './rate-limit.ts'
import { answerMoved, type Moved } from './renamed.ts'

/** From how long before its end on callers are told of a license. */
const WARNED_MS = 30 * 24 * 60 * 60_000

/** What the answers of a tenant say of its license, from 30 days before its end on. */
function licenseHeader({ license }: Realm): string | null {
  if (!license || Date.parse(license.licensed_until) - Date.now() > WARNED_MS) return null
  const until = `expires="${license.licensed_until}", read-only-from="${license.read_only_from}"`
  return Date.parse(license.read_only_from) <= Date.now() ? `${until}, read-only` : until
}

/**
 * What a request may have written to the audit; of those that read, an export writes. What was undone wrote nothing, and what is recorded
 * after an answer is that it was refused.
 */
function deedOf(c: Context<AppEnv>, is_committed: boolean): Deed {
  if (c.error || !is_committed) return 'refused'
  return /^(GET|HEAD)$/.test(c.req.method) && !/export/.test(c.req.path) ? 'read' : 'wrote'
}

type Deed = 'wrote' | 'refused' | 'read'

/** The parts of a request that a plane may use. */
export type PlaneRequest = {
  env: Env
  config: Config
  meter: Meter
  headers: Headers
  is_preflight: boolean
  /** The route takes no credential, so nothing verifies one that is sent. */
  is_public: boolean
  /** The subdomain in the host of the request; null on the base domain. */
  subdomain: string | null
  /** Fails with rate_limited when the network of the request asked for too many tenants that nobody has. */
  limitUnknown: () => void
}

export type AdmitsPage = (realm: Realm, origin: string, looker: Looker) => Promise<boolean>

/** The realm of a request, and how to load it. */
export type RealmSource = {
  /** Origins of the realm's own pages, known before it is loaded: they may also read why it could not be loaded. */
  origins: string[]
  /** Where it is now, for a request that names it as it was called before. */
  realm: () => Promise<Realm | Moved>
  /** Whether pages of an origin may call a realm that does not list it, by its settings. */
  admitsPage: AdmitsPage
  /** Loads the realm again, bypassing all caches. */
  reloadRealm: () => Promise<Realm | null>
  /** Reports activity in the realm, and what it may have written, so that maintenance includes it; null if that was reported already. */
  reportActivity: (realm: Realm, how: Deed) => Promise<unknown> | null
  /** Whether the database of the realm has an older schema than this Worker is made for. */
  isBehind: (realm: Realm) => boolean
  /** Has a request ask the hooks of the realm; missing: it has none. */
  askingHooks?: (ctx: Ctx) => Ctx
  /** Has a realm migrated that is behind; null if that was asked for already. */
  migrate: (realm: Realm) => Promise<unknown> | null
}

/** What a token of an issuer elsewhere is verified with. */
export type Elsewhere = Pick<Ctx, 'config' | 'realm' | 'later'> & { kept: Pick<KVNamespace, 'get' | 'put'> }

/**
 * Sets the realm of a request and the origins whose pages may call. `countUse` counts one use of an API key; `bearerElsewhere` says who a token
 * of another issuer is of.
 */
export const plane = (
  sourceOf: (request: PlaneRequest) => RealmSource,
  countUse: (ctx: Ctx, prefix: string) => void,
  bearerElsewhere?: (asker: Elsewhere, token: string) => Promise<Bearer | null>,
) =>
  createMiddleware<AppEnv>(async (c, next) => {
    // c.get and not c.var, which copies all variables.
    const [config, meter, subdomain] = [c.get('config'), c.get('meter'), c.get('subdomain')]
    const { headers } = c.req.raw
    const is_preflight = isPreflight(c.req.raw)
    const is_public = matchedRoutes(c).some(({ handler }) => handler === withoutAdmission)
    const unknown = failuresOf(c, 'tenant')
    const limitUnknown = () => unknown.refuse()
    const source = sourceOf({ env: c.env, config, meter, headers, is_preflight, is_public, subdomain, limitUnknown })
    c.set('origins', source.origins)
    if (is_preflight && source.origins.includes(headers.get('Origin') ?? ''))
      return preflight(c.req.raw, c.req.path, source.origins)
    // What was asked about a page before it came here is neither asked nor counted again.
    const nobody = c.get('nobody')
    if (nobody) throw nobody
    const realm = await source.realm().catch(async (error) => {
      const problem = toProblem(error)
      await unknown.count(problem)
      throw problem
    })
    if ('moved_to' in realm) return answerMoved(c, realm)
    c.set('realm', realm)
    c.set('reloadRealm', source.reloadRealm)
    c.set('reportActivity', (is_committed) => source.reportActivity(realm, deedOf(c, is_committed)))
    c.set('countUse', countUse)
    if (source.askingHooks) c.set('askingHooks', source.askingHooks)
    const later = (work: Promise<unknown>) => c.executionCtx.waitUntil(work)
    if (bearerElsewhere)
      c.set('bearerElsewhere', (token) => bearerElsewhere({ config, realm, later, kept: c.env.TENANTS }, token))
    const is_behind = source.isBehind(realm)
    c.set('is_behind', is_behind)
    const migrated = is_behind ? source.migrate(realm) : null
    if (migrated) c.executionCtx.waitUntil(migrated)
    const admits = (origin: string) => source.admitsPage(realm, origin, lookerOf(c))
    const origins = await withPage(c.req.raw, c.req.path, [...source.origins, realm.url, ...realm.origins], admits)
    c.set('origins', origins)
    if (is_preflight) return preflight(c.req.raw, c.req.path, origins)
    await next()
    const license = licenseHeader(realm)
    if (license) c.res.headers.set('Freehold-License', license)
  })
