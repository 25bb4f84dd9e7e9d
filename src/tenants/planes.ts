/** The two planes: the platform's own realm on the base domain, a tenant's realm everywhere else. */
import { askingHooks } from '../hooks/asking.ts'
import { ringAll } from '../http/bells.ts'
import type { PlaneRequest, RealmSource } from '../http/plane.ts'
import { renamed } from '../http/renamed.ts'
import { Problem } from '../kernel/problem.ts'
import { tenantUrl } from '../names/hosts.ts'
import { reportActivity } from './maintenance/queue.ts'
import { checkpointSoon } from './maintenance/soon.ts'
import { migrateOnTouch } from './migration/touch.ts'
import { OLDER } from './migration/versions.ts'
import { admitsPageOf } from './registry/page-origins.ts'
import { platformRealm } from './registry/registry.ts'
import { activeRealm, realmOf, tenantName, tenantOfPage } from './registry/resolve.ts'

/** The platform plane, for operators. Fails with not_found on a tenant's host. */
export function platformPlane({ config, meter, subdomain }: PlaneRequest): RealmSource {
  if (subdomain) throw new Problem('not_found')
  return {
    origins: [config.BASE_URL.origin],
    realm: () => platformRealm({ config, meter }),
    admitsPage: admitsPageOf({ config, meter }, () => platformRealm({ config, meter }, true)),
    reloadRealm: () => platformRealm({ config, meter }, true),
    reportActivity: () => null,
    isBehind: () => false,
    migrate: () => null,
  }
}

/**
 * The tenant plane. Fails with tenant_required, tenant_ambiguous, tenant_not_found; its realm also with tenant_inactive,
 * tenant_provisioning, tenant_unavailable, rate_limited. No token names the tenant of a public route: nothing verifies it there, and caches keep
 * some of the answers for everybody.
 */
export function tenantPlane(request: PlaneRequest): RealmSource {
  const { env, config, meter, headers, is_preflight, is_public, subdomain, limitUnknown } = request
  const sources = { env, config, meter, limitUnknown }
  const said = (header: string) => headers.get(header) ?? undefined
  // A preflight has none of the headers that it announces: on the base domain the Origin of a tenant's own page names the tenant.
  const host = subdomain ?? (is_preflight ? tenantOfPage(config, said('Origin')) : null)
  const name = tenantName(config, host, said('X-Tenant'), () => (is_public ? undefined : said('Authorization')))
  const own = tenantUrl(config, name)
  // Whoever names the tenant by a token that it gave, or by nothing at all, has no address to correct.
  const is_addressed = host !== null || Boolean(said('X-Tenant')?.trim())
  const load = async (fresh: boolean) => {
    const found = await realmOf(sources, name, fresh)
    return 'moved_to' in found && !is_addressed ? activeRealm(sources, found.name, fresh) : found
  }
  const reloadRealm = async () => {
    const found = await load(true).catch((error: unknown) => {
      if (error instanceof Problem) throw error
      return null
    })
    if (found && 'moved_to' in found) throw renamed(found.moved_to)
    return found
  }
  return {
    origins: subdomain ? [own] : [own, config.BASE_URL.origin],
    realm: () => load(false),
    admitsPage: admitsPageOf(sources, reloadRealm),
    reloadRealm,
    reportActivity: (realm, how) => {
      const work = [
        reportActivity(config, realm.id),
        how === 'read' ? null : checkpointSoon(config, realm, how === 'wrote', (rung) => ringAll(env, realm.id, rung)),
      ].filter((one) => one !== null)
      return work.length ? Promise.all(work) : null
    },
    // An entry that an earlier release wrote does not say.
    isBehind: ({ schema_version }) => schema_version === null || OLDER.includes(schema_version),
    migrate: (realm) => migrateOnTouch(env, config, realm.id),
    askingHooks,
  }
}
