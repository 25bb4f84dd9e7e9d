import { rucFor } from '../dev/settings.ts'
import { Failure } from '../freehold/failure.ts'

/** The line of JSON of a start, as far as it is used. */
export type Facts = {
  url: string
  platform: { email: string; password: string }
  tenant: { email: string; password: string }
  postgres_url: string
}

type Login = { email: string; password: string }
/** What was done in a data folder, and what a later release must find there. */
export type Lived = {
  operator: Login
  demo: Login
  acme: {
    id: string
    admin: Login
    /** An analyst in the team, who logged in. */
    person: Login & { id: string; refresh_token: string }
    unit: { id: string; name: string }
    role: { id: string; name: string }
    key: string
  }
  /** A tenant that was deactivated. */
  closed: { id: string; admin: Login }
}

/**
 * Uses a start as its users do, through routes that every release since the baseline has: two more tenants, and in one of them a team, a role, a person
 * with both, an exception, an API key, a session and mails. Fails with the answer that was not expected.
 */
export async function live({ url, platform, tenant: demo }: Facts): Promise<Lived> {
  const port = new URL(url).port
  const post = async (path: string, body: unknown, { at, token }: { at?: string; token?: string } = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Prefer: 'wait=30',
        ...(at && { 'X-Tenant': at }),
        ...(token && { Authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Failure(`POST ${path} was answered ${answer.status}: ${text}`)
    return text ? JSON.parse(text) : null
  }
  const { access_token: operator } = await post('/platform/v1/auth/login', platform)
  const made = async (subdomain: string, admin: Login): Promise<string> => {
    const wanted = { subdomain, legal_name: `${subdomain} S.A.C.`, tax_id: rucFor(subdomain) }
    const body = { ...wanted, admin_email: admin.email, admin_password: admin.password }
    return (await post('/platform/v1/tenants', body, { token: operator })).id
  }
  const admin = { email: 'ada@acme.test', password: 'Tr0ub4dor-and-3' }
  const acme = await made('acme', admin)
  const closing = { email: 'cleo@closed.test', password: 'Copper-Kettle-58' }
  const closed = await made('closed', closing)
  await post(`/platform/v1/tenants/${closed}/deactivate`, {}, { token: operator })

  const at = 'acme'
  const login = (who: Login) => post('/api/v1/auth/login', { email: who.email, password: who.password }, { at })
  const { access_token: token } = await login(admin)
  const asAda = (path: string, body: unknown) => post(`/api/v1${path}`, body, { at, token })
  const unit = await asAda('/units', { kind: 'team', name: 'Laboratory' })
  const permissions = [{ permission: 'document:read', scope: 'team' }]
  const role = await asAda('/roles', { name: 'analyst', permissions })
  const first = { email: 'cy@acme.test', password: 'Violet-Anchor-38' }
  const { id } = await asAda('/users', { ...first, given_name: 'Cy', role: role.name, unit_id: unit.id })
  const person = { ...first, password: 'Amber-Lantern-47' }
  const { access_token } = await login(first)
  const change = { current_password: first.password, new_password: person.password }
  await post('/api/v1/auth/password-change', change, { at, token: access_token })
  const { refresh_token } = await login(person)
  await asAda(`/users/${id}/overrides`, { permission: 'document:approve', effect: 'deny' })
  const { key } = await asAda('/api-keys', { name: 'nightly', permissions: ['user:read'] })
  await post('/api/v1/auth/password-reset', { email: person.email }, { at })
  return {
    operator: platform,
    demo: { email: demo.email, password: demo.password },
    acme: {
      id: acme,
      admin,
      person: { ...person, id, refresh_token },
      unit: { id: unit.id, name: unit.name },
      role: { id: role.id, name: role.name },
      key,
    },
    closed: { id: closed, admin: closing },
  }
}
