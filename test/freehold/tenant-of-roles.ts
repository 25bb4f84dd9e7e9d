import type { RequestListener } from 'node:http'

type Grant = { permission: string; scope: string }
type Role = { id: string; name: string; parent_id: string | null; permissions: Grant[]; is_manageable?: boolean }
type Sent = { name: string; parent_id?: string; is_manageable?: boolean; permissions: Grant[]; email?: string; password?: string }

/** As much of a tenant's API as setting up its roles takes: in memory, two roles a page. */
export function tenantOfRoles(login: { tenant: string; email: string; password: string }) {
  const roles: Role[] = []
  const asked: string[] = []

  const answer: RequestListener = async (request, response) => {
    const { method, headers, url = '' } = request
    const path = url.replace(/\?.*/, '')
    asked.push(`${method} ${path}`)
    let text = ''
    for await (const chunk of request) text += chunk
    const body = (text ? JSON.parse(text) : {}) as Sent
    const [status, said] = answered(`${method} ${path}`, body, headers, new URL(url, 'http://localhost').searchParams)
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(said === null ? '' : JSON.stringify(said))
  }

  function answered(
    call: string,
    body: Sent,
    headers: Record<string, unknown>,
    query: URLSearchParams,
  ): [status: number, body: unknown] {
    if (headers['x-tenant'] !== login.tenant) return [404, { title: 'There is no such tenant', code: 'tenant_not_found' }]
    if (call === 'POST /api/v1/auth/login') {
      const right = body.email === login.email && body.password === login.password
      if (!right) return [401, { title: 'The credentials are not valid', code: 'invalid_credentials' }]
      return [200, { access_token: 'token', must_change_password: false }]
    }
    if (headers.authorization !== 'Bearer token') return [401, { title: 'The token is not valid', code: 'token_invalid' }]
    if (call === 'GET /api/v1/roles') {
      const at = Number(query.get('cursor') ?? 0)
      return [200, { data: roles.slice(at, at + 2), next_cursor: at + 2 < roles.length ? String(at + 2) : null }]
    }
    if (call === 'POST /api/v1/roles') {
      const { parent_id = null, ...rest } = body
      const role = { id: crypto.randomUUID(), parent_id, ...rest }
      roles.push(role)
      return [201, role]
    }
    const role = roles.find(({ id }) => call === `POST /api/v1/roles/${id}/permissions`)
    if (!role) return [call === 'POST /api/v1/auth/logout' ? 204 : 404, null]
    role.permissions.push(...body.permissions)
    return [200, role]
  }

  return { roles, asked, answer }
}
