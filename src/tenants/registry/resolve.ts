/**
 * Which tenant a request is for. Threat: a request that is attributed to another tenant. Names that disagree are refused; a
 * token's claim is used only when nothing else names a tenant, and that tenant's keys must then verify the token.
 */
import type { Moved } from '../../http/renamed.ts'
import { type Config, Label } from '../../kernel/config.ts'
import type { Realm } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { claimed } from '../../kernel/token.ts'
import { subdomainIn, tenantUrl } from '../../names/hosts.ts'
import { admitsPageOf } from './page-origins.ts'
import { lookUp, type Status } from './registry.ts'

/** The tenant whose own page sent the request, by its Origin; null for any other page. */
export function tenantOfPage(config: Config, origin: string | undefined): string | null {
  return origin && URL.canParse(origin) ? subdomainIn(config, new URL(origin).hostname) : null
}

/** The tenant that a bearer token claims, unverified. */
function tenantOfToken(authorization: string | undefined): unknown {
  const token = /^\s*bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1]
  return token ? claimed(token)?.tenant : null
}

/**
 * The name of the tenant that a request is for: header, host, token, DEFAULT_TENANT. Fails with tenant_required,
 * tenant_ambiguous.
 */
export function tenantName(
  config: Config,
  host: string | null,
  header: string | undefined,
  authorization: () => string | undefined,
): string {
  const said = new Set((header ?? '').split(',').map((part) => part.trim().toLowerCase()))
  if (said.size > 1) throw new Problem('tenant_ambiguous')
  const named = [...said][0] || null
  if (host && named && host !== named) throw new Problem('tenant_ambiguous')
  const claim = host || named ? null : tenantOfToken(authorization())
  const name = named ?? host ?? (typeof claim === 'string' && claim ? claim : null) ?? config.DEFAULT_TENANT
  if (!name) throw new Problem('tenant_required')
  if (name !== host && !Label.safeParse(name).success) throw new Problem('tenant_not_found')
  return name
}

/** A Moved, with the name that the tenant has now. */
type Renamed = Moved & { name: string }

/**
 * The realm of a name, or where its tenant is now that had it before; with `fresh` past all caches. Fails with tenant_not_found (a failure
 * of the network that asks, where nobody has the name), tenant_inactive, tenant_provisioning, tenant_unavailable, rate_limited.
 */
export async function realmOf(sources: Asking, name: string, fresh = false): Promise<Realm | Renamed> {
  const found = await lookUp(sources, name, fresh)
  if (!found) throw new Problem('tenant_not_found', `There is no tenant ${name}.`, { is_guess: true })
  if (found.renamed_to !== null) return moved(sources, found.renamed_to)
  if (found.realm) return found.realm
  // A failed tenant waits for its operator, not for some seconds.
  const headers = found.status === 'failed' ? { 'Retry-After': '300' } : {}
  throw new Problem(refusals[found.status], undefined, { headers })
}

/** The realm of a name that its tenant has now. Fails as `realmOf` does, and with database_unavailable where caches disagree. */
export async function activeRealm(sources: Asking, name: string, fresh = false): Promise<Realm> {
  const found = await realmOf(sources, name, fresh)
  const now = 'moved_to' in found ? await realmOf(sources, found.name, true) : found
  if ('moved_to' in now) throw new Problem('database_unavailable')
  return now
}

/** Where the tenant is now that had a name before; null: nobody had it. Fails as `lookUp` does, and with tenant_not_found. */
export async function movedFrom({ subdomain, ...sources }: Asking & { subdomain: string }): Promise<Moved | null> {
  const found = await lookUp(sources, subdomain)
  if (!found) throw new Problem('tenant_not_found', undefined, { is_guess: true })
  return found.renamed_to === null ? null : moved(sources, found.renamed_to)
}

/** Its origins are those of its pages now: they are told, too. Where it cannot be looked up, it has none beside its own. */
async function moved(sources: Asking, name: string): Promise<Renamed> {
  const realm = (await lookUp(sources, name).catch(() => null))?.realm
  const admits = admitsPageOf(sources, async () => null)
  return {
    name,
    moved_to: tenantUrl(sources.config, name),
    origins: realm?.origins ?? [],
    admitsPage: async (origin, looker) => realm != null && admits(realm, origin, looker),
  }
}

type Asking = Parameters<typeof lookUp>[0]

const refusals = {
  provisioning: 'tenant_provisioning',
  failed: 'tenant_unavailable',
  inactive: 'tenant_inactive',
  active: 'database_unavailable',
  deleted: 'tenant_not_found',
  erasing: 'tenant_not_found',
} as const satisfies Record<Status, string>
