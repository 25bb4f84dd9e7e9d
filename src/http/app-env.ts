import type { Config } from '../kernel/config.ts'
import type { Ctx, Realm, RequestFacts } from '../kernel/context.ts'
import type { Env, Meter } from '../kernel/env.ts'
import type { Problem } from '../kernel/problem.ts'
import type { Bearer } from '../kernel/token.ts'

/** The environment of Hono: the bindings of the Worker and the variables of a request. */
export type AppEnv = {
  Bindings: Env
  Variables: {
    config: Config
    trace_id: string
    facts: RequestFacts
    meter: Meter
    hostname: string
    /** The subdomain in the host of the request; null on the base domain. */
    subdomain: string | null
    /** Resolved by the plane before any route runs. `reloadRealm` bypasses all caches. */
    realm: Realm
    /** Why the host of a page is no tenant's, once that was asked and counted. */
    nobody?: Problem
    /** The database of the realm has an older schema than this Worker is made for. */
    is_behind?: boolean
    reloadRealm: () => Promise<Realm | null>
    /** Reports activity in the realm, so that maintenance includes it; null if that was reported already. */
    reportActivity: (is_committed: boolean) => Promise<unknown> | null
    /** Who a token of an issuer elsewhere is of, which the realm takes; null: it is none. */
    bearerElsewhere?: (token: string) => Promise<Bearer | null>
    /** Counts one use of an API key. */
    countUse: (ctx: Ctx, prefix: string) => void
    /** Origins whose pages may call: the realm's own, then those configured for it. */
    origins: string[]
    /** The account whose cookies were used; and the cookies that the response sets, whatever its status. */
    account?: string
    cookies?: string[]
    /** What the browser deletes of this host (Clear-Site-Data), whatever the status. */
    clear_site?: string
    /** Has a request ask the hooks of its tenant, where it does what they are asked before. */
    askingHooks?: (ctx: Ctx) => Ctx
    ctx: Ctx
  }
}
