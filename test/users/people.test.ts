/** Making, reading and changing a person, by somebody who reaches all of them. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { catalogue } from '../../src/presets/catalogue.ts'
import { type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call, login } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from './cast.ts'

const AT = 'people'
let realm: Inside
let token: string
let bo: any
let unit: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('people-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
  bo = (await call(AT, '/api/v1/users/me', { token })).body
  unit = await addUnit(realm, 'department', 'Laboratory')
})

let n = 0
const newcomer = (more: object = {}) => ({ email: `new-${n++}@acme.test`, ...more })
const post = (body: object, as = token) => call(AT, '/api/v1/users', { token: as, body })
const made = async (more: object = {}) => {
  const answer = await post(newcomer(more))
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}
const at = (id: string, method: string, body?: object, headers: Record<string, string> = {}, as = token) =>
  call(AT, `/api/v1/users/${id}`, { token: as, method, headers, ...(body && { body }) })
const get = (id: string, as = token) => call(AT, `/api/v1/users/${id}`, { token: as })

describe('somebody new', () => {
  it('is made from an e-mail, with a role, a first password that is told once, and a place', async () => {
    const answer = await post({ email: ' Zoë.Quispe+x@ACME.test'.trim().replace('ë', 'e') })
    expect(answer.status).toBe(201)
    const { initial_password, ...user } = answer.body
    expect(user).toMatchObject({
      username: 'zoe.quispex',
      email: 'zoe.quispe+x@acme.test',
      role: 'user',
      roles: ['user'],
      locale: 'en',
      timezone: 'UTC',
      preferences: {},
      is_active: true,
      must_change_password: true,
      email_verified: false,
      unit_id: null,
      manager_id: null,
    })
    expect(initial_password).toMatch(/^\S{20}$/)
    expect(answer.headers.get('Location')).toBe(`/api/v1/users/${user.id}`)
    expect((await get(user.id)).body).toEqual(user)
    const { must_change_password } = await login(AT, { body: { email: user.email, password: initial_password } })
    expect(must_change_password).toBe(true)
  })

  it('is made with everything that they can have', async () => {
    const given = {
      username: 'Inés.Ñandú',
      given_name: 'Inés',
      family_name: 'Ñandú',
      phone: '+51 987 654 321',
      role: 'admin',
      unit_id: unit,
      manager_id: bo.id,
      designation: 'Chemist',
      description: 'x'.repeat(140),
      locale: 'es-PE',
      timezone: 'America/Lima',
      preferences: { theme: { dark: true }, rows: [1, null] },
      joined_at: '2026-01-31T22:00:00-05:00',
    }
    const user = await made({ ...given, password: 'Quiet-Harbour-77' })
    expect(user).toMatchObject({
      ...given,
      username: 'inés.ñandú',
      joined_at: '2026-02-01T03:00:00.000000Z',
      must_change_password: true,
    })
    expect(user).not.toHaveProperty('initial_password')
    await login(AT, { body: { username: 'INÉS.ñandú', password: 'Quiet-Harbour-77' } })
  })

  it('whose e-mail or username somebody has is refused, naming which', async () => {
    const known = await made({ username: 'only-one' })
    for (const [field, body] of [
      ['email', newcomer({ email: known.email.toUpperCase(), username: 'another' })],
      ['username', newcomer({ username: 'ONLY-one' })],
    ] as const) {
      const answer = await post(body)
      expectProblem(answer, 409, 'already_exists')
      expect(pointers(answer)).toEqual([`#/${field}`])
    }
  })

  it('is made once when twenty ask for it at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => post({ email: 'twenty@acme.test', password: 'Quiet-Harbour-77' })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)])
    for (const answer of answers.filter(({ status }) => status === 409)) expect(answer.body.code).toBe('already_exists')
  })

  it('with a weak password is told every rule that it breaks', async () => {
    const answer = await post(newcomer({ given_name: 'Rosario', password: 'rosario' }))
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(Array(2).fill('#/password'))
    expect(answer.body.errors.map(({ detail }: { detail: string }) => detail)).toEqual([
      'must have at least 12 characters',
      'must not contain a part of the name or e-mail',
    ])
  })

  it.each<[string, object, string]>([
    ['without an e-mail', { email: undefined }, '#/email'],
    ['whose e-mail is none', { email: 'cy at acme' }, '#/email'],
    ['whose e-mail has 256 characters', { email: `${'x'.repeat(246)}@acme.test` }, '#/email'],
    ['whose username has an @', { username: 'cy@acme' }, '#/username'],
    ['whose username has a space', { username: 'c y' }, '#/username'],
    ['whose username has 65 characters', { username: 'x'.repeat(65) }, '#/username'],
    ['whose username is null', { username: null }, '#/username'],
    ['whose name has 256 characters', { given_name: 'x'.repeat(256) }, '#/given_name'],
    ['whose name is longer once it is normalised', { family_name: '\u0958'.repeat(200) }, '#/family_name'],
    ['whose name is blank', { family_name: ' ' }, '#/family_name'],
    ['whose name has a NUL', { given_name: 'a\0b' }, '#/given_name'],
    ['whose name has half a character', { given_name: '\ud800' }, '#/given_name'],
    ['whose phone has 33 characters', { phone: '1'.repeat(33) }, '#/phone'],
    ['whose phone is none', { phone: 'call me' }, '#/phone'],
    ['whose role is a number', { role: 7 }, '#/role'],
    ['whose role nobody knows', { role: 'emperor' }, '#/role'],
    ['whose unit is no id', { unit_id: 'lab' }, '#/unit_id'],
    ['whose unit is not there', { unit_id: crypto.randomUUID() }, '#/unit_id'],
    ['whose manager is not there', { manager_id: crypto.randomUUID() }, '#/manager_id'],
    ['whose designation has 121 characters', { designation: 'x'.repeat(121) }, '#/designation'],
    ['whose description has 141 characters', { description: 'x'.repeat(141) }, '#/description'],
    ['whose locale is none', { locale: 'klingon_!' }, '#/locale'],
    ['whose time zone is not on the map', { timezone: 'America/Atlantis' }, '#/timezone'],
    ['whose time zone is an offset', { timezone: '+05:00' }, '#/timezone'],
    ['whose preferences are a list', { preferences: [] }, '#/preferences'],
    ['whose preferences have more than 8 KiB', { preferences: { a: 'x'.repeat(8192) } }, '#/preferences'],
    ['whose preferences are too deep', { preferences: JSON.parse(`${'{"a":'.repeat(17)}1${'}'.repeat(17)}`) }, '#/preferences'],
    ['whose preferences hold a NUL', { preferences: { a: ['\0'] } }, '#/preferences'],
    ['whose preferences hold half a character', { preferences: { '\ud800': 1 } }, '#/preferences/\ufffd'],
    ['who joined on no day', { joined_at: '2026-02-30T00:00:00Z' }, '#/joined_at'],
    ['who joined in the year 0', { joined_at: '0000-01-01T00:00:00Z' }, '#/joined_at'],
    ['who joined after the year 9999', { joined_at: '9999-12-31T23:59:59-23:00' }, '#/joined_at'],
    ['whose password is empty', { password: '' }, '#/password'],
    ['who comes deactivated', { is_active: false }, '#/is_active'],
    ['who brings an id', { id: crypto.randomUUID() }, '#/id'],
    ['who has gone already', { terminated_at: '2026-01-01T00:00:00Z' }, '#/terminated_at'],
  ])('%s is refused, naming the field', async (_, more, pointer) => {
    const answer = await post(newcomer(more))
    expectProblem(answer, 400, 'invalid_request', JSON.stringify(answer.body))
    expect(pointers(answer)).toContain(pointer)
  })
})

describe('one person', () => {
  it('reads themselves as others read them, without any permission', async () => {
    const cy = await addMember(realm, 'cy')
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${cy.id}, 'user:read', 'deny', 'all')`,
    )
    expectProblem(await get(cy.id, cy.token), 403, 'forbidden')
    const me = await call(AT, '/api/v1/users/me', { token: cy.token })
    expect(me.status).toBe(200)
    expect(me.body).toEqual((await get(cy.id)).body)
    expect(me.headers.get('ETag')).toBe((await get(cy.id)).headers.get('ETag'))
  })

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('is not changed by %s of me', async (method) => {
    const answer = await knock(`http://${AT}.freehold.test/api/v1/users/me`, {
      method,
      headers: { Authorization: `Bearer ${token}` },
    })
    expectProblem(answer, 405, 'method_not_allowed')
    expect(answer.headers.get('Allow')).toBe('GET, HEAD')
  })

  it('of another tenant, or of nobody, is not found behind any door', async () => {
    const elsewhere = (await call('people-next', '/api/v1/users/me', { token: await tokenOf('people-next') })).body.id
    for (const id of [elsewhere, crypto.randomUUID()]) {
      expectProblem(await get(id), 404, 'not_found')
      expectProblem(await at(id, 'PATCH', { given_name: 'X' }), 404, 'not_found')
      expectProblem(await at(id, 'PATCH', {}, { 'If-Match': '"x"' }), 404, 'not_found')
      expectProblem(await at(id, 'PUT', { ...newcomer(), username: `u${n}`, role: 'user' }), 404, 'not_found')
      expectProblem(await at(id, 'DELETE'), 404, 'not_found')
      for (const verb of ['deactivate', 'reactivate']) expectProblem(await at(`${id}/${verb}`, 'POST'), 404, 'not_found')
      for (const what of ['reports', 'reports?deep=true', 'sessions']) expectProblem(await get(`${id}/${what}`), 404, 'not_found')
    }
  })
})

describe('a change', () => {
  it('by PATCH leaves alone what it does not name, and null takes away', async () => {
    const user = await made({ given_name: 'Dee', family_name: 'Okonkwo', unit_id: unit, locale: 'es' })
    const { initial_password: _, updated_at: __, ...before } = user
    const answer = await at(user.id, 'PATCH', { family_name: null, locale: null, terminated_at: '2027-01-01T00:00:00Z' })
    expect(answer.status).toBe(200)
    const { updated_at, ...after } = answer.body
    expect(after).toEqual({ ...before, family_name: null, locale: 'en', terminated_at: '2027-01-01T00:00:00.000000Z' })
    expect(answer.headers.get('ETag')).toBe(`"${updated_at}"`)
  })

  it('of preferences merges them as RFC 7396 says', async () => {
    const { id } = await made({ preferences: { a: { b: 1, c: 2 }, d: [1], e: 'x' } })
    const merged = async (preferences: object | null) => (await at(id, 'PATCH', { preferences })).body.preferences
    expect(await merged({ a: { b: null, f: { g: null, h: 3 } }, d: [2, null], e: { i: 4 } })).toEqual({
      a: { c: 2, f: { h: 3 } },
      d: [2, null],
      e: { i: 4 },
    })
    expectProblem(await at(id, 'PATCH', { preferences: { big: 'x'.repeat(9_000) } }), 400, 'invalid_request')
    expect(await merged(null)).toEqual({})
  })

  it('of twenty thousand preferences does not reach the database, which merges as many in no time', async () => {
    const { id } = await made({})
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`k${n}`, n]))
    const answer = await at(id, 'PATCH', { preferences: many })
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.trips).toBe(0)
    // It took 15 s when the document was copied for each key.
    const [row] = await realm.asOwner(
      sql`set local statement_timeout = '5s'`,
      sql`select access.merged(${JSON.stringify(many)}::jsonb, ${JSON.stringify(many)}::jsonb) = ${JSON.stringify(many)}::jsonb as same`,
    )
    expect(row?.same).toBe(true)
  })

  it('by PUT replaces everything that can be edited', async () => {
    const user = await made({
      given_name: 'Dee',
      phone: '123',
      unit_id: unit,
      manager_id: bo.id,
      preferences: { a: 1 },
      timezone: 'America/Lima',
    })
    const wanted = { email: user.email, username: user.username, role: 'user', family_name: 'Okonkwo' }
    const { body, status } = await at(user.id, 'PUT', wanted)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      ...wanted,
      given_name: null,
      phone: null,
      unit_id: null,
      manager_id: null,
      preferences: {},
      timezone: 'UTC',
    })
    for (const name of ['email', 'username', 'role'])
      expect(pointers(await at(user.id, 'PUT', { ...wanted, [name]: undefined }))).toEqual([`#/${name}`])
  })

  it('under If-Match happens only to what was read', async () => {
    const { id } = await made()
    const tag = (await get(id)).headers.get('ETag') ?? ''
    expect((await at(id, 'PATCH', { given_name: 'One' }, { 'If-Match': `"other", ${tag}` })).status).toBe(200)
    for (const stale of [tag, `W/${tag}`, '"x"', 'W/"x"', 'x', ''])
      expectProblem(await at(id, 'PATCH', { given_name: 'Two' }, { 'If-Match': stale || '""' }), 412, 'etag_mismatch')
    expectProblem(
      await at(id, 'PUT', { ...newcomer(), username: 'x-y', role: 'user' }, { 'If-Match': tag }),
      412,
      'etag_mismatch',
    )
    expect((await get(id)).body.given_name).toBe('One')
    expect((await at(id, 'PATCH', { given_name: 'Three' }, { 'If-Match': '*' })).status).toBe(200)
  })

  it('under If-Match takes the weak form of a tag, which compression makes of it, for the tag', async () => {
    const { id } = await made()
    const read = await get(id)
    expect(read.headers.get('Cache-Control')).toBe('no-store, no-transform')
    const weak = { 'If-Match': `W/"other", W/${read.headers.get('ETag')}` }
    expect((await at(id, 'PATCH', { given_name: 'One' }, weak)).status).toBe(200)
    expectProblem(await at(id, 'PATCH', { given_name: 'Two' }, weak), 412, 'etag_mismatch')
  })

  it('under one If-Match happens once when five ask at once', async () => {
    const { id } = await made()
    const headers = { 'If-Match': (await get(id)).headers.get('ETag') ?? '' }
    const answers = await Promise.all([1, 2, 3, 4, 5].map((i) => at(id, 'PATCH', { given_name: `No ${i}` }, headers)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412, 412])
  })

  it('of the role takes the one before it away, and gives nobody more than the one who changes it holds', async () => {
    await addRole(realm, 'gives-roles', ['user:update', 'user:create'], 'all')
    const dee = await addMember(realm, 'giver', { roles: ['gives-roles'] })
    const user = await made()
    expect((await at(user.id, 'PATCH', { role: 'gives-roles' })).body).toMatchObject({
      role: 'gives-roles',
      roles: ['gives-roles'],
    })
    expectProblem(await at(user.id, 'PATCH', { role: 'admin' }, {}, dee.token), 403, 'forbidden')
    expectProblem(await post(newcomer({ role: 'admin' }), dee.token), 403, 'forbidden')
    expectProblem(await at(dee.id, 'PATCH', { role: 'user' }, {}, dee.token), 403, 'forbidden')
  })

  it('of the e-mail or phone has to be verified anew', async () => {
    const { id, email } = await made({ phone: '123' })
    await realm.asOwner(sql`update freehold.users set email_verified = true, phone_verified = true where id = ${id}`)
    expect((await at(id, 'PATCH', { email, phone: '123' })).body).toMatchObject({ email_verified: true, phone_verified: true })
    expect((await at(id, 'PATCH', { phone: '124' })).body).toMatchObject({ email_verified: true, phone_verified: false })
    expect((await at(id, 'PATCH', { email: `x${email}` })).body).toMatchObject({ email_verified: false })
  })

  it.each<[string, object, string]>([
    ['a field that nobody knows', { surprise: 1 }, '#/surprise'],
    ['whether they are active', { is_active: false }, '#/is_active'],
    ['whether the e-mail is verified', { email_verified: true }, '#/email_verified'],
    ['no e-mail', { email: null }, '#/email'],
    ['no role', { role: null }, '#/role'],
    ['a unit that is not there', { unit_id: crypto.randomUUID() }, '#/unit_id'],
    ['a role that is not there', { role: 'emperor' }, '#/role'],
  ])('to %s is refused, naming the field', async (_, patch, pointer) => {
    const answer = await at((await made()).id, 'PATCH', patch)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('to what somebody else has is refused, naming which', async () => {
    const [one, other] = [await made(), await made()]
    for (const field of ['email', 'username']) {
      const answer = await at(one.id, 'PATCH', { [field]: other[field] })
      expectProblem(answer, 409, 'already_exists')
      expect(pointers(answer)).toEqual([`#/${field}`])
    }
  })

  it('is in the audit with what it was before and is after', async () => {
    const { id } = await made({ given_name: 'Before' })
    await at(id, 'PATCH', { given_name: 'After', description: 'x' })
    const entries = await realm.asOwner(
      sql`select l.activity_type, d.before, d.after, l.user_id from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${id} order by l.at`,
    )
    const last = entries.at(-1)
    expect(entries.map((entry) => entry.activity_type)).toEqual(['USER_CREATED', 'USER_UPDATED'])
    expect(last?.user_id).toBe(bo.id)
    expect(last?.before).toMatchObject({ given_name: 'Before', description: null })
    expect(last?.after).toMatchObject({ given_name: 'After', description: 'x' })
  })
})

describe('a deactivation', () => {
  it('ends their sessions and lets them in no more, until it is taken back', async () => {
    const eve = await addMember(realm, 'eve')
    const answer = await at(`${eve.id}/deactivate`, 'POST')
    expect(answer.body).toMatchObject({ id: eve.id, is_active: false, terminated_at: answer.body.updated_at })
    expectProblem(await call(AT, '/api/v1/users/me', { token: eve.token }), 403, 'user_inactive')
    const sessions = await realm.asOwner(sql`select ended_because from freehold.sessions where user_id = ${eve.id}`)
    expect(sessions).toEqual([{ ended_because: 'deactivated' }])
    expectProblem(
      await call(AT, '/api/v1/auth/login', { body: { username: 'eve', password: eve.password } }),
      401,
      'invalid_credentials',
    )
    expect((await at(`${eve.id}/reactivate`, 'POST')).body.is_active).toBe(true)
    // The sessions that ended stay ended.
    expectProblem(await call(AT, '/api/v1/users/me', { token: eve.token }), 401, 'session_ended')
    await login(AT, { body: { username: 'eve', password: eve.password } })
  })

  it('is what DELETE does, and once more is no failure', async () => {
    const { id } = await made()
    for (const _ of [1, 2]) expect((await at(id, 'DELETE')).status).toBe(204)
    expect((await get(id)).body.is_active).toBe(false)
  })

  it('of oneself, or of the last administrator, is refused', async () => {
    for (const [path, method] of [
      [bo.id, 'DELETE'],
      [`${bo.id}/deactivate`, 'POST'],
    ] as const)
      expectProblem(await at(path, method), 409, 'illegal_state')
    await addRole(realm, 'switches-off', catalogue, 'all')
    const cy = await addMember(realm, 'switcher', { roles: ['switches-off'] })
    const others = await realm.asOwner(
      sql`select u.id from freehold.users u where u.role = 'admin' and u.is_active and u.id <> ${bo.id}`,
    )
    for (const { id } of others) expect((await at(id, 'DELETE')).status).toBe(204)
    expectProblem(await at(bo.id, 'DELETE', undefined, {}, cy.token), 409, 'illegal_state')
  })
  it('of each other, by the two last administrators at once, leaves one', async () => {
    for (let round = 0; round < 3; round++) {
      const name = `ada-${round}`
      const ada = await addMember(realm, name, { roles: ['admin'] })
      const bo_token = await tokenOf(AT)
      const answers = await Promise.all([
        at(ada.id, 'DELETE', undefined, {}, bo_token),
        at(bo.id, 'DELETE', undefined, {}, ada.token),
      ])
      expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
      expect(['illegal_state', 'user_inactive', undefined]).toContain(answers.find(({ status }) => status !== 204)?.body.code)
      const left = await realm.asOwner(
        sql`select count(*)::integer as n from freehold.users u where u.role = 'admin' and u.is_active`,
      )
      expect(left[0]?.n).toBe(1)
      await realm.asOwner(sql`update freehold.users set is_active = true where id = ${bo.id} and not is_active`)
      await realm.asOwner(sql`update freehold.users set is_active = false where id = ${ada.id} and is_active`)
    }
    token = await tokenOf(AT)
  })
})

describe('a role with room for two', () => {
  it('is given to two when ten are made with it at once', async () => {
    await addRole(realm, 'pair', [], 'own')
    await realm.asOwner(sql`update freehold.roles set max_users = 2 where name = 'pair'`)
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post(newcomer({ role: 'pair', password: 'Quiet-Harbour-77' }))),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, ...Array(8).fill(409)])
    for (const { body, status } of answers) if (status === 409) expect(body.code).toBe('limit_reached')
    expect(await realm.asOwner(sql`select from freehold.users where role = 'pair'`)).toHaveLength(2)
  })
})
