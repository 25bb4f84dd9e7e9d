/**
 * Whose a request is. Each plane finds its realm in its own way; both ways are the registry's, which is above this room, so app.ts hands them in,
 * and what counts the uses of API keys.
 */
import { createMiddleware } from 'hono/factory'
import type { Config } from '../kernel/config.ts'
import type { Ctx, Realm } from '../kernel/context.ts'
import { toProblem } from '../kernel/db.ts'
import type { Env, Meter } from '../kernel/env.ts'
import type { AppEnv } from './app-env.ts'
import { isPreflight, preflight } from './cors.ts'

/** What a plane may look at. */
export type PlaneRequest = {
  env: Env
  config: Config
  meter: Meter
  headers: Headers
  is_preflight: boolean
  /** The subdomain that the host names; null on the base domain. */
  subdomain: string | null
}

/** Where a request belongs. */
export type RealmSource = {
  /** Origins of the realm's own pages, known before the realm is: they may also read why there is none. */
  origins: string[]
  /** True where the realm may name further origins: then a preflight waits for it. */
  has_more_origins: boolean
  realm: () => Promise<Realm>
  /** The realm past all caches. */
  reloadRealm: () => Promise<Realm | null>
  /** Says that somebody is in the realm's database; null when that is known. */
  reportActivity: (realm: Realm) => Promise<unknown> | null
}

export const plane = (placeOf: (asked: PlaneRequest) => RealmSource, countUse: (ctx: Ctx, prefix: string) => void) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const { config, meter, subdomain } = c.var
    const { headers } = c.req.raw
    const is_preflight = isPreflight(c.req.raw)
    const place = placeOf({ env: c.env, config, meter, headers, is_preflight, subdomain })
    c.set('origins', place.origins)
    if (is_preflight && !place.has_more_origins) return preflight(c.req.raw, c.req.path, c.var.origins)
    const realm = await place.realm().catch((error) => {
      throw toProblem(error)
    })
    c.set('realm', realm)
    c.set('reloadRealm', place.reloadRealm)
    c.set('reportActivity', () => place.reportActivity(realm))
    c.set('countUse', countUse)
    c.set('origins', [...place.origins, ...realm.origins])
    if (is_preflight) return preflight(c.req.raw, c.req.path, c.var.origins)
    return next()
  })
