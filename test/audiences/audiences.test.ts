/** Threat: the token that one API was given works at another one, or at Freehold; and it tells more of its user than the tenant wants. */
import { sql } from 'drizzle-orm'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { ask, bearer, expectRefused } from '../oauth/asking.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'audience-a'
const PATH = '/api/v1/audiences'
const API = 'https://billing.example/v1'
type Claims = { permissions: string[]; scope?: string; proof?: string; permissions_truncated?: boolean }

let realm: Inside
let admin: string
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('audience-b')
  realm = await inside(AT)
  await realm.asOwner(sql`update freehold.tenant set password_grant = true, max_sessions = 1000`)
  admin = (await login(AT)).access_token
})

const create = (body: object, token = admin) => call(AT, PATH, { token, body })
async function registered(identifier: string, more: object = {}) {
  const answer = await create({ identifier, name: 'Billing', ...more })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}
/** A new login, refreshed for a resource. */
async function tokenFor(resource: string, at = AT) {
  const { refresh_token } = await login(at)
  return ask(at, 'token', { grant_type: 'refresh_token', refresh_token, resource })
}
const claimsOf = async (resource: string) => decodeJwt<Claims>((await tokenFor(resource)).body.access_token)

describe('an audience', () => {
  it('is registered, listed, got, changed under If-Match and removed, and each change is in the audit', async () => {
    const made = await registered('urn:example:first', {
      token_permissions: 'list',
      token_permission_list: ['user:read', 'unit:read', 'user:read'],
    })
    expect(made).toMatchObject({ identifier: 'urn:example:first', token_permission_list: ['unit:read', 'user:read'] })
    expect((await call(AT, PATH, { token: admin })).body.data).toContainEqual(made)
    const got = await call(AT, `${PATH}/${made.id}`, { token: admin })
    expect([got.body, got.trips]).toEqual([made, 1])
    const headers = { 'If-Match': got.headers.get('ETag') ?? '' }
    const changing = { method: 'PATCH', token: admin, body: { name: 'Invoices', token_permissions: 'none' }, headers }
    const changed = await call(AT, `${PATH}/${made.id}`, changing)
    expect(changed.body).toMatchObject({ name: 'Invoices', token_permissions: 'none', identifier: made.identifier })
    expectProblem(await call(AT, `${PATH}/${made.id}`, changing), 412, 'etag_mismatch')
    expect((await call(AT, `${PATH}/${made.id}`, { method: 'DELETE', token: admin })).status).toBe(204)
    expectProblem(await call(AT, `${PATH}/${made.id}`, { token: admin }), 404, 'not_found')
    const rows = await realm.asOwner(
      sql`select action from freehold.audit_log where resource_type = 'audience' and resource_id = ${made.id} order by id`,
    )
    expect(rows.map(({ action }) => action).sort()).toEqual(['create', 'delete', 'update'])
  })

  it('of twenty at once with one identifier is made once', async () => {
    const body = { identifier: 'urn:example:raced', name: 'Raced' }
    const answers = await Promise.all(Array.from({ length: 20 }, () => create(body)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)])
    const refused = answers.find(({ status }) => status === 409)
    expect(refused && pointers(refused)).toEqual(['#/identifier'])
  })

  it.each([
    ['nothing of it', {}, ['#/identifier', '#/name']],
    ['no URI', { identifier: 'billing', name: 'x' }, ['#/identifier']],
    ['a fragment', { identifier: 'https://a.example/#b', name: 'x' }, ['#/identifier']],
    ['a space', { identifier: 'https://a.example/ b', name: 'x' }, ['#/identifier']],
    ['one that is too long', { identifier: `https://a.example/${'x'.repeat(255)}`, name: 'x' }, ['#/identifier']],
    ['the base domain', { identifier: 'https://freehold.test/api', name: 'x' }, ['#/identifier']],
    ['its own host', { identifier: 'http://audience-a.freehold.test', name: 'x' }, ['#/identifier']],
    ['the host of another tenant', { identifier: 'https://AUDIENCE-B.freehold.test:8443/', name: 'x' }, ['#/identifier']],
    [
      'permissions of no form',
      { identifier: 'urn:a:b', name: 'x', token_permission_list: ['USER'] },
      ['#/token_permission_list/0'],
    ],
    ['a rule that nobody knows', { identifier: 'urn:a:b', name: 'x', token_permissions: 'some' }, ['#/token_permissions']],
    ['an unknown field', { identifier: 'urn:a:b', name: 'x', surprise: 1 }, ['#/surprise']],
  ])('is refused with %s', async (_, body, where) => {
    const answer = await create(body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(where)
  })

  it('is refused beyond a hundred; of twenty at once for the last three places three are made', async () => {
    await copyTenant('audience-full')
    const full = await inside('audience-full')
    await full.asOwner(
      sql`insert into freehold.audiences (id, identifier, name) select gen_random_uuid(), 'urn:example:' || n, 'x' from generate_series(1, 97) n`,
    )
    const token = (await login('audience-full')).access_token
    const make = (n: number) => call('audience-full', PATH, { token, body: { identifier: `urn:example:more-${n}`, name: 'x' } })
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => make(n)))
    const refused = answers.filter(({ status }) => status !== 201)
    expect(refused).toHaveLength(17)
    for (const answer of refused) expectProblem(answer, 409, 'limit_reached')
    expect(refused[0]?.body.detail).toBe('A tenant can have at most 100 audiences: remove one first.')
    const { id } = answers.find(({ status }) => status === 201)?.body ?? {}
    expect((await call('audience-full', `${PATH}/${id}`, { method: 'PATCH', token, body: { name: 'y' } })).status).toBe(200)
    await call('audience-full', `${PATH}/${id}`, { method: 'DELETE', token })
    expect((await make(20)).status).toBe(201)
    expectProblem(await make(21), 409, 'limit_reached')
  })

  it('may be at a name that no tenant is given, which is for whoever runs the service', async () => {
    expect(await registered('https://api.freehold.test')).toMatchObject({ identifier: 'https://api.freehold.test' })
  })

  it('is for who holds the permission, in this tenant', async () => {
    await addPerson(realm, 'ana')
    const { access_token } = await login(AT, { body: { username: 'ana', password: 'Violet-Anchor-38' } })
    const { id } = await registered('urn:example:seen')
    expectProblem(await create({ identifier: 'urn:example:x', name: 'x' }, access_token), 403, 'forbidden')
    for (const method of ['GET', 'DELETE'])
      expectProblem(await call(AT, `${PATH}/${id}`, { method, token: access_token }), 403, 'forbidden')
    const strange = (await login('audience-b')).access_token
    expectProblem(await call('audience-b', `${PATH}/${id}`, { token: strange }), 404, 'not_found')
    expectProblem(await call(AT, PATH, { token: strange }), 401, 'token_wrong_tenant')
  })
})

describe('a token for an audience', () => {
  it('has its identifier as aud, verifies with the keys of the tenant, and opens nothing at Freehold', async () => {
    await registered(API)
    const answer = await tokenFor(API)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    const { access_token, refresh_token } = answer.body
    const keys = createLocalJWKSet((await call(AT, '/.well-known/jwks.json')).body)
    const { payload } = await jwtVerify<Claims>(access_token, keys, { issuer: realm.url, audience: API, typ: 'at+jwt' })
    expect(payload.aud).toBe(API)
    expect(payload).not.toHaveProperty('proof')
    expectProblem(await call(AT, '/api/v1/auth/me', { token: access_token }), 401, 'token_invalid')
    expectRefused(await call(AT, '/oauth/userinfo', { token: access_token }), 401, 'invalid_token')
    // The next one is for the tenant again.
    const next = await ask(AT, 'token', { grant_type: 'refresh_token', refresh_token })
    expect(decodeJwt(next.body.access_token).aud).toBe(realm.url)
    const own = await ask(AT, 'token', {
      grant_type: 'refresh_token',
      refresh_token: next.body.refresh_token,
      resource: `${realm.url}/`,
    })
    expect(decodeJwt(own.body.access_token).aud).toBe(realm.url)
  })

  it('is there for the password grant too, and for an API that nobody registered there is none, and no session', async () => {
    await registered('urn:example:direct')
    const form = { grant_type: 'password', username: ADMIN.email, password: ADMIN.password }
    const answer = await ask(AT, 'token', { ...form, resource: 'urn:example:direct' })
    expect(decodeJwt(answer.body.access_token).aud).toBe('urn:example:direct')
    const count = async () => (await realm.asOwner(sql`select count(*)::integer as n from freehold.sessions`))[0]?.n
    const before = await count()
    expectRefused(await ask(AT, 'token', { ...form, resource: 'urn:example:unknown' }), 400, 'invalid_target')
    expect(await count()).toBe(before)
    // Which APIs there are, a stranger is not told.
    const wrong = { ...form, password: 'Wrong-horse-99' }
    expectRefused(await ask(AT, 'token', { ...wrong, resource: 'urn:example:unknown' }), 400, 'invalid_grant')
    expectRefused(await ask(AT, 'token', { ...wrong, resource: 'urn:example:direct' }), 400, 'invalid_grant')
  })

  it('that nobody registered leaves the refresh token as it was', async () => {
    const { refresh_token } = await login(AT)
    const asked = { grant_type: 'refresh_token', refresh_token }
    expectRefused(await ask(AT, 'token', { ...asked, resource: 'urn:example:unknown' }), 400, 'invalid_target')
    expect((await ask(AT, 'token', asked)).status).toBe(200)
    await call('audience-b', PATH, { token: (await login('audience-b')).access_token, body: { identifier: 'urn:b', name: 'b' } })
    expectRefused(await tokenFor('urn:b'), 400, 'invalid_target')
  })

  it('is introspected by the services of the tenant as long as the API is registered, and ends no session', async () => {
    const { id } = await registered('urn:example:shown', {
      token_permissions: 'list',
      token_permission_list: ['user:read', 'nothing:here'],
    })
    const { access_token } = (await tokenFor('urn:example:shown')).body
    const shown = async () => (await ask(AT, 'introspect', { token: access_token }, bearer(admin))).body
    expect(await shown()).toMatchObject({ active: true, aud: 'urn:example:shown', scope: 'user:read' })
    expectRefused(await ask(AT, 'revoke', { token: access_token }), 400, 'unsupported_token_type')
    expect((await shown()).active).toBe(true)
    await call(AT, `${PATH}/${id}`, { method: 'DELETE', token: admin })
    expect(await shown()).toEqual({ active: false })
  })
})

describe('what a token tells of its user', () => {
  it('is for an API what its row says: up to a hundred, those of a list that are held, or none', async () => {
    await registered('urn:example:all')
    await registered('urn:example:list', { token_permissions: 'list', token_permission_list: ['user:read', 'nothing:here'] })
    await registered('urn:example:none', { token_permissions: 'none' })
    const [all, list, none] = [
      await claimsOf('urn:example:all'),
      await claimsOf('urn:example:list'),
      await claimsOf('urn:example:none'),
    ]
    expect([all.permissions.length, all.permissions_truncated]).toEqual([100, true])
    expect([list.permissions, list.scope]).toEqual([['user:read'], 'user:read'])
    expect(none.permissions).toEqual([])
    for (const claims of [list, none]) expect(claims).not.toHaveProperty('permissions_truncated')
    expect(none).not.toHaveProperty('scope')
  })

  it('is at Freehold what the settings say, and takes nothing from what the user may do', async () => {
    const set = (body: object) => call(AT, '/api/v1/settings', { method: 'PATCH', token: admin, body })
    expect((await set({ token_permissions: 'list', token_permission_list: ['user:read'] })).status).toBe(200)
    const listed = (await login(AT)).access_token
    expect(decodeJwt<Claims>(listed).permissions).toEqual(['user:read'])
    expect((await call(AT, '/api/v1/units', { token: listed })).status).toBe(200)
    await set({ token_permissions: 'none' })
    expect(decodeJwt<Claims>((await login(AT)).access_token).permissions).toEqual([])
    expectProblem(await set({ token_permissions: 'some' }), 400, 'invalid_request')
    expectProblem(await set({ token_permission_list: ['nothing'] }), 400, 'invalid_request')
    expect((await set({ token_permissions: 'all', token_permission_list: [] })).status).toBe(200)
  })
})
