import { Tenant } from './answers.ts'
import type { Api } from './api.ts'
import { Failure } from './failure.ts'
import { pages } from './lists.ts'
import { plain } from './output.ts'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** One tenant, by its id or its subdomain. */
export async function findTenant(api: Api, name: string): Promise<Tenant> {
  if (UUID.test(name)) return api.call(Tenant, 'GET', `/tenants/${name}`)
  const found = await tenantNamed(api, name)
  if (!found) throw new Failure(`There is no tenant ${plain(name)}.`)
  return found
}

/** The tenant with a subdomain, or null: the list is searched for it, which finds those as well that it is a part of. */
export async function tenantNamed(api: Api, subdomain: string): Promise<Tenant | null> {
  for await (const page of pages(api, Tenant, '/tenants', { search: subdomain, sort: 'subdomain' })) {
    const found = page.data.find((tenant) => tenant.subdomain === subdomain.toLowerCase())
    if (found) return found
  }
  return null
}
