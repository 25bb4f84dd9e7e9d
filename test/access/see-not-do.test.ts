/**
 * Threat: a caller finds out what exists out of their reach, by the difference between two refusals; or is told that there is nothing,
 * of what they see before them. What one may read is 403, what one may not read is 404, in the words of what does not exist. Every route
 * that changes something by its id is walked, as the document lists them.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { type Answer, call, makeTenant } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

type Operation = { 'x-permission'?: string }
type Route = { method: string; path: string; permission: string }
type Member = Awaited<ReturnType<typeof addMember>>

const NOBODY = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
/** Operators hold permissions for tenants and their migrations at scope all or not at all, and the admission refuses who does not hold one. */
const WHOLE = /^\/platform\/v1\/(tenants|migrations|doctor)/
/** The caller's own keys, identities and notifications: nobody reads those of others there. */
const OWN = /\/(api-keys|passkeys|identities|notifications)\/\{id\}/

let routes: Route[]
const here = {} as Record<
  '/api/v1' | '/platform/v1',
  { at: string; seer: Member; blind: Member; ids: (path: string) => string[] }
>

beforeAll(async () => {
  const document = (await call('', '/openapi.json')).body.paths as Record<string, Record<string, Operation>>
  routes = Object.entries(document).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => method !== 'get' && path.includes('{id}') && !WHOLE.test(path) && !path.endsWith('/avatar'))
      .map(([method, operation]) => ({ method: method.toUpperCase(), path, permission: operation['x-permission'] ?? '' })),
  )
  await copyTenant('see-not-do')
  here['/api/v1'] = await cast('see-not-do', await inside('see-not-do'))
  here['/platform/v1'] = await cast('', await inside(''))
})

/** Somebody who may change only what is theirs and reads everything, somebody who reads nothing else, and what is another's. */
async function cast(at: string, realm: Inside) {
  const acting = new Set(routes.map(({ permission }) => permission).filter((name) => name !== 'any'))
  const known = (await realm.asOwner(sql`select name from freehold.permissions`)).map(({ name }) => name as string)
  const reads = known.filter((name) => name.endsWith(':read'))
  await addRole(
    realm,
    'acts',
    known.filter((name) => acting.has(name)),
    'own',
  )
  await addRole(realm, 'reads', reads, 'all')
  const [seer, blind, other, third] = [
    await addMember(realm, 'seer', { roles: ['acts', 'reads'] }),
    await addMember(realm, 'blind', { roles: ['acts'] }),
    await addMember(realm, 'other', { roles: ['acts'] }),
    await addMember(realm, 'third', { roles: ['reads'] }),
  ]
  const unit = await addUnit(realm, 'team', 'see-not-do')
  const [key, override, delegation, passkey] = Array.from({ length: 4 }, () => crypto.randomUUID()) as [
    string,
    string,
    string,
    string,
  ]
  const [row] = await realm.asOwner(
    sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
      values (${key}, ${other.id}, 'theirs', ${key.slice(0, 8)}, sha256(${key}::bytea), '{user:read}')`,
    sql`insert into freehold.passkeys (id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, is_synced)
      values (${passkey}, ${other.id}, sha256(${passkey}::bytea), '\\x01', 0, 'see.test', 'theirs', ${passkey}, false)`,
    sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (${override}, ${other.id}, 'user:create', 'deny', 'all')`,
    sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at)
      select ${delegation}, ${other.id}, ${third.id}, r.id, now(), now() + interval '1 day' from freehold.roles r where r.name = 'acts'`,
    sql`select r.id as role, p.id as permission, s.id as session from freehold.roles r, freehold.permissions p, freehold.sessions s
      where r.name = 'acts' and p.name = 'user:create' and s.user_id = ${other.id}`,
  )
  const [audience] = await realm.asOwner(
    sql`insert into freehold.audiences (id, identifier, name) values (gen_random_uuid(), 'https://see.test', 'see') returning id`,
  )
  const [organization] = await realm.asOwner(
    sql`insert into freehold.organizations (id, name) values (gen_random_uuid(), 'see') returning id`,
  )
  const [external] = await realm.asOwner(
    sql`insert into freehold.providers (id, name, type, issuer, client_id, label) values (gen_random_uuid(), 'see', 'oidc', 'https://see.test', 'see', 'see')`,
    sql`insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id)
      select gen_random_uuid(), ${other.id}, p.id, 'see', 'see', 'see' from freehold.providers p where p.name = 'see' returning id, provider_id`,
  )
  const [webhook] = await realm.asOwner(
    sql`insert into freehold.webhooks (id, url, secret_encrypted, is_paused) values (gen_random_uuid(), 'https://see.test', 'see', true) returning id`,
  )
  const [hook] = await realm.asOwner(
    sql`insert into freehold.hooks (id, act, url, on_failure, secret_encrypted, is_paused) values (gen_random_uuid(), 'login', 'https://see.test', 'open', 'see', true) returning id`,
  )
  const [employee] = await realm.asOwner(
    sql`insert into freehold.employees (id, user_id, document_type, document_number, given_names, family_name)
      values (gen_random_uuid(), ${other.id}, 'dni', 'see', 'see', 'see') returning id`,
  )
  const [competency] = await realm.asOwner(
    sql`insert into freehold.competency_types (id, name, kind) values (gen_random_uuid(), 'see', 'training')`,
    sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at)
      select gen_random_uuid(), ${other.id}, t.id, 1, now() from freehold.competency_types t where t.name = 'see' returning id, type_id`,
  )
  const [invitation] = await realm.asOwner(
    sql`insert into freehold.invitations (id, email, inviter_id, token_hash, expires_at)
      values (gen_random_uuid(), 'see@invited.test', ${other.id}, sha256('see'), now() + interval '1 day') returning id`,
  )
  const ids = (path: string): string[] => {
    if (path.includes('/identities/')) return [external?.id]
    if (path.includes('/competency-types/')) return [competency?.type_id]
    if (path.includes('{user_id}')) return [organization?.id, other.id]
    if (path.includes('{key_id}')) return [other.id, key]
    if (path.includes('{override_id}')) return [other.id, override]
    if (path.includes('{role_id}')) return [other.id, row?.role]
    if (path.includes('{permission}')) return [row?.role, 'user:update']
    const things: Record<string, string> = {
      users: other.id,
      operators: other.id,
      units: unit,
      organizations: organization?.id,
      employees: employee?.id,
      competencies: competency?.id,
      invitations: invitation?.id,
      'api-keys': key,
      delegations: delegation,
      audiences: audience?.id,
      settings: external?.provider_id,
      webhooks: webhook?.id,
      hooks: hook?.id,
    }
    const more: Record<string, string> = {
      roles: row?.role,
      permissions: row?.permission,
      sessions: row?.session,
      auth: passkey,
    }
    const of = path.split('/')[3] ?? ''
    return [things[of] ?? more[of] ?? '']
  }
  return { at, seer, blind, ids }
}

const BODIES: [RegExp, object][] = [
  [/^PUT .*groups/, { groups: [] }],
  [/^PUT .*(users|operators)/, { email: 'x@people.test', username: 'renamed', role: 'acts' }],
  [/^PUT .*units/, { kind: 'team', name: 'Renamed' }],
  [/^PUT .*permissions/, { description: 'x' }],
  [/^PUT .*roles/, { name: 'renamed' }],
  [/^POST .*roles\/\{id\}\/permissions/, { permissions: [{ permission: 'user:update', scope: 'all' }] }],
  [/^POST .*overrides/, { permission: 'user:update', effect: 'deny' }],
  [/^POST .*users\/\{id\}\/roles/, { role_id: NOBODY }],
  [/^POST .*(reset-password|rotate)/, {}],
  [/^POST .*competencies.*revoke/, { reason: 'x' }],
  [/^POST .*(erase|impersonate|terminate)/, { reason: 'x' }],
  [/^POST .*replay/, { after: 0 }],
  [/^PATCH .*(api-keys|passkeys)/, { name: 'renamed' }],
  [/^PATCH/, {}],
]

function send({ method, path }: Route, token: string, ids: string[], at: string): Promise<Answer> {
  const body = BODIES.find(([pattern]) => pattern.test(`${method} ${path}`))?.[1]
  const filled = ids.reduce((so_far, id) => so_far.replace(/\{\w+\}/, encodeURIComponent(id)), path)
  return call(at, filled, { method, token, ...(body && { body }) })
}
const words = ({ body }: Answer) => [body.status, body.code, body.title, body.detail]

describe.each(['/api/v1', '/platform/v1'] as const)('under %s', (plane) => {
  const walk = () => routes.filter(({ path }) => path.startsWith(plane))

  it('what one may read and not change is forbidden at every route, and not not found', async () => {
    const { at, seer, ids } = here[plane]
    const wrong: string[] = []
    for (const route of walk()) {
      const answer = await send(route, seer.token, ids(route.path), at)
      const should = OWN.test(route.path) ? [404, 'not_found'] : [403, 'forbidden']
      if (`${[answer.status, answer.body.code]}` !== `${should}`)
        wrong.push(`${route.method} ${route.path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    }
    expect(walk().length).toBeGreaterThan(plane === '/api/v1' ? 25 : 12)
    expect(wrong).toEqual([])
  })

  it('what one may not read is not found at every route, in the words of what does not exist', async () => {
    const { at, blind, ids } = here[plane]
    const wrong: string[] = []
    for (const route of walk()) {
      const there = await send(route, blind.token, ids(route.path), at)
      const nothing = await send(route, blind.token, [NOBODY, route.path.includes('{permission}') ? 'user:update' : NOBODY], at)
      const is_refused = `${[there.status, there.body.code]}` === '404,not_found'
      if (!is_refused || `${words(there)}` !== `${words(nothing)}`)
        wrong.push(`${route.method} ${route.path}: ${words(there)} where nothing is ${words(nothing)}`)
    }
    expect(wrong).toEqual([])
  })

  it('what does not exist is not found, for whoever reads everything', async () => {
    const { at, seer } = here[plane]
    for (const route of walk()) {
      const answer = await send(route, seer.token, [NOBODY, route.path.includes('{permission}') ? 'user:update' : NOBODY], at)
      expectProblem(answer, 404, 'not_found', `${route.method} ${route.path}`)
    }
  })
})

it('a MANAGER of the preset coveris is told the same of a user and of their roles', async () => {
  await makeTenant('see-coveris', { role_preset: 'coveris' })
  const realm = await inside('see-coveris')
  const [manager, other] = [
    await addMember(realm, 'mia', { roles: ['MANAGER'] }),
    await addMember(realm, 'oli', { roles: ['VIEWER'] }),
  ]
  const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'VIEWER'`)
  const by = (method: string, path: string, body?: object) =>
    call('see-coveris', `/api/v1${path}`, { method, token: manager.token, ...(body && { body }) })
  expect((await by('GET', `/users/${other.id}`)).status).toBe(200)
  const patched = await by('PATCH', `/users/${other.id}`, { designation: 'Head' })
  expectProblem(patched, 403, 'forbidden')
  expect(patched.body.detail).toBe('You can read this, but your user:update does not reach it.')
  expectProblem(await by('POST', `/users/${other.id}/roles`, { role_id: role?.id }), 403, 'forbidden')
  expectProblem(await by('PATCH', `/users/${NOBODY}`, { designation: 'Head' }), 404, 'not_found')
})

it('sessions, logins and keys of somebody whom one may read are forbidden and not missing', async () => {
  const realm = await inside('see-not-do')
  await addRole(realm, 'watches', ['session:read', 'api_key:read'], 'own')
  const watcher = await addMember(realm, 'watcher', { roles: ['watches'] })
  const both = await addMember(realm, 'both', { roles: ['watches', 'user'] })
  await addRole(realm, 'reads-people', ['user:read'], 'all')
  const reader = await addMember(realm, 'reader', { roles: ['watches', 'reads-people'] })
  for (const path of ['sessions', 'sessions/history', 'api-keys']) {
    const ask = (token: string, id: string) => call('see-not-do', `/api/v1/users/${id}/${path}`, { token })
    expectProblem(await ask(reader.token, both.id), 403, 'forbidden')
    for (const { token } of [watcher, both]) expectProblem(await ask(token, reader.id), 404, 'not_found')
    expect((await ask(reader.token, reader.id)).status, path).toBe(200)
  }
})

it('an API key reads no more than it names: what its owner may read is not found to it', async () => {
  const { seer, ids } = here['/api/v1']
  const made = async (permissions: string[]) =>
    (await call('see-not-do', '/api/v1/api-keys', { token: seer.token, body: { name: permissions.join(), permissions } })).body
      .key
  const patch = (key: string) =>
    call('see-not-do', `/api/v1/users/${ids('/api/v1/users/{id}')[0]}`, {
      method: 'PATCH',
      headers: { 'X-API-Key': key },
      body: { designation: 'x' },
    })
  expectProblem(await patch(await made(['user:update'])), 404, 'not_found')
  expectProblem(await patch(await made(['user:update', 'user:read'])), 403, 'forbidden')
})
