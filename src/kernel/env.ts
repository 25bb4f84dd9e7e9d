import type { Config } from './config.ts'
import type { Ctx, Realm, RequestFacts } from './context.ts'

/** The bindings of the Worker, as wrangler.toml declares them, and its settings, unparsed (config.ts parses them). */
export interface Env extends Record<string, unknown> {
  TENANTS: KVNamespace
  ATTEMPTS: RateLimit
  REFUSALS: RateLimit
  PROVISIONING: Workflow<{ run_id: string }>
  ASSETS: Fetcher
}

/** Round trips of one request to the master, counted by the registry. */
export type Meter = { master: number }

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
    /** Resolved by app.ts before any room is reached. `again` goes past all caches. */
    realm: Realm
    again: () => Promise<Realm | null>
    /** Says that somebody is in the realm's database; null when that is known. */
    tellAwake: () => Promise<unknown> | null
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
