import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Member } from '../roles/cast.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type KeyCast, keyCast } from './cast.ts'

let here: KeyCast
let cy: Member
beforeAll(async () => {
  here = await keyCast('keys')
  cy = await here.member('cy', { can: { 'unit:read': 'own', 'unit:create': 'team' } })
})

const make = (body: Record<string, unknown>, token = cy.token) => here.ask('/api-keys', { token, body })
const change = (id: string, body: Record<string, unknown>, token = cy.token) =>
  here.ask(`/api-keys/${id}`, { token, body, method: 'PATCH' })
const rotate = (id: string, body: Record<string, unknown> = {}, token = cy.token) =>
  here.ask(`/api-keys/${id}/rotate`, { token, body })
const revoke = (id: string, token = cy.token) => here.ask(`/api-keys/${id}`, { token, method: 'DELETE' })
const units = async (key: string) => (await here.by(key, '/units')).status
const later = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString()

describe('a key', () => {
  it('is shown once, when it is made; of its secret only a hash is kept', async () => {
    const expires_at = later(60)
    const answer = await make({
      name: ' robot ',
      permissions: ['unit:read', 'unit:read'],
      addresses: ['192.0.2.0/24'],
      expires_at,
    })
    expect(answer.status).toBe(201)
    const { id, key, ...made } = answer.body
    expect(made).toEqual({
      name: 'robot',
      prefix: key.split('_')[1],
      permissions: ['unit:read'],
      addresses: ['192.0.2.0/24'],
      rotated_from: null,
      created_at: expect.any(String),
      expires_at: expires_at.replace('Z', '000Z'),
      last_used_at: null,
      use_count: 0,
    })
    expect(answer.headers.get('Location')).toBe(`/api/v1/api-keys/${id}`)
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    expect((await here.ask(`/api-keys/${id}`, { token: cy.token })).body).toEqual({ id, ...made })
    const [row] = await here.realm.asOwner(
      sql`select key_hash = sha256(convert_to(${key}, 'UTF8')) as hashed, to_jsonb(k)::text like ${`%${key.slice(12)}%`} as kept from freehold.api_keys k where id = ${id}`,
    )
    expect(row).toEqual({ hashed: true, kept: false })
    const told = await here.realm.asOwner(sql`select to_jsonb(d)::text as said from freehold.audit_detail d`)
    for (const { said } of told) expect(said).not.toContain(key.slice(12))
  })

  it('names permissions that there are and that its owner holds, at whatever scope', async () => {
    const lacking = await make({ name: 'x', permissions: ['unit:read', 'user:delete'] })
    expectProblem(lacking, 403, 'forbidden')
    expect(lacking.body.detail).toContain('user:delete')
    const unknown = await make({ name: 'x', permissions: ['unit:read', 'nothing:read'] })
    expectProblem(unknown, 400, 'invalid_request')
    expect(pointers(unknown)).toEqual(['#/permissions/1'])
    expect((await make({ name: 'x', permissions: ['unit:read', 'unit:create'] })).status).toBe(201)
    // bo holds everything, so what bo may name and cy may not is not decided by the name.
    expect((await make({ name: 'x', permissions: ['user:delete'] }, here.bo.token)).status).toBe(201)
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['no name', { name: '' }, '#/name'],
    ['a name of blanks', { name: '   ' }, '#/name'],
    ['a name with a control character', { name: 'a\u0007b' }, '#/name'],
    ['a name of half a character', { name: '\ud800' }, '#/name'],
    ['a name that is too long', { name: 'x'.repeat(101) }, '#/name'],
    ['no permissions', { permissions: [] }, '#/permissions'],
    ['too many permissions', { permissions: Array(101).fill('unit:read') }, '#/permissions'],
    ['what is no permission', { permissions: ['Unit:Read'] }, '#/permissions/0'],
    ['too many addresses', { addresses: Array(51).fill('192.0.2.1') }, '#/addresses'],
    ['a moment in the past', { expires_at: '2020-01-01T00:00:00Z' }, '#/expires_at'],
    ['what is no moment', { expires_at: 'tomorrow' }, '#/expires_at'],
    ['a field that nobody asked for', { use_count: 7 }, '#/use_count'],
    ['an owner', { user_id: '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11' }, '#/user_id'],
  ])('is not made with %s', async (_, wrong, pointer) => {
    const answer = await make({ name: 'x', permissions: ['unit:read'], ...wrong })
    expectProblem(answer, 400, 'invalid_request')
    expect(new Set(pointers(answer))).toEqual(new Set([pointer]))
  })

  it.each([
    '192.0.2.0/33',
    '192.0.2.256',
    '192.0.2',
    '10',
    '2001:db8::/129',
    '2001:db8:::1',
    '::g',
    '192.0.2.1/24',
    '2001:db8::1/32',
    'x',
    '',
    '192.0.2.1 ',
    '192.0.2.1/',
    '0.0.0.0/-1',
    "1.1.1.1'",
    'fe80::1%eth0',
  ])('is not made for %j, which is no network', async (address) => {
    const answer = await make({ name: 'x', permissions: ['unit:read'], addresses: ['192.0.2.1', address] })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/addresses/1'])
  })

  it('keeps networks as they are compared', async () => {
    const addresses = [
      '2001:DB8:0::/32',
      '192.0.2.7/32',
      '::ffff:198.51.100.0/120',
      '::ffff:198.51.100.9',
      '10.0.0.0/8',
      '10.0.0.0/8',
    ]
    const { body } = await make({ name: 'x', permissions: ['unit:read'], addresses })
    expect(body.addresses.sort()).toEqual(['10.0.0.0/8', '192.0.2.7', '198.51.100.0/24', '198.51.100.9', '2001:db8::/32'])
  })

  it('is changed under the same rules, by its owner', async () => {
    const { id, key } = (await make({ name: 'x', permissions: ['unit:read'] })).body
    const changed = await change(id, { name: 'y', permissions: ['unit:create'], addresses: ['192.0.2.1'], expires_at: later(5) })
    expect(changed.status).toBe(200)
    expect(changed.body).toMatchObject({ name: 'y', permissions: ['unit:create'], addresses: ['192.0.2.1'] })
    expect(await units(key)).toBe(403)
    expect((await change(id, { permissions: ['unit:read'], addresses: [], expires_at: null })).body).toMatchObject({
      name: 'y',
      expires_at: null,
    })
    expect(await units(key)).toBe(200)
    expect((await change(id, {})).body.name).toBe('y')
    expectProblem(await change(id, { permissions: ['user:delete'] }), 403, 'forbidden')
    expect(pointers(await change(id, { permissions: ['nothing:read'] }))).toEqual(['#/permissions/0'])
    expect(pointers(await change(id, { addresses: ['x'] }))).toEqual(['#/addresses/0'])
    expect(pointers(await change(id, { expires_at: '2020-01-01T00:00:00Z' }))).toEqual(['#/expires_at'])
    expect(pointers(await change(id, { prefix: 'x' }))).toEqual(['#/prefix'])
    for (const refused of [
      await change(id, { name: 'z' }, here.bo.token),
      await revoke(id, here.bo.token),
      await rotate(id, {}, here.bo.token),
      await here.ask(`/api-keys/${id}`),
    ])
      expectProblem(refused, 404, 'not_found')
    expect(await units(key)).toBe(200)
  })

  it('is revoked for good', async () => {
    const { id, key } = (await make({ name: 'x', permissions: ['unit:read'] })).body
    expect(await units(key)).toBe(200)
    expect((await revoke(id)).status).toBe(204)
    expectProblem(await here.by(key, '/units'), 401, 'token_invalid')
    for (const gone of [
      await revoke(id),
      await change(id, { name: 'y' }),
      await rotate(id),
      await here.ask(`/api-keys/${id}`, { token: cy.token }),
    ])
      expectProblem(gone, 404, 'not_found')
  })

  it('that has expired stays so, and can be revoked', async () => {
    const { id, key } = (await make({ name: 'x', permissions: ['unit:read'] })).body
    await here.realm.asOwner(sql`update freehold.api_keys set expires_at = now() - interval '1 second' where id = ${id}`)
    const refused = await here.by(key, '/units')
    expectProblem(refused, 401, 'token_invalid')
    expect(refused.body.detail).toContain('expired')
    for (const ended of [await change(id, { expires_at: null }), await change(id, { name: 'y' }), await rotate(id)])
      expectProblem(ended, 409, 'illegal_state')
    expect((await revoke(id)).status).toBe(204)
  })
})

describe('keys', () => {
  it('are listed for their owner, newest first, page by page', async () => {
    const dee = await here.member('dee', { can: { 'unit:read': 'own' } })
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const name of names) await make({ name, permissions: ['unit:read'] }, dee.token)
    const listed: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await here.ask(`/api-keys?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { token: dee.token })
      expect(page.status).toBe(200)
      for (const key of page.body.data) {
        expect(Object.keys(key)).not.toContain('key')
        listed.push(key.name)
      }
      cursor = page.body.next_cursor
    }
    expect(listed).toEqual(names.toReversed())
  })

  it('are at most 50 of one person, also when they are all asked for at once', async () => {
    const eve = await here.member('eve', { can: { 'unit:read': 'own' } })
    await here.realm.asOwner(sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
      select gen_random_uuid(), ${eve.id}, 'planted', 'planted' || n, sha256(n::text::bytea), '{unit:read}' from generate_series(1, 45) n`)
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => make({ name: 'x', permissions: ['unit:read'] }, eve.token)),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(made).toHaveLength(5)
    for (const refused of answers.filter(({ status }) => status !== 201)) expectProblem(refused, 409, 'limit_reached')
    // Who has no room can still rotate; and makes room.
    const id = made[0]?.body.id
    const successor = await rotate(id, { overlap_minutes: 0 }, eve.token)
    expect(successor.status).toBe(201)
    expectProblem(await make({ name: 'x', permissions: ['unit:read'] }, eve.token), 409, 'limit_reached')
    expect((await revoke(successor.body.id, eve.token)).status).toBe(204)
    expect((await make({ name: 'x', permissions: ['unit:read'] }, eve.token)).status).toBe(201)
  })

  it('of operators are the same room on the platform', async () => {
    const token = await operatorToken()
    const ask = (path: string, more = {}) => call('', `/platform/v1${path}`, { token, ...more })
    const made = await ask('/api-keys', { body: { name: 'x', permissions: ['tenant:read'] } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    const { id, key } = made.body
    expect(made.headers.get('Location')).toBe(`/platform/v1/api-keys/${id}`)
    expect((await ask('/tenants', { token: key })).status).toBe(200)
    expectProblem(await call('keys', '/api/v1/units', { token: key }), 401, 'token_invalid')
    const refused = await ask('/tenants', {
      token: key,
      body: { subdomain: 'never', legal_name: 'x', tax_id: '20031353204', admin_email: 'x@x.test' },
    })
    expectProblem(refused, 403, 'forbidden')
    expect((await ask(`/api-keys/${id}`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await ask('/tenants', { token: key }), 401, 'token_invalid')
  })
})

describe('a rotation', () => {
  it('gives a successor that is as the key was, and lets the key go on for an hour, or as long as is said', async () => {
    const body = { name: 'robot', permissions: ['unit:read'], addresses: ['0.0.0.0/0', '::/0'], expires_at: later(60 * 24 * 90) }
    const headers = { 'CF-Connecting-IP': '192.0.2.1' }
    const old = (await make(body)).body
    const answer = await rotate(old.id)
    expect(answer.status).toBe(201)
    const { key, id, ...made } = answer.body
    expect(answer.headers.get('Location')).toBe(`/api/v1/api-keys/${id}`)
    expect(made).toMatchObject({
      name: 'robot',
      permissions: old.permissions,
      addresses: old.addresses,
      rotated_from: old.id,
      use_count: 0,
    })
    expect(Math.abs(Date.parse(made.expires_at) - Date.parse(body.expires_at))).toBeLessThan(60_000)
    for (const one of [key, old.key]) expect((await here.by(one, '/units', { headers })).status).toBe(200)
    const kept = (await here.ask(`/api-keys/${old.id}`, { token: cy.token })).body
    expect(Math.abs(Date.parse(kept.expires_at) - Date.now() - 3_600_000)).toBeLessThan(60_000)
    const long = (await make({ name: 'x', permissions: ['unit:read'], expires_at: null })).body
    expect((await rotate(long.id, { overlap_minutes: 10_080 })).body.expires_at).toBeNull()
    const short = (await make({ name: 'x', permissions: ['unit:read'], expires_at: later(5) })).body
    await rotate(short.id, { overlap_minutes: 60 })
    expect((await here.ask(`/api-keys/${short.id}`, { token: cy.token })).body.expires_at).toBe(short.expires_at)
  })

  it('without an overlap ends the key at once; and no key outlives the overlap', async () => {
    const old = (await make({ name: 'x', permissions: ['unit:read'] })).body
    const next = (await rotate(old.id, { overlap_minutes: 0 })).body
    expectProblem(await here.by(old.key, '/units'), 401, 'token_invalid')
    expect(await units(next.key)).toBe(200)
    const other = (await rotate(next.id)).body
    for (const expires_at of [null, later(61)]) expectProblem(await change(next.id, { expires_at }), 409, 'illegal_state')
    expect((await change(next.id, { expires_at: later(1) })).status).toBe(200)
    expectProblem(await rotate(next.id), 409, 'illegal_state')
    expect(await units(other.key)).toBe(200)
  })

  it('twenty times at once of one key makes one successor', async () => {
    const old = (await make({ name: 'x', permissions: ['unit:read'] })).body
    const answers = await Promise.all(Array.from({ length: 20 }, () => rotate(old.id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)])
    for (const refused of answers.filter(({ status }) => status === 409)) expectProblem(refused, 409, 'illegal_state')
    const [row] = await here.realm.asOwner(
      sql`select count(*)::integer as n from freehold.api_keys where rotated_from = ${old.id}`,
    )
    expect(row?.n).toBe(1)
  })

  it.each([-1, 10_081, 1.5, '60', null])('of %j minutes is none', async (overlap_minutes) => {
    const old = (await make({ name: 'x', permissions: ['unit:read'] })).body
    const answer = await rotate(old.id, { overlap_minutes })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/overlap_minutes'])
    await revoke(old.id)
  })

  it('keeps what its owner no longer holds, which opens nothing until they hold it again', async () => {
    const fay = await here.member('fay', { can: { 'unit:read': 'all', 'unit:create': 'all' } })
    const old = (await make({ name: 'x', permissions: ['unit:read', 'unit:create'] }, fay.token)).body
    const denial = (await here.ask(`/users/${fay.id}/overrides`, { body: { permission: 'unit:read', effect: 'deny' } })).body
    const next = await rotate(old.id, {}, fay.token)
    expect(next.status, JSON.stringify(next.body)).toBe(201)
    expect(next.body.permissions).toEqual(['unit:create', 'unit:read'])
    expect(await units(next.body.key)).toBe(403)
    await here.ask(`/users/${fay.id}/overrides/${denial.id}`, { method: 'DELETE' })
    expect(await units(next.body.key)).toBe(200)
  })
})
