/** Threat: a key opens something that it should not, or still opens what it opened before. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Member } from '../roles/cast.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { type KeyCast, keyCast, type Made } from './cast.ts'

let here: KeyCast
let cy: Member
let robot: Made
beforeAll(async () => {
  here = await keyCast('by-key')
  cy = await here.member('cy', { can: { 'unit:read': 'own', 'user:read': 'own' } })
  robot = await here.made(['unit:read'], {}, cy.token)
})

const units = (key: string, headers: Record<string, string> = {}) => here.by(key, '/units', { headers })
const from = (address: string) => ({ 'CF-Connecting-IP': address })
const someone = async (username: string, can: Record<string, string> = { 'unit:read': 'all' }) => {
  const person = await here.member(username, { can })
  return { ...person, ...(await here.made(['unit:read'], {}, person.token)), user_id: person.id }
}

describe('a key', () => {
  it('opens what it names in one round trip, as Authorization or as X-API-Key', async () => {
    const bearer = await units(robot.key)
    expect([bearer.status, bearer.trips]).toEqual([200, 1])
    const header = await call('by-key', '/api/v1/units', { headers: { 'X-API-Key': robot.key } })
    expect([header.status, header.trips]).toEqual([200, 1])
    const base = await call('', '/api/v1/units', { tenant: 'by-key', headers: { Authorization: `bearer  ${robot.key}` } })
    expect(base.status).toBe(200)
  })

  it('does not open what it does not name, although its owner may', async () => {
    const refused = await here.by(robot, '/users')
    expectProblem(refused, 403, 'forbidden')
    expect(refused.body.detail).toContain('user:read')
    expect((await here.ask('/users', { token: cy.token })).status).toBe(200)
  })

  it('tells who it is: its owner, with what it names, and no session', async () => {
    const { body, trips } = await here.by(robot, '/auth/whoami')
    expect(trips).toBe(1)
    expect(body).toMatchObject({ sub: cy.id, username: 'cy', permissions: ['unit:read'], session: null })
    expect(Date.parse(body.expires_at)).toBe(Date.parse(robot.expires_at ?? ''))
    expect(body.api_key).toEqual({ id: robot.id, prefix: robot.prefix, name: 'robot', permissions: ['unit:read'] })
    const session = await here.ask('/auth/whoami', { token: cy.token })
    expect(session.body.api_key).toBeNull()
    expect(session.body.permissions).toContain('user:read')
    expect((await here.by(robot, '/auth/me')).body.sub).toBe(cy.id)
    const until = new Date(Date.now() + 3_600_000).toISOString()
    const dated = await here.made(['unit:read'], { expires_at: until }, cy.token)
    expect((await here.by(dated, '/auth/whoami')).body.expires_at).toBe(until)
  })

  it('that was mistyped is refused without a database', async () => {
    const { key } = robot
    const swapped = key.slice(0, 20) + key[21] + key[20] + key.slice(22)
    const other = `${key.slice(0, -1)}${key.endsWith('a') ? 'b' : 'a'}`
    const typed = [
      swapped,
      other,
      key.slice(0, -1),
      `${key}x`,
      key.slice(0, 30),
      'fh_',
      `fh_${'x'.repeat(47)}`,
      `${key}${'x'.repeat(8_000)}`,
    ]
    for (const wrong of typed.filter((text) => text !== key))
      for (const answer of [await units(wrong), await call('by-key', '/api/v1/units', { headers: { 'X-API-Key': wrong } })]) {
        expectProblem(answer, 401, 'token_invalid', wrong)
        expect([answer.trips, answer.master]).toEqual([0, 0])
        expect(answer.body.detail).not.toContain(wrong.slice(0, 12))
      }
    for (const wrong of [key.toUpperCase(), key.replace('fh_', 'FH_'), key.replace('fh_', 'gh_'), key.toLowerCase()]) {
      const answer = await units(wrong)
      expectProblem(answer, 401, 'token_invalid', wrong)
      expect(answer.trips).toBe(0)
    }
    expectProblem(await call('by-key', '/api/v1/units', { headers: { 'X-API-Key': cy.token } }), 401, 'token_invalid')
  })

  it('of another tenant, or of nobody, is refused', async () => {
    await copyTenant('by-key-other')
    expectProblem(await call('by-key-other', '/api/v1/units', { token: robot.key }), 401, 'token_invalid')
    expectProblem(await call('', '/platform/v1/tenants', { token: robot.key }), 401, 'token_invalid')
    const lost = await here.made(['unit:read'])
    await here.realm.asOwner(sql`delete from freehold.api_keys where id = ${lost.id}`)
    expectProblem(await units(lost.key), 401, 'token_invalid')
    expectProblem(await call('', '/api/v1/units', { token: robot.key }), 400, 'tenant_required')
  })

  it('is read from no address and from no body', async () => {
    for (const name of ['key', 'api_key', 'access_token', 'X-API-Key', 'token'])
      expectProblem(await call('by-key', `/api/v1/auth/me?${name}=${robot.key}`), 401, 'token_missing')
    expectProblem(await call('by-key', '/api/v1/authz/check', { body: { key: robot.key, checks: [] } }), 401, 'token_missing')
    expectProblem(
      await call('by-key', '/api/v1/units', { headers: { Authorization: `Basic ${btoa(`${robot.key}:`)}` } }),
      401,
      'token_invalid',
    )
    expectProblem(await call('by-key', '/api/v1/units', { headers: { 'X-API-Key': '' } }), 401, 'token_missing')
  })

  it('beside another credential is refused, also beside itself', async () => {
    const twice = new Headers([['X-API-Key', robot.key]])
    twice.append('X-API-Key', robot.key)
    const both = new Headers([['Authorization', `Bearer ${robot.key}`]])
    both.append('Authorization', `Bearer ${robot.key}`)
    const sent: HeadersInit[] = [
      { Authorization: `Bearer ${cy.token}`, 'X-API-Key': robot.key },
      { Authorization: `Bearer ${robot.key}`, 'X-API-Key': robot.key },
      { Authorization: 'Basic eDp4', 'X-API-Key': robot.key },
      twice,
      both,
    ]
    for (const headers of sent)
      expectProblem(await knock('http://by-key.freehold.test/api/v1/units', { headers }), 400, 'credentials_ambiguous')
  })
})

describe('what happens to its owner is felt by the next request', () => {
  it('who was switched off, and on again', async () => {
    const dee = await someone('dee')
    expect((await here.ask(`/users/${dee.user_id}/deactivate`, { method: 'POST' })).status).toBe(200)
    expectProblem(await units(dee.key), 403, 'user_inactive')
    await here.ask(`/users/${dee.user_id}/reactivate`, { method: 'POST' })
    expect((await units(dee.key)).status).toBe(200)
  })

  it('who lost a permission, all roles, or was denied', async () => {
    const eve = await someone('eve')
    const role = await here.roleId('of eve')
    await here.ask(`/roles/${role}/permissions/unit:read`, { method: 'DELETE' })
    expectProblem(await units(eve.key), 403, 'forbidden')
    await here.ask(`/roles/${role}/permissions`, { body: { permissions: [{ permission: 'unit:read', scope: 'all' }] } })
    expect((await units(eve.key)).status).toBe(200)
    await here.ask(`/users/${eve.user_id}/overrides`, { body: { permission: 'unit:read', effect: 'deny' } })
    expectProblem(await units(eve.key), 403, 'forbidden')
    await here.realm.asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${eve.user_id}`)
    expectProblem(await here.by(eve.key, '/auth/me'), 403, 'user_inactive')
  })

  it('who reaches less: the key reaches less', async () => {
    const gil = await someone('gil', { 'unit:read': 'all' })
    await here.unit('far away')
    const names = async () => (await units(gil.key)).body.data.map(({ name }: { name: string }) => name)
    expect(await names()).toContain('far away')
    const role = await here.roleId('of gil')
    await here.ask(`/roles/${role}/permissions/unit:read`, { method: 'DELETE' })
    await here.ask(`/roles/${role}/permissions`, { body: { permissions: [{ permission: 'unit:read', scope: 'own' }] } })
    expect(await names()).toEqual([])
  })

  it('whose sessions all ended, or whose password ran out or must be changed: the key goes on', async () => {
    const hal = await someone('hal')
    await here.realm.asOwner(
      sql`update freehold.users set must_change_password = true, password_changed_at = now() - interval '2 years' where id = ${hal.user_id}`,
      sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where user_id = ${hal.user_id}`,
    )
    expectProblem(await here.ask('/units', { token: hal.token }), 401, 'session_ended')
    const access_token = await tokenOf('by-key', 'hal')
    expectProblem(await here.ask('/units', { token: access_token }), 403, 'password_change_required')
    expect((await units(hal.key)).status).toBe(200)
  })
})

describe('a key with addresses', () => {
  it.each<[string[], string[], string[]]>([
    [
      ['192.0.2.0/24'],
      ['192.0.2.1', '192.0.2.255', '::ffff:192.0.2.1', '::ffff:c000:0201'],
      ['192.0.3.1', '::ffff:192.0.3.1', '2001:db8::1', '::192.0.2.1'],
    ],
    [['2001:db8::/32'], ['2001:db8::1', '2001:DB8:FFFF::'], ['2001:db9::1', '192.0.2.1']],
    [
      ['198.51.100.7', '2001:db8::7'],
      ['198.51.100.7', '2001:db8::7', '2001:db8:0:0:0:0:0:7'],
      ['198.51.100.8', '2001:db8::8'],
    ],
    [['::ffff:203.0.113.0/120'], ['203.0.113.9', '::ffff:203.0.113.9'], ['203.0.114.9']],
    [['0.0.0.0/0'], ['8.8.8.8', '::ffff:8.8.8.8'], ['2001:db8::1']],
    [['::/0'], ['2001:db8::1'], ['8.8.8.8']],
  ])('%j works from %j and not from %j', async (addresses, good, bad) => {
    const { key } = await here.made(['unit:read'], { addresses }, cy.token)
    for (const address of good) expect((await units(key, from(address))).status, address).toBe(200)
    for (const address of [...bad, 'garbage', '192.0.2.1/24 ', '1', "'", 'x'.repeat(200)]) {
      const refused = await units(key, from(address))
      expectProblem(refused, 403, 'forbidden', address)
      expect(refused.body.detail).toContain(address.slice(0, 64).trim())
    }
    const unknown = await units(key)
    expectProblem(unknown, 403, 'forbidden')
    expect(unknown.body.detail).toContain('unknown address')
  })

  it('that is refused is recorded, with its owner and which key it was', async () => {
    const made = await here.made(['unit:read'], { addresses: ['192.0.2.0/24'] }, cy.token)
    expectProblem(await units(made.key, from('203.0.113.200')), 403, 'forbidden')
    const recorded = sql`select l.user_id, l.activity_type, d.user_name, d.address, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'ACCESS_REFUSED' and d.address = '203.0.113.200'`
    await expect.poll(async () => (await here.realm.asOwner(recorded)).length).toBe(1)
    expect((await here.realm.asOwner(recorded))[0]).toEqual({
      user_id: cy.id,
      activity_type: 'ACCESS_REFUSED',
      user_name: 'cy',
      address: '203.0.113.200',
      after: { code: 'forbidden', permission: 'unit:read', api_key_id: made.id },
    })
  })
})

describe('with a key nobody', () => {
  it.each<[string, string, string, unknown?]>([
    ['changes a password', 'POST', '/auth/password-change', { current_password: 'x', new_password: 'y' }],
    ['logs out', 'POST', '/auth/logout'],
    ['logs out everywhere', 'POST', '/auth/logout-all'],
    ['sees where they are logged in', 'GET', '/sessions'],
    ['sees their logins', 'GET', '/sessions/history'],
    ['makes a key', 'POST', '/api-keys', { name: 'x', permissions: ['unit:read'] }],
    ['sees keys', 'GET', '/api-keys'],
    ['sees a key', 'GET', '/api-keys/{id}'],
    ['changes a key', 'PATCH', '/api-keys/{id}', { permissions: ['user:read'] }],
    ['rotates a key', 'POST', '/api-keys/{id}/rotate', {}],
    ['revokes a key', 'DELETE', '/api-keys/{id}'],
    ['revokes somebody’s key', 'DELETE', '/users/{id}/api-keys/{id}'],
  ])('%s, whatever it names; and no database is asked', async (_, method, path, body) => {
    const all = await here.made([
      'api_key:create',
      'api_key:read',
      'api_key:update',
      'api_key:delete',
      'session:read',
      'session:delete',
      'user:update',
    ])
    const refused = await here.by(all, path.replaceAll('{id}', all.id), { method, body })
    expectProblem(refused, 403, 'forbidden')
    expect(refused.body.detail).toMatch(/API key/)
    expect(refused.trips).toBe(0)
    expect((await here.by(all, '/auth/me')).status).toBe(200)
  })
})

it('the document says where a key is taken, and where not', async () => {
  const { body } = await call('', '/openapi.json')
  expect(body.components.securitySchemes.api_key).toMatchObject({ type: 'apiKey', in: 'header', name: 'X-API-Key' })
  expect(body.paths['/api/v1/units'].get.security).toEqual([{ bearer: [] }, { cookie: [] }, { api_key: [] }])
  expect(body.paths['/api/v1/api-keys'].post.security).toEqual([{ bearer: [] }, { cookie: [] }])
  expect(body.paths['/api/v1/auth/logout'].post['x-credential']).toBe('session')
})
