/** The functions of orval, and its schemas of zod for what they send and what they are answered. */
import { createRole, getRole, importUsers, listUsers, login, updateRole } from './generated/orval'
import * as zod from './generated/orval-zod'
import { type At, linesOf, NOBODY, type Seen } from './seen'

export async function use({ tenant, email, password, role, imported }: At): Promise<Seen> {
  const headers = { 'X-Tenant': tenant }
  // It does not say which of two types a body has.
  const json = { headers: { 'Content-Type': 'application/json' } }
  const tokens = await login(zod.loginBody.parse({ email, password }), headers, json)
  if (tokens.status !== 200) throw new Error(tokens.data.detail)
  const entered = zod.loginResponse.parse(tokens.data)
  if (!('access_token' in entered)) throw new Error('A login without `cookie` answers tokens.')
  const as = { headers: { Authorization: `Bearer ${entered.access_token}` } }

  const usernames: string[] = []
  let cursor: string | undefined
  do {
    const page = await listUsers(zod.listUsersQueryParams.parse({ limit: 1, cursor }), headers, as)
    if (page.status !== 200) throw new Error(page.data.detail)
    const { data, next_cursor } = zod.listUsersResponse.parse(page.data)
    usernames.push(...data.map(({ username }) => username))
    cursor = next_cursor ?? undefined
  } while (cursor)

  const wanted = zod.createRoleBody.parse({ name: role, permissions: [{ permission: 'user:read', scope: 'all' }] })
  const made = await createRole(wanted, { ...headers, 'Idempotency-Key': role }, as)
  if (made.status !== 201) throw new Error(made.data.detail)
  const tagged = { ...headers, 'If-Match': made.headers.get('ETag') ?? '' }
  const change = (description: string) => updateRole(made.data.id, zod.updateRoleBody.parse({ description }), tagged, as)
  const changed = await change('Reads people')
  const again = await change('Reads nothing')

  const report = await importUsers({ email: imported }, undefined, headers, as)
  if (report.status !== 200) throw new Error(report.data.detail)
  const missing = await getRole(NOBODY, headers, as)
  if (missing.status === 200) throw new Error('There is a role that nobody made.')
  return {
    usernames,
    changed: changed.status === 200 ? zod.updateRoleResponse.parse(changed.data).description : undefined,
    again: again.status === 412 ? again.data.code : undefined,
    lines: linesOf(await report.stream.text()),
    missing: { status: missing.status, code: missing.data.code },
  }
}
