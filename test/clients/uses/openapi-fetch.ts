import createClient from 'openapi-fetch'
import type { paths } from './generated/paths'
import { type At, linesOf, NOBODY, type Seen } from './seen'

export async function use({ url, tenant, email, password, role, imported }: At): Promise<Seen> {
  const client = createClient<paths>({ baseUrl: url })
  const header = { 'X-Tenant': tenant }
  const login = await client.POST('/api/v1/auth/login', { params: { header }, body: { email, password } })
  if (!login.data || !('access_token' in login.data)) throw new Error(JSON.stringify(login.error))
  const { access_token } = login.data
  client.use({
    onRequest({ request }) {
      request.headers.set('Authorization', `Bearer ${access_token}`)
      return request
    },
  })

  const usernames: string[] = []
  let cursor: string | null = null
  do {
    const query: { limit: number; cursor?: string } = cursor === null ? { limit: 1 } : { limit: 1, cursor }
    const page: { data?: { data: { username: string }[]; next_cursor: string | null } } = await client.GET('/api/v1/users', {
      params: { header, query },
    })
    usernames.push(...(page.data?.data ?? []).map(({ username }) => username))
    cursor = page.data?.next_cursor ?? null
  } while (cursor !== null)

  const made = await client.POST('/api/v1/roles', {
    params: { header: { ...header, 'Idempotency-Key': role } },
    body: { name: role, permissions: [{ permission: 'user:read', scope: 'all' }] },
  })
  if (!made.data) throw new Error(made.error.detail)
  const path = { id: made.data.id }
  const tagged = { ...header, 'If-Match': made.response.headers.get('ETag') ?? '' }
  const change = (description: string) =>
    client.PATCH('/api/v1/roles/{id}', { params: { header: tagged, path }, body: { description } })
  const changed = await change('Reads people')
  const again = await change('Reads nothing')

  const report = await client.POST('/api/v1/users/import', {
    params: { header },
    headers: { 'Content-Type': 'application/x-ndjson' },
    body: { email: imported },
    parseAs: 'text',
  })
  const missing = await client.GET('/api/v1/roles/{id}', { params: { header, path: { id: NOBODY } } })
  if (!missing.error) throw new Error('There is a role that nobody made.')
  return {
    usernames,
    changed: changed.data?.description,
    again: again.error?.code,
    lines: linesOf(String(report.data)),
    missing: { status: missing.response.status, code: missing.error.code },
  }
}
