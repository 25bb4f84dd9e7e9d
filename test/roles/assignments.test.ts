import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson } from '../support/inside.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type Cast, cast, type Member } from './cast.ts'

let here: Cast
let cy: Member
let reader: string

beforeAll(async () => {
  here = await cast('assigned')
  cy = await here.member('cy')
  reader = await here.role('reader', { 'role:read': 'all' })
})

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const assign = (user_id: string, body: Record<string, unknown>, token?: string) =>
  here.ask(`/users/${user_id}/roles`, { body, token })
const take = (user_id: string, role_id: string, token?: string) =>
  here.ask(`/users/${user_id}/roles/${role_id}`, { method: 'DELETE', token })
const held = async (user_id: string, query = '') =>
  (await here.ask(`/users/${user_id}/roles${query}`)).body.data.map(({ role }: { role: string }) => role)
const primary = async (user_id: string) =>
  (await here.realm.asOwner(sql`select role from freehold.users where id = ${user_id}`))[0]?.role

describe('a role', () => {
  it('that is given is felt by the next request, and so is that it was taken', async () => {
    expectProblem(await here.ask('/roles', { token: cy.token }), 403, 'forbidden')
    const given = await assign(cy.id, { role_id: reader })
    expect(given.status).toBe(201)
    expect(given.body).toEqual({
      id: expect.any(String),
      role_id: reader,
      role: 'reader',
      organization_id: null,
      starts_at: expect.stringMatching(/Z$/),
      ends_at: null,
    })
    expect((await here.ask('/roles', { token: cy.token })).status).toBe(200)
    expectProblem(await assign(cy.id, { role_id: reader }), 409, 'already_exists')
    expectProblem(await assign(cy.id, { role_id: reader, ends_at: inDays(1) }), 409, 'already_exists')
    expect((await take(cy.id, reader)).status).toBe(204)
    expectProblem(await here.ask('/roles', { token: cy.token }), 403, 'forbidden')
    expectProblem(await take(cy.id, reader), 404, 'not_found')
    expect((await assign(cy.id, { role_id: reader })).status).toBe(201)
    expect((await take(cy.id, reader)).status).toBe(204)
  })

  it('that loses a permission, its parent or is switched off loses it for all who hold it, with the next request', async () => {
    const dee = await here.member('dee')
    const parent = await here.role('upper', { 'permission:read': 'all' })
    const id = await here.role('felt', { 'role:read': 'all' }, { parent_id: parent })
    await assign(dee.id, { role_id: id })
    const may = async () => [
      (await here.ask('/roles', { token: dee.token })).status,
      (await here.ask('/permissions', { token: dee.token })).status,
    ]
    expect(await may()).toEqual([200, 200])
    await here.ask(`/roles/${id}/permissions/role:read`, { method: 'DELETE' })
    expect(await may()).toEqual([403, 200])
    await here.ask(`/roles/${id}`, { method: 'PATCH', body: { parent_id: null } })
    expect(await may()).toEqual([403, 403])
    await here.ask(`/roles/${id}`, { method: 'PATCH', body: { parent_id: parent } })
    expect(await may()).toEqual([403, 200])
    await here.ask(`/roles/${parent}`, { method: 'PATCH', body: { is_active: false } })
    expect(await may()).toEqual([403, 403])
    await here.ask(`/roles/${parent}`, { method: 'PATCH', body: { is_active: true } })
    await here.ask(`/roles/${id}`, { method: 'PATCH', body: { is_active: false } })
    expect(await may()).toEqual([403, 403])
  })

  it('may be given for later, which counts then, and taken back before it ever begins', async () => {
    const eli = await here.member('eli')
    const later = await assign(eli.id, { role_id: reader, starts_at: inDays(1), ends_at: inDays(2) })
    expect([later.status, later.body.starts_at.slice(0, 10), later.body.ends_at.slice(0, 10)]).toEqual([
      201,
      inDays(1).slice(0, 10),
      inDays(2).slice(0, 10),
    ])
    expectProblem(await here.ask('/roles', { token: eli.token }), 403, 'forbidden')
    expect(await held(eli.id)).toEqual(['reader', 'user'])
    await here.realm.asOwner(
      sql`update freehold.user_roles set starts_at = now() - interval '1 second' where id = ${later.body.id}`,
    )
    expect((await here.ask('/roles', { token: eli.token })).status).toBe(200)
    await here.realm.asOwner(sql`update freehold.user_roles set ends_at = now() where id = ${later.body.id}`)
    expectProblem(await here.ask('/roles', { token: eli.token }), 403, 'forbidden')
    await assign(eli.id, { role_id: reader, starts_at: inDays(1) })
    expect((await take(eli.id, reader)).status).toBe(204)
    expect(await held(eli.id)).toEqual(['user'])
    expectProblem(await take(eli.id, reader), 404, 'not_found')
    expect(await held(eli.id, '?all=true')).toEqual(['reader', 'user', 'reader'])
  })

  it('that is the first of somebody is their primary one, and when it is taken another that they hold, or none', async () => {
    const { id } = await addPerson(here.realm, 'novice', { roles: [] })
    expect(await primary(id)).toBeNull()
    await assign(id, { role_id: reader })
    expect(await primary(id)).toBe('reader')
    await assign(id, { role_id: await here.roleId('user') })
    await take(id, reader)
    expect(await primary(id)).toBe('user')
    await take(id, await here.roleId('user'))
    expect(await primary(id)).toBeNull()
  })

  it('whose assignment has run out is not given again when the role is named anew', async () => {
    const role_id = await here.role('lapsing', { 'role:read': 'all' })
    const lapsed = await here.member('lapsed', { roles: ['lapsing', 'user'] })
    await here.realm.asOwner(
      sql`update freehold.user_roles set starts_at = now() - interval '2 hours' where user_id = ${lapsed.id} and role_id = ${role_id}`,
      sql`update freehold.user_roles set ends_at = now() + interval '0.2 seconds' where user_id = ${lapsed.id} and role_id = ${role_id}`,
    )
    await scheduler.wait(300)
    expect((await here.ask(`/roles/${role_id}`, { method: 'PATCH', body: { name: 'lapsing anew' } })).status).toBe(200)
    expect(await held(lapsed.id)).toEqual(['user'])
    expect(await primary(lapsed.id)).toBe('user')
  })

  it('that was to begin later begins now for whom it becomes the primary one', async () => {
    const { id } = await addPerson(here.realm, 'early')
    await assign(id, { role_id: reader, starts_at: inDays(3) })
    const patched = await here.ask(`/users/${id}`, { method: 'PATCH', body: { role: 'reader' } })
    expect([patched.status, patched.body.role]).toEqual([200, 'reader'])
    expect((await here.ask(`/users/${id}/roles`)).body.data).toMatchObject([{ role: 'reader', ends_at: null }])
  })

  it('is given once when two give it at the same time', async () => {
    const { id } = await addPerson(here.realm, 'twice')
    const both = await Promise.all([assign(id, { role_id: reader }), assign(id, { role_id: reader })])
    expect(both.map(({ status }) => status).sort()).toEqual([201, 409])
    expect((await held(id)).sort()).toEqual(['reader', 'user'])
  })

  it('is listed newest first, page by page', async () => {
    const { id } = await addPerson(here.realm, 'paged', { roles: [] })
    for (let i = 0; i < 3; i++) {
      await assign(id, { role_id: reader })
      await take(id, reader)
    }
    const first = (await here.ask(`/users/${id}/roles?all=true&limit=2`)).body
    const second = (await here.ask(`/users/${id}/roles?all=true&limit=2&cursor=${first.next_cursor}`)).body
    expect([first.data.length, second.data.length, second.next_cursor]).toEqual([2, 1, null])
    const starts = [...first.data, ...second.data].map(({ starts_at }) => starts_at)
    expect(starts).toEqual([...starts].sort().reverse())
    expectProblem(await here.ask(`/users/${cy.id}/roles?cursor=${first.next_cursor}`), 400, 'invalid_cursor')
  })
})

describe('at once', () => {
  it('roles end, are changed, and whoever holds them is deactivated, and nobody waits for who waits for them', async () => {
    const admin = await here.roleId('admin')
    const refused = new Set([200, 204, 403, 404, 409])
    for (let round = 0; round < 12; round++) {
      const [one, other] = [
        await addPerson(here.realm, `both-${round}`, { roles: ['user', 'admin'] }),
        await addPerson(here.realm, `turned-${round}`, { roles: ['user'] }),
      ]
      await here.realm.asOwner(sql`update freehold.users set role = 'admin' where id = ${one.id}`)
      const answers = await Promise.all([
        here.ask(`/users/${one.id}`, { method: 'DELETE' }),
        here.ask(`/users/${one.id}/roles/${admin}`, { method: 'DELETE' }),
        here.ask(`/users/${other.id}`, { method: 'PATCH', body: { role: 'reader' } }),
        here.ask(`/users/${other.id}/roles/${await here.roleId('user')}`, { method: 'DELETE' }),
        assign(other.id, { role_id: admin }),
      ])
      for (const { status, body } of answers) expect(refused.has(status) || status === 201, JSON.stringify(body)).toBe(true)
    }
  })
})

describe('bad input is refused', () => {
  it.each([
    [{}, '#/role_id'],
    [{ role_id: 'x' }, '#/role_id'],
    [{ role_id: crypto.randomUUID() }, '#/role_id'],
    [{ role_id: 'READER', starts_at: '2001-01-01T00:00:00Z' }, '#/starts_at'],
    [{ role_id: 'READER', ends_at: '2001-01-01T00:00:00Z' }, '#/ends_at'],
    [{ role_id: 'READER', starts_at: '2998-01-01T00:00:00Z', ends_at: '2997-01-01T00:00:00Z' }, '#/ends_at'],
    [{ role_id: 'READER', starts_at: '2998-01-01T00:00:00Z', ends_at: '2998-01-01T00:00:00Z' }, '#/ends_at'],
    [{ role_id: 'READER', ends_at: 'tomorrow' }, '#/ends_at'],
    [{ role_id: 'READER', ends_at: '2998-02-30T00:00:00Z' }, '#/ends_at'],
    [{ role_id: 'READER', ends_at: '9999-12-31T23:59:59-12:00' }, '#/ends_at'],
    [{ role_id: 'READER', starts_at: '0000-01-01T00:00:00Z' }, '#/starts_at'],
    [{ role_id: 'READER', ends_at: 7 }, '#/ends_at'],
    [{ role_id: 'READER', user_id: crypto.randomUUID() }, '#/user_id'],
  ])('%j at %s', async (body, pointer) => {
    const answer = await assign(cy.id, { ...body, ...('role_id' in body && body.role_id === 'READER' && { role_id: reader }) })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(pointer)
    expect(await held(cy.id)).toEqual(['user'])
  })

  it('but a moment of any offset is taken, and a start that is a few seconds old counts as now', async () => {
    const { id } = await addPerson(here.realm, 'offset')
    const given = await assign(id, {
      role_id: reader,
      starts_at: new Date(Date.now() - 5_000).toISOString(),
      ends_at: '2999-01-01T00:00:00+14:00',
    })
    expect([given.status, given.body.ends_at]).toEqual([201, '2998-12-31T10:00:00.000000Z'])
    expect(Date.now() - Date.parse(given.body.starts_at)).toBeLessThan(4_000)
    await take(id, reader)
    expect((await assign(id, { role_id: reader, ends_at: '2999-01-01T00:00:00+23:59' })).status).toBe(201)
  })

  it('of who has no token or no permission, and of a person who is not there', async () => {
    const tries: [string, { method?: string; body?: unknown }][] = [
      ['/users/ID/roles', { body: { role_id: reader } }],
      [`/users/ID/roles/${reader}`, { method: 'DELETE' }],
    ]
    const dora = await addPerson(here.realm, 'dora')
    for (const [path, more] of tries) {
      expectProblem(await here.ask(path.replace('ID', dora.id), { ...more, token: '' }), 401, 'token_missing', path)
      expectProblem(await here.ask(path.replace('ID', dora.id), { ...more, token: cy.token }), 403, 'forbidden', path)
      expectProblem(await here.ask(path.replace('ID', crypto.randomUUID()), more), 404, 'not_found', path)
      expectProblem(await here.ask(path.replace('ID', 'x'), more), 400, 'invalid_request', path)
    }
    expectProblem(await here.ask(`/users/${dora.id}/roles`, { token: '' }), 401, 'token_missing')
    expectProblem(await here.ask(`/users/${dora.id}/roles`, { token: cy.token }), 404, 'not_found')
    expect((await here.ask(`/users/${cy.id}/roles`, { token: cy.token })).body.data).toMatchObject([{ role: 'user' }])
  })
})
