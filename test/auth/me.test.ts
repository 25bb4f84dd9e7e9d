import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { type Answer, call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/
let realm: Inside
let cy: Person
let entered: Answer
let token: string

beforeAll(async () => {
  await copyTenant('mirror', { legal_name: 'Mirror & Sons S.A.C.' })
  realm = await inside('mirror')
  cy = await addPerson(realm, 'cy')
  entered = await call('mirror', '/api/v1/auth/login', {
    body: { username: 'cy', password: cy.password },
    headers: { 'User-Agent': 'cy-phone/2', 'CF-Connecting-IP': '203.0.113.9' },
  })
  token = entered.body.access_token
})

describe('me', () => {
  it('is the caller, in this shape and no more', async () => {
    const answer = await call('mirror', '/api/v1/auth/me', { token })
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      sub: cy.id,
      username: 'cy',
      email: 'cy@people.test',
      email_verified: false,
      given_name: 'Cyan',
      family_name: 'Okonkwo',
      role: 'user',
      roles: ['user'],
      is_active: true,
      avatar: null,
      impersonated_by: null,
      tenant: 'mirror',
    })
    expectDiscreet(answer)
    expect(answer.trips).toBe(1)
  })

  it('shows a change of roles at once, whatever the token says', async () => {
    const dana = await addPerson(realm, 'dana', { roles: ['user', 'admin'] })
    const { access_token } = await login('mirror', { body: { username: 'dana', password: dana.password } })
    expect((await call('mirror', '/api/v1/auth/me', { token: access_token })).body.roles).toEqual(['admin', 'user'])
    await realm.asOwner(
      sql`update freehold.user_roles set ends_at = now() where user_id = ${dana.id} and role_id = (select id from freehold.roles where name = 'admin')`,
    )
    expect((await call('mirror', '/api/v1/auth/me', { token: access_token })).body.roles).toEqual(['user'])
    await realm.asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${dana.id}`)
    expectProblem(await call('mirror', '/api/v1/auth/me', { token: access_token }), 403, 'user_inactive')
  })

  it('is refused at once to who was deactivated', async () => {
    const eli = await addPerson(realm, 'eli')
    const { access_token } = await login('mirror', { body: { username: 'eli', password: eli.password } })
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${eli.id}`)
    for (const path of ['me', 'whoami'])
      expectProblem(await call('mirror', `/api/v1/auth/${path}`, { token: access_token }), 403, 'user_inactive')
  })

  it('is the same with a word in another case, and with more spaces, before the token', async () => {
    for (const Authorization of [`bearer ${token}`, `BEARER   ${token}`])
      expect((await knock('http://mirror.freehold.test/api/v1/auth/me', { headers: { Authorization } })).status).toBe(200)
  })

  it('answers HEAD like GET, without a body', async () => {
    const answer = await knock('http://mirror.freehold.test/api/v1/auth/me', {
      method: 'HEAD',
      headers: { Authorization: `Bearer ${token}` },
    })
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect(answer.headers.get('Content-Type')).toMatch(/^application\/json/)
    const refused = await knock('http://mirror.freehold.test/api/v1/auth/me', { method: 'HEAD' })
    expect([refused.status, refused.text]).toEqual([401, ''])
  })
})

describe('whoami', () => {
  it('is session, roles, permissions and tenant, in this shape and no more', async () => {
    const answer = await call('mirror', '/api/v1/auth/whoami', { token })
    expect(answer.status).toBe(200)
    const moment = expect.stringMatching(RFC_3339)
    expect(answer.body).toEqual({
      sub: cy.id,
      username: 'cy',
      tenant: { id: realm.id, subdomain: 'mirror', legal_name: 'Mirror & Sons S.A.C.', url: 'http://mirror.freehold.test' },
      roles: ['user'],
      permissions: ['session:delete', 'session:read', 'user:read', 'user:update'],
      mfa: { methods: [], backup_codes_left: 0, due_at: null },
      avatar: null,
      impersonated_by: null,
      session: {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        device: 'cy-phone/2',
        address: '203.0.113.9',
        created_at: moment,
        last_active_at: moment,
        expires_at: moment,
      },
      api_key: null,
      expires_at: moment,
    })
    const { session, expires_at } = answer.body
    expect((Date.parse(session.expires_at) - Date.parse(session.created_at)) / 86_400_000).toBeCloseTo(30, 3)
    expect(Math.abs(Date.parse(expires_at) - Date.now() - 900_000)).toBeLessThan(10_000)
    expectDiscreet(answer)
  })

  it('says the session of the token, not the newest', async () => {
    await login('mirror', { body: { username: 'cy', password: cy.password }, headers: { 'User-Agent': 'cy-desk/1' } })
    expect((await call('mirror', '/api/v1/auth/whoami', { token })).body.session.device).toBe('cy-phone/2')
  })
})

describe('a session', () => {
  it('is marked as active once a minute at most', async () => {
    const session = async () => (await call('mirror', '/api/v1/auth/whoami', { token })).body.session
    const { id, last_active_at } = await session()
    expect((await session()).last_active_at).toBe(last_active_at)
    await realm.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '2 minutes' where id = ${id}`)
    expect(Date.now() - Date.parse((await session()).last_active_at)).toBeLessThan(10_000)
  })

  it.each([
    ['idle for 8 days', sql`last_active_at = now() - interval '8 days'`],
    ['past its end', sql`expires_at = now() - interval '1 second'`],
    ['ended by somebody', sql`ended_at = now(), ended_because = 'test'`],
  ])('that is %s is session_ended', async (_, change) => {
    const { access_token } = await login('mirror', { body: { username: 'cy', password: cy.password } })
    const { id } = (await call('mirror', '/api/v1/auth/whoami', { token: access_token })).body.session
    await realm.asOwner(sql`update freehold.sessions set ${change} where id = ${id}`)
    const answer = await call('mirror', '/api/v1/auth/me', { token: access_token })
    expectProblem(answer, 401, 'session_ended')
  })
})
