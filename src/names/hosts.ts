/**
 * Where the platform and its tenants are: the only place that makes the address of a tenant, or reads a tenant's name in a host.
 * Threat: two places that disagree, so that a token is issued for one host and taken at another, or a page of one tenant counts as
 * another's. The platform is at BASE_URL, a tenant one label below TENANT_URL, and the platform's own label is never a tenant's.
 */
import { type Config, Label } from '../kernel/config.ts'
import { isReserved } from './reserved.ts'

type Hosts = Pick<Config, 'ENVIRONMENT' | 'BASE_URL' | 'TENANT_URL'>

/** The origin of a tenant: issuer and audience of its tokens, and where its pages are. */
export function tenantUrl({ BASE_URL, TENANT_URL = BASE_URL }: Omit<Hosts, 'ENVIRONMENT'>, subdomain: string): string {
  return `${TENANT_URL.protocol}//${subdomain}.${TENANT_URL.host}`
}

/** The domains one label below which tenants are. A local start has localhost, too. */
export const tenantDomains = ({ ENVIRONMENT, BASE_URL, TENANT_URL = BASE_URL }: Hosts): string[] => [
  TENANT_URL.hostname,
  ...(ENVIRONMENT === 'local' && TENANT_URL.hostname !== 'localhost' ? ['localhost'] : []),
]

/** What stands before a domain of tenants in a host, also where that is no name of a tenant; null for any other host. */
function before(domains: string[], hostname: string): string | null {
  const domain = domains.find((known) => hostname.endsWith(`.${known}`))
  return domain === undefined ? null : hostname.slice(0, -domain.length - 1)
}

const LOOPBACK = ['localhost', '127.0.0.1']

/** True for the host of the platform. */
export const isPlatformHost = ({ ENVIRONMENT, BASE_URL }: Hosts, hostname: string) =>
  hostname === BASE_URL.hostname || (ENVIRONMENT === 'local' && LOOPBACK.includes(hostname))

/** The subdomain in the host of a tenant; null for any other host. */
export function subdomainIn(hosts: Hosts, hostname: string): string | null {
  const name = isPlatformHost(hosts, hostname) ? null : before(tenantDomains(hosts), hostname)
  return name !== null && Label.safeParse(name).success ? name : null
}

/**
 * What stands before a domain of tenants in a host, where that belongs to a tenant or may one day, and for `a.b`, which is nobody's. Null
 * for a host elsewhere, and for one whose label no tenant is given, such as `app`: what is there belongs to whoever runs the service.
 */
export function claimedName(hosts: Hosts, hostname: string): string | null {
  const name = before(tenantDomains(hosts), hostname.replace(/\.$/, ''))
  return name === null || (Label.safeParse(name).success && isTaken(hosts, name)) ? null : name
}

/** The label of the platform's host where that lies among the tenants': `id` of https://id.example.com. */
function platformLabel({ BASE_URL, TENANT_URL = BASE_URL }: Hosts): string | null {
  const name = before([TENANT_URL.hostname], BASE_URL.hostname)
  return name !== null && Label.safeParse(name).success ? name : null
}

/** True for a name that no tenant is given: a reserved one, and the platform's own. */
export const isTaken = (hosts: Hosts, name: string) => isReserved(name) || name === platformLabel(hosts)
