/** Threat: probing that nobody notices, or that floods the audit. */
import { sql } from 'drizzle-orm'
import type { Context } from 'hono'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { contextFor, NOBODY } from './admit.ts'
import type { AppEnv } from './app-env.ts'
import { network } from './rate-limit.ts'

/**
 * What was refused, and what the caller showed: a key by its hash and prefix, a session, the origin of a page. No token. `counted_as`:
 * whose records in a minute are limited.
 */
type Refusal = { code: string; shown: object; counted_as: string }

/**
 * Records a refusal in the audit of the realm that refused, after the response and in one round trip: a missing permission, a token
 * of another tenant, a token or key that is not valid, a page of a foreign origin. Limited per network and code, a missing permission
 * per user: invented tokens must not use up what records the people beside them, or whoever sends them. The database counts what
 * is too much (access.record_failure). Never fails.
 */
export async function recordRefusal(c: Context<AppEnv>): Promise<void> {
  if (!(c.error instanceof Problem) || !c.get('realm')) return
  // A foreign page is refused before the route, which makes the context.
  const ctx = c.get('ctx') ?? contextFor(c, { permission: null, any_password: false }, NOBODY)
  const refusal = refusalOf(c, ctx, c.error)
  if (!refusal) return
  const { realm, request, need } = ctx
  const { success } = await c.env.REFUSALS.limit({ key: `${realm.id}:${refusal.counted_as}` })
  if (!success) return
  await ctx
    .call(
      sql`access.record_refusal(${realm.id}, ${realm.system_key}, ${JSON.stringify(refusal.shown)}::jsonb, ${refusal.code}, ${need.permission}, ${JSON.stringify(request)}::jsonb)`,
    )
    .catch((error) => log('refusal not recorded', { tenant: realm.subdomain, trace_id: request.trace_id, error: String(error) }))
}

function refusalOf(
  c: Context<AppEnv>,
  { bearer, key, credential, request, trips }: Ctx,
  { code, is_guess }: Problem,
): Refusal | null {
  const shown = key ? { key: key.hash, prefix: key.prefix } : (credential ?? {})
  const ofNetwork = (said: string, by: object) => ({ code: said, shown: by, counted_as: `${said}:${network(request.address)}` })
  if (code === 'token_wrong_tenant' || (code === 'token_invalid' && (is_guess || key))) return ofNetwork(code, shown)
  if (code !== 'forbidden') return null
  // Without a credential, and before any database was asked, only the page that a request came from is refused.
  if (credential || trips)
    // Not per key: where a key is refused for what it is, no database has said that anybody has it.
    return bearer ? { code, shown, counted_as: `${code}:${bearer.user_id}` } : ofNetwork(code, shown)
  // A preflight changes nothing, and costs no round trip.
  return c.req.method === 'OPTIONS' ? null : ofNetwork('foreign_page', { origin: c.req.header('Origin') ?? null })
}
