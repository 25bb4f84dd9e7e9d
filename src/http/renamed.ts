/**
 * What a tenant's former name answers. Threat: clients drop `Authorization` on a redirect to another host and then seem to be nobody,
 * or send a password twice; people follow an old link into nothing. So pages and `/.well-known/*` of the former host redirect, path
 * and query kept, and all else is refused in words that name the new address. No cache keeps either: the tenant may come back. Browsers
 * ask the former host itself whether pages of the new one may use its passkeys, and take no redirect for an answer.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { Config } from '../kernel/config.ts'
import type { Env, Meter } from '../kernel/env.ts'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { isPreflight, type Looker, lookerOf, preflight, withPage } from './cors.ts'
import { failuresOf } from './rate-limit.ts'
import { isPage } from './transport.ts'

/** Where the tenant of a former name is now, and whose pages may read so beside its own. */
export type Moved = {
  moved_to: string
  origins: string[]
  admitsPage: (origin: string, looker: Looker) => Promise<boolean>
}

/** The parts of a request for a page that are looked at: as those of a plane (plane.ts). */
type PageRequest = { env: Env; config: Config; meter: Meter; subdomain: string; limitUnknown: () => void }

const WELL_KNOWN = /^\/\.well-known(\/|$)/
const RELATED_ORIGINS = /^\/\.well-known\/webauthn\/?$/

/** The refusal that names the new address. */
export const renamed = (url: string) =>
  new Problem('tenant_renamed', `This tenant has another name now: its address is ${url}.`, { url })

/** Answers a request that names a tenant as it was called before. Fails with tenant_renamed. */
export async function answerMoved(c: Context<AppEnv>, { moved_to, origins, admitsPage }: Moved): Promise<Response> {
  const { raw } = c.req
  const admits = (origin: string) => admitsPage(origin, lookerOf(c))
  const readers = await withPage(raw, c.req.path, [...(c.get('origins') ?? []), moved_to, ...origins], admits)
  c.set('origins', readers)
  // Who asks beforehand is let through, so that they can read the refusal.
  if (isPreflight(raw)) return preflight(raw, c.req.path, readers)
  const { pathname, search } = new URL(raw.url)
  const is_of_host = c.get('subdomain') !== null && !raw.headers.has('X-Tenant')
  const is_shown = WELL_KNOWN.test(pathname) || isPage(pathname)
  if (is_of_host && RELATED_ORIGINS.test(pathname) && ['GET', 'HEAD'].includes(raw.method))
    return c.json({ origins: [new URL(moved_to).origin] })
  // With the header, which clients send on to the new host, that would name two tenants.
  if (is_of_host && is_shown && ['GET', 'HEAD'].includes(raw.method)) return c.redirect(`${moved_to}${pathname}${search}`, 308)
  throw renamed(moved_to)
}

/**
 * Redirects pages of a former host. `movedFrom` looks the name of a request up; who has none, or is not found in time, gets the page as
 * ever, and a page of a tenant is refused by its plane.
 */
export const redirectPages = (movedFrom: (request: PageRequest) => Promise<Moved | null>) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const subdomain = c.get('subdomain')
    if (subdomain === null || !isPage(c.req.path)) return next()
    const unknown = failuresOf(c, 'tenant')
    const [config, meter] = [c.get('config'), c.get('meter')]
    const asked = { env: c.env, config, meter, subdomain, limitUnknown: () => unknown.refuse() }
    const moved = await movedFrom(asked).catch(async (error: unknown) => {
      const refusal = await unknown.count(error).then(
        () => error,
        (tooMany: unknown) => tooMany,
      )
      // A registry that does not answer now may do so in a moment.
      if (refusal instanceof Problem && refusal.status < 500) c.set('nobody', refusal)
      return null
    })
    return moved ? answerMoved(c, moved) : next()
  })
