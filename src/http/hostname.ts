/**
 * Maps the host of a request to a subdomain. Threat: a request that is resolved to another tenant by a spoofed host. So the host
 * is the URL's, never the Host header.
 */
import { createMiddleware } from 'hono/factory'
import type { Config } from '../kernel/config.ts'
import { Problem } from '../kernel/problem.ts'
import { isPlatformHost, subdomainIn } from '../names/hosts.ts'
import type { AppEnv } from './app-env.ts'

/** Refuses requests to hosts that are neither the platform's nor a tenant's. */
export const requireOwnHost = createMiddleware<AppEnv>(async (c, next) => {
  c.set('subdomain', subdomainOf(c.get('config'), c.get('hostname')))
  await next()
})

/** The subdomain of a host, null for the platform's. Fails with not_found for a foreign host or a nested label. */
export function subdomainOf(config: Config, hostname: string): string | null {
  if (isPlatformHost(config, hostname)) return null
  const name = subdomainIn(config, hostname)
  if (name !== null) return name
  throw new Problem('not_found', 'This host is not one of ours.')
}
