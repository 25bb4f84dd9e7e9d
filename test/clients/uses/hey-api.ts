import { client } from './generated/hey-api/client.gen'
import { createRole, getRole, importUsers, listUsers, login, updateRole } from './generated/hey-api/sdk.gen'
import { type At, linesOf, NOBODY, type Seen } from './seen'

export async function use({ url, tenant, email, password, role, imported }: At): Promise<Seen> {
  client.setConfig({ baseUrl: url })
  const headers = { 'X-Tenant': tenant }
  const tokens = await login({ headers, body: { email, password } })
  if (!tokens.data || !('access_token' in tokens.data)) throw new Error(JSON.stringify(tokens.error))
  const { access_token } = tokens.data
  client.setConfig({ auth: ({ scheme }) => (scheme === 'bearer' ? access_token : undefined) })

  const usernames: string[] = []
  let cursor: string | undefined
  do {
    const page: Awaited<ReturnType<typeof listUsers>> = await listUsers({
      headers,
      query: { limit: 1, ...(cursor && { cursor }) },
    })
    if (!page.data) throw new Error(page.error?.detail)
    usernames.push(...page.data.data.map(({ username }) => username))
    cursor = page.data.next_cursor ?? undefined
  } while (cursor)

  const made = await createRole({
    headers: { ...headers, 'Idempotency-Key': role },
    body: { name: role, permissions: [{ permission: 'user:read', scope: 'all' }] },
  })
  if (!made.data) throw new Error(made.error?.detail)
  const path = { id: made.data.id }
  const tagged = { ...headers, 'If-Match': made.response?.headers.get('ETag') ?? '' }
  const changed = await updateRole({ headers: tagged, path, body: { description: 'Reads people' } })
  const again = await updateRole({ headers: tagged, path, body: { description: 'Reads nothing' } })

  const report = await importUsers({ headers, body: { email: imported }, parseAs: 'text' })
  const missing = await getRole({ headers, path: { id: NOBODY } })
  if (!missing.error) throw new Error('There is a role that nobody made.')
  return {
    usernames,
    changed: changed.data?.description,
    again: again.error?.code,
    lines: linesOf(String(report.data)),
    missing: { status: missing.response?.status ?? 0, code: missing.error.code },
  }
}
