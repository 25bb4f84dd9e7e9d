/** How to ask each route that creates, with new names each time. */
import { expect } from 'vitest'
import { addPerson, inside } from '../support/inside.ts'
import { call, newRuc } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { strangersDatabase } from '../support/stranger.ts'
import { copyTenant } from '../support/tenants.ts'

export const AT = 'once'

/** A request that a route answers with 201 or 202, another one, and one that is refused by the database or before it. */
export type Recipe = { path: string; body: object; other: object; bad: object; secret?: (body: any) => unknown }

let numbered = 0
const newName = () => `n${++numbered}${crypto.randomUUID().slice(0, 6)}`

export type Here = { people: string[]; tenantToken: string; operatorToken: string }

export async function prepare(): Promise<Here> {
  await copyTenant(AT)
  const realm = await inside(AT)
  const people = []
  for (const name of ['ana', 'eve', 'ida']) people.push((await addPerson(realm, name)).id)
  const [tenantToken, operatorToken] = [await tokenOf(AT), await tokenOf('', 'ada')]
  return { people, tenantToken, operatorToken }
}

const keyOf = (body: any) => body.key

/** A recipe for each route of the document; a route without one fails the tests. */
export function recipes({ tenantToken, operatorToken }: Here): Record<string, () => Promise<Recipe>> {
  const provider = () => ({
    name: newName().slice(0, 32),
    type: 'oidc',
    issuer: 'https://id.once.example',
    client_id: 'once',
    label: 'Once',
  })
  const made = async (at: string, token: string, path: string, body: object) => {
    const answer = await call(at, path, { token, body })
    expect(answer.status, JSON.stringify(answer.body)).toBe(201)
    return answer.body
  }
  const person = async () => (await addPerson(await inside(AT), newName())).id
  const keys = (prefix: string, at: string, token: string, permission: string): Record<string, () => Promise<Recipe>> => {
    const named = () => ({ name: newName(), permissions: [permission] })
    return {
      [`${prefix}/api-keys`]: async () => ({
        path: `${prefix}/api-keys`,
        body: named(),
        other: named(),
        bad: { name: 'x', permissions: ['nothing:known'] },
        secret: keyOf,
      }),
      [`${prefix}/api-keys/{id}/rotate`]: async () => ({
        path: `${prefix}/api-keys/${(await made(at, token, `${prefix}/api-keys`, named())).id}/rotate`,
        body: { overlap_minutes: 5 },
        other: { overlap_minutes: 6 },
        bad: { overlap_minutes: -1 },
        secret: keyOf,
      }),
    }
  }
  const users = (path: string) => async () => ({
    path,
    body: { email: `${newName()}@people.test` },
    other: { email: `${newName()}@people.test` },
    bad: { email: `${newName()}@people.test`, manager_id: crypto.randomUUID() },
    secret: (body: any) => body.initial_password,
  })
  const activities = (path: string) => async () => ({
    path,
    body: { activity_type: 'REPORT_SENT', action: 'send', resource_type: 'report', resource_id: newName() },
    other: { activity_type: 'REPORT_SENT', action: 'send', resource_type: 'report', resource_id: newName() },
    bad: { activity_type: 'LOGIN', action: 'send', resource_type: 'report' },
  })
  const adopted = async () => ({ ...tenant(), connection_string: (await strangersDatabase(newName())).url })
  const tenant = () => ({ subdomain: newName(), legal_name: 'x', tax_id: newRuc(), admin_email: 'bo@acme.test' })
  return {
    ...keys('/api/v1', AT, tenantToken, 'unit:read'),
    ...keys('/platform/v1', '', operatorToken, 'tenant:read'),
    '/api/v1/users': users('/api/v1/users'),
    '/platform/v1/operators': users('/platform/v1/operators'),
    '/api/v1/activities': activities('/api/v1/activities'),
    '/platform/v1/audit': activities('/platform/v1/audit'),
    '/api/v1/units': async () => ({
      path: '/api/v1/units',
      body: { kind: 'team', name: newName() },
      other: { kind: 'team', name: newName() },
      bad: { kind: 'team', name: newName(), parent_id: crypto.randomUUID() },
    }),
    '/api/v1/settings/providers': async () => ({
      path: '/api/v1/settings/providers',
      body: provider(),
      other: provider(),
      bad: { ...provider(), issuer: 'http://id.once.example' },
    }),
    '/api/v1/webhooks': async () => ({
      path: '/api/v1/webhooks',
      body: { url: 'https://hooks.once.example/in' },
      other: { url: 'https://hooks.once.example/other' },
      bad: { url: 'http://hooks.once.example/in' },
      secret: (made) => made.secret,
    }),
    '/api/v1/hooks': async () => ({
      path: '/api/v1/hooks',
      body: { act: 'login', url: 'https://hooks.once.example/in', on_failure: 'open', is_paused: true },
      other: { act: 'login', url: 'https://hooks.once.example/other', on_failure: 'open', is_paused: true },
      bad: { act: 'login', url: 'http://hooks.once.example/in', on_failure: 'open', is_paused: true },
      secret: (made) => made.secret,
    }),
    '/api/v1/organizations': async () => ({
      path: '/api/v1/organizations',
      body: { name: newName() },
      other: { name: newName() },
      bad: { name: newName(), plan_group: 'nothing-known' },
    }),
    '/api/v1/competency-types': async () => ({
      path: '/api/v1/competency-types',
      body: { name: newName(), kind: 'training' },
      other: { name: newName(), kind: 'training' },
      bad: { name: newName(), kind: 'hobby' },
    }),
    '/api/v1/competencies': async () => {
      const token = tenantToken
      const type = await call(AT, '/api/v1/competency-types', { token, body: { name: newName(), kind: 'training' } })
      const user_id = (await call(AT, '/api/v1/users/me', { token })).body.id
      const competency = { user_id, type_id: type.body.id, level: 1, issued_at: '2026-01-01' }
      return {
        path: '/api/v1/competencies',
        body: competency,
        other: { ...competency, level: 2 },
        bad: { ...competency, type_id: crypto.randomUUID() },
      }
    },
    '/api/v1/employees': async () => {
      const employee = { document_type: 'dni', given_names: 'Once', family_name: 'Once' }
      return {
        path: '/api/v1/employees',
        body: { ...employee, document_number: newName() },
        other: { ...employee, document_number: newName() },
        bad: { ...employee, document_number: newName(), unit_id: crypto.randomUUID() },
      }
    },
    '/api/v1/invitations': async () => ({
      path: '/api/v1/invitations',
      body: { email: `${newName()}@once.test` },
      other: { email: `${newName()}@once.test` },
      bad: { email: `${newName()}@once.test`, organization_id: crypto.randomUUID() },
    }),
    '/api/v1/audiences': async () => ({
      path: '/api/v1/audiences',
      body: { name: 'x', identifier: `https://${newName()}.test` },
      other: { name: 'x', identifier: `https://${newName()}.test` },
      bad: { name: 'x', identifier: 'https://freehold.test' },
    }),
    '/api/v1/permissions': async () => ({
      path: '/api/v1/permissions',
      body: { name: `${newName()}:read` },
      other: { name: `${newName()}:read` },
      bad: { name: 'unit:read' },
    }),
    '/api/v1/roles': async () => ({
      path: '/api/v1/roles',
      body: { name: newName(), permissions: [{ permission: 'unit:read', scope: 'all' }] },
      other: { name: newName() },
      bad: { name: newName(), permissions: [{ permission: 'nothing:known', scope: 'all' }] },
    }),
    '/api/v1/users/{id}/roles': async () => {
      const role = async () => (await made(AT, tenantToken, '/api/v1/roles', { name: newName() })).id
      return {
        path: `/api/v1/users/${await person()}/roles`,
        body: { role_id: await role() },
        other: { role_id: await role() },
        bad: { role_id: crypto.randomUUID() },
      }
    },
    '/api/v1/users/{id}/overrides': async () => ({
      path: `/api/v1/users/${await person()}/overrides`,
      body: { permission: 'unit:read', effect: 'deny' },
      other: { permission: 'user:read', effect: 'deny' },
      bad: { permission: 'nothing:known', effect: 'deny' },
    }),
    '/api/v1/delegations': async () => ({
      path: '/api/v1/delegations',
      body: { delegate_id: await person(), permissions: ['unit:read'], ends_at: '2999-01-01T00:00:00Z', reason: newName() },
      other: { delegate_id: await person(), permissions: ['unit:read'], ends_at: '2999-01-01T00:00:00Z' },
      bad: { delegate_id: crypto.randomUUID(), permissions: ['unit:read'], ends_at: '2999-01-01T00:00:00Z' },
    }),
    '/api/v1/usage/documents': async () => ({
      path: '/api/v1/usage/documents',
      body: { count: 1 },
      other: { count: 2 },
      bad: { count: 0 },
    }),
    '/platform/v1/plans': async () => ({
      path: '/platform/v1/plans',
      body: { key: newName(), name: 'x' },
      other: { key: newName(), name: 'x' },
      bad: { key: newName(), name: '' },
    }),
    '/platform/v1/tenants/{id}/licenses': async () => ({
      path: `/platform/v1/tenants/${(await inside(AT)).id}/licenses`,
      body: { key: newName(), valid_until: '2999-01-01T00:00:00Z' },
      other: { key: newName(), valid_until: '2999-01-01T00:00:00Z' },
      bad: { key: newName(), valid_until: '1999-01-01T00:00:00Z' },
    }),
    '/platform/v1/tenants': async () => ({
      path: '/platform/v1/tenants',
      body: tenant(),
      other: tenant(),
      bad: { ...tenant(), tax_id: '1' },
      secret: (body: any) => body.initial_admin?.password,
    }),
    '/platform/v1/tenants/adopt': async () => ({
      path: '/platform/v1/tenants/adopt',
      body: await adopted(),
      other: await adopted(),
      bad: { ...(await adopted()), tax_id: '1' },
      secret: (body: any) => body.initial_admin?.password,
    }),
  }
}

/** Another session of the same user. */
export const otherSession = async (template: string) =>
  (await plantSession(template.startsWith('/platform/') ? '' : AT, template.startsWith('/platform/') ? 'ada' : 'bo')).access_token
