/** The OpenAPI document as the Worker answers with it: an asset, made when the Worker is built (openapi.ts), with the hosts filled in. */
import { assetText } from '../assets/assets.ts'
import type { Config } from '../kernel/config.ts'
import { tenantUrl } from '../names/hosts.ts'
import { BASE, DOCUMENTS } from './assets.ts'

const SERVERS = '"servers":""'

const known = new Map<string, { before: string; after: string }>()

/** A document with the address of the base domain, around the servers. An isolate makes it once. */
async function around(path: string, base: string) {
  const found = known.get(path)
  if (found) return found
  const [before = '', after = ''] = (await assetText(path, null)).replaceAll(BASE, base).split(SERVERS)
  const made = { before, after }
  known.set(path, made)
  return made
}

/** The document as JSON, for the host of a tenant or the base domain. Fails with `asset_unavailable`. */
export async function servedDocument(config: Pick<Config, 'BASE_URL' | 'TENANT_URL'>, subdomain: string | null): Promise<string> {
  const base = config.BASE_URL.origin
  const { before, after } = await around(subdomain === null ? DOCUMENTS.all : DOCUMENTS.tenant, base)
  const servers = [
    { url: base, description: `The base domain: ${subdomain === null ? 'the platform, and ' : ''}with X-Tenant each tenant.` },
    {
      url: tenantUrl(config, '{tenant}'),
      description: 'The host of a tenant.',
      variables: { tenant: { default: subdomain ?? 'acme' } },
    },
  ]
  if (subdomain !== null) servers.unshift({ url: tenantUrl(config, subdomain), description: 'This tenant.' })
  return `${before}"servers":${JSON.stringify(servers)}${after}`
}
