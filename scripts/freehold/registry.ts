import { Tenant, TenantList } from './answers.ts'
import type { Api } from './api.ts'
import { Failure } from './failure.ts'
import { plain } from './output.ts'

const PAGE = 100
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What a list is asked for: parameters of GET /platform/v1/tenants. */
export type Asked = Record<string, string | undefined>

/** Tenants that the parameters admit, up to a limit, and the cursor of the next page. */
export async function listTenants(
  api: Api,
  limit: number,
  asked: Asked = {},
): Promise<{ data: Tenant[]; next_cursor: string | null }> {
  const data: Tenant[] = []
  let next_cursor: string | null = null
  for await (const page of pages(api, limit, asked)) {
    data.push(...page.data)
    next_cursor = page.next_cursor
  }
  return { data, next_cursor }
}

/** One tenant, by its id or its subdomain. */
export async function findTenant(api: Api, name: string): Promise<Tenant> {
  if (UUID.test(name)) return api.call(Tenant, 'GET', `/tenants/${name}`)
  const found = await tenantNamed(api, name)
  if (!found) throw new Failure(`There is no tenant ${plain(name)}.`)
  return found
}

/** The tenant with a subdomain, or null: the list is searched for it, which finds those as well that it is a part of. */
export async function tenantNamed(api: Api, subdomain: string): Promise<Tenant | null> {
  for await (const page of pages(api, Number.POSITIVE_INFINITY, { search: subdomain, sort: 'subdomain' })) {
    const found = page.data.find((tenant) => tenant.subdomain === subdomain.toLowerCase())
    if (found) return found
  }
  return null
}

async function* pages(api: Api, limit: number, asked: Asked) {
  const given = Object.entries(asked).flatMap(([name, value]) =>
    value === undefined ? [] : [`&${name}=${encodeURIComponent(value)}`],
  )
  let cursor: string | null = null
  let left = limit
  do {
    const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page = await api.call(TenantList, 'GET', `/tenants?limit=${Math.min(PAGE, left)}${given.join('')}${after}`)
    yield page
    left -= page.data.length
    cursor = page.data.length ? page.next_cursor : null
  } while (cursor !== null && left > 0)
}
