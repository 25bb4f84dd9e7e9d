import type { Config } from '../kernel/config.ts'
import type { Ctx, Realm, RequestFacts } from '../kernel/context.ts'
import type { Env, Meter } from '../kernel/env.ts'

/** What Hono knows of the Worker and of a request. */
export type AppEnv = {
  Bindings: Env
  Variables: {
    config: Config
    trace_id: string
    facts: RequestFacts
    meter: Meter
    hostname: string
    /** The subdomain that the host names; null on the base domain. */
    subdomain: string | null
    /** Found by the plane before any room is reached. `again` goes past all caches. */
    realm: Realm
    reloadRealm: () => Promise<Realm | null>
    /** Says that somebody is in the realm's database; null when that is known. */
    reportActivity: () => Promise<unknown> | null
    /** Counts one use of an API key. */
    countUse: (ctx: Ctx, prefix: string) => void
    /** Origins whose pages may call: the realm's own, then those that it was given. */
    origins: string[]
    /** Who is meant by the cookies that were used; and the cookies that the answer sets, whatever it says. */
    account?: string
    cookies?: string[]
    ctx: Ctx
  }
}
