/**
 * Answers of a tenant's database that a Cloudflare location keeps for a minute, for what anybody may ask without limit. Threat: the cache of
 * a location is one for all tenants, and does not look at request headers (it ignores `Vary`, so that two tenants that are told by
 * `X-Tenant` have one URL). So the key is made here, of the tenant's id.
 */
import type { Context } from 'hono'
import type { AppEnv } from './app-env.ts'

/** Well below the 180 s for which a new signing key is published before it is used. */
export const EDGE_SECONDS = 60

/**
 * What this location keeps under a name for the tenant of the request, or else what `ask` returns, which is kept. No round trip when it
 * is kept. A cache that fails (or does nothing, as on workers.dev) is not waited for twice.
 */
export async function keptAtEdge<T>(c: Context<AppEnv>, name: string, ask: () => Promise<T>): Promise<T> {
  const key = new URL(`/kept/${c.var.realm.id}/${name}`, c.var.config.BASE_URL).href
  const kept = await caches.default
    .match(key)
    .then((answer) => answer?.json())
    .catch(() => undefined)
  if (kept !== undefined) return kept as T
  const value = await ask()
  const answer = new Response(JSON.stringify(value), { headers: { 'Cache-Control': `max-age=${EDGE_SECONDS}` } })
  c.executionCtx.waitUntil(caches.default.put(key, answer).catch(() => undefined))
  return value
}
