/**
 * Maps the host of a request to a subdomain. Threat: a request that is resolved to another tenant by a spoofed host. So the host
 * is the URL's, never the Host header.
 */
import { createMiddleware } from 'hono/factory'
import { type Config, Label } from '../kernel/config.ts'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

/** Refuses requests to hosts outside the base domain. */
export const requireOwnHost = createMiddleware<AppEnv>(async (c, next) => {
  c.set('subdomain', subdomainOf(c.get('config'), c.get('hostname')))
  await next()
})

const LOOPBACK = ['localhost', '127.0.0.1']

/** The subdomain of a host, null for the base domain. Fails with not_found for a foreign host or a nested label. */
export function subdomainOf(config: Config, hostname: string): string | null {
  const base = config.BASE_URL.hostname
  if (hostname === base || (config.ENVIRONMENT === 'local' && LOOPBACK.includes(hostname))) return null
  const bases = config.ENVIRONMENT === 'local' ? [base, 'localhost'] : [base]
  for (const known of bases) {
    const name = hostname.endsWith(`.${known}`) ? hostname.slice(0, -known.length - 1) : null
    if (name && Label.safeParse(name).success) return name
  }
  throw new Problem('not_found', 'This host is not one of ours.')
}
