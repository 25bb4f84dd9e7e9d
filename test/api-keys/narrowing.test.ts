/** Threat: a key hands out, delegates, changes or claims what it does not name, because its owner could. */
import { beforeAll, describe, expect, it } from 'vitest'
import { grants, type Member } from '../roles/cast.ts'
import { expectProblem } from '../support/refusal.ts'
import { type KeyCast, keyCast, type Made } from './cast.ts'

let here: KeyCast
let cy: Member
/** bo holds everything; their keys name little. */
let roles: Made
let people: Made
const FOREVER = '2999-01-01T00:00:00Z'
beforeAll(async () => {
  here = await keyCast('narrow')
  cy = await here.member('cy', { can: { 'unit:read': 'own' } })
  roles = await here.made(['role:create', 'role:read', 'role:update', 'permission:update', 'unit:read'])
  people = await here.made(['user:create', 'user:read', 'user:update', 'role:update'])
})

const refused = (answer: Awaited<ReturnType<KeyCast['by']>>, what: string) => {
  expectProblem(answer, 403, 'forbidden', what)
  expect(answer.body.detail).toMatch(/key/i)
}
/** The same by bo with a session: what is refused below is refused because of the key. */
const allowed = async (path: string, body: unknown, method?: string) => {
  const answer = await here.ask(path, { body, ...(method && { method }) })
  expect([200, 201, 204], JSON.stringify(answer.body)).toContain(answer.status)
  return answer.body
}

describe('roles', () => {
  it('are given what the key names, and nothing else', async () => {
    const body = (name: string, permission: string) => ({ name, permissions: grants({ [permission]: 'all' }) })
    expect((await here.by(roles, '/roles', { body: body('named', 'unit:read') })).status).toBe(201)
    refused(await here.by(roles, '/roles', { body: body('not named', 'user:delete') }), 'a new role')
    await allowed('/roles', body('as bo', 'user:delete'))
    const id = await here.roleId('named')
    const more = { permissions: grants({ 'user:delete': 'own' }) }
    refused(await here.by(roles, `/roles/${id}/permissions`, { body: more }), 'one more permission')
    await allowed(`/roles/${id}/permissions`, more)
  })

  it('inherit, and are switched on, only with what the key names', async () => {
    const mighty = await here.role('mighty', { 'user:delete': 'all' })
    const harmless = await here.role('harmless', { 'unit:read': 'all' })
    const child = { name: 'child', permissions: [] }
    refused(await here.by(roles, '/roles', { body: { ...child, parent_id: mighty } }), 'a parent')
    expect((await here.by(roles, '/roles', { body: { ...child, parent_id: harmless } })).status).toBe(201)
    const id = await here.roleId('child')
    refused(await here.by(roles, `/roles/${id}`, { method: 'PATCH', body: { parent_id: mighty } }), 'another parent')
    await here.ask(`/roles/${mighty}`, { method: 'PATCH', body: { is_active: false } })
    refused(await here.by(roles, `/roles/${mighty}`, { method: 'PATCH', body: { is_active: true } }), 'switching on')
    await allowed(`/roles/${mighty}`, { is_active: true }, 'PATCH')
  })

  it('are assigned only when the key names everything that they carry', async () => {
    const big = await here.role('big', { 'unit:read': 'all', 'unit:delete': 'all' })
    const small = await here.role('small', { 'unit:read': 'all' })
    refused(await here.by(roles, `/users/${cy.id}/roles`, { body: { role_id: big } }), 'a role with more')
    refused(await here.by(roles, `/users/${cy.id}/roles`, { body: { role_id: await here.roleId('admin') } }), 'the administrator')
    expect((await here.by(roles, `/users/${cy.id}/roles`, { body: { role_id: small } })).status).toBe(201)
    await allowed(`/users/${cy.id}/roles`, { role_id: big })
  })
})

describe('overrides', () => {
  it('grant only what the key names', async () => {
    const body = (permission: string) => ({ permission, effect: 'grant', scope: 'own' })
    refused(await here.by(roles, `/users/${cy.id}/overrides`, { body: body('user:delete') }), 'a grant')
    expect((await here.by(roles, `/users/${cy.id}/overrides`, { body: body('unit:read') })).status).toBe(201)
    const denial = await allowed(`/users/${cy.id}/overrides`, { permission: 'user:export', effect: 'deny' })
    refused(await here.by(roles, `/users/${cy.id}/overrides/${denial.id}`, { method: 'DELETE' }), 'lifting a denial')
    await allowed(`/users/${cy.id}/overrides/${denial.id}`, undefined, 'DELETE')
  })
})

describe('delegations', () => {
  it('lend only what the key names, by a permission or by a role', async () => {
    const own = { 'delegation:create': 'own', 'delegation:read': 'own', 'unit:read': 'all', 'unit:delete': 'all' }
    const dee = await here.member('dee', { can: own })
    const key = await here.made(['delegation:create', 'delegation:read', 'unit:read'], {}, dee.token)
    const lend = (more: object) => ({ delegate_id: cy.id, ends_at: FOREVER, ...more })
    refused(await here.by(key, '/delegations', { body: lend({ permissions: ['unit:read', 'unit:delete'] }) }), 'a permission')
    refused(await here.by(key, '/delegations', { body: lend({ role_id: await here.roleId('of dee') }) }), 'a role')
    expect((await here.by(key, '/delegations', { body: lend({ permissions: ['unit:read'] }) })).status).toBe(201)
    for (const more of [{ permissions: ['unit:delete'] }, { role_id: await here.roleId('of dee') }])
      expect((await here.ask('/delegations', { token: dee.token, body: lend(more) })).status).toBe(201)
  })

  it('of who delegated tell the truth about the delegate, also to a key', async () => {
    const eli = await here.member('eli')
    const body = { delegate_id: eli.id, ends_at: FOREVER, permissions: ['unit:update'] }
    await allowed('/delegations', body)
    const told = (await here.by(people, `/users/${eli.id}/permissions`)).body.permissions
    expect(told.map(({ permission }: { permission: string }) => permission)).toContain('unit:update')
  })
})

describe('people', () => {
  it('are made with no role beyond what the key names, nor given one', async () => {
    const body = (username: string, role: string) => ({ username, email: `${username}@x.test`, role })
    await here.role('auditor', { 'activity:read': 'all' })
    refused(await here.by(people, '/users', { body: body('fay', 'auditor') }), 'a person with a role')
    refused(await here.by(people, '/users', { body: body('fay', 'admin') }), 'an administrator')
    refused(await here.by(people, `/users/${cy.id}`, { method: 'PATCH', body: { role: 'auditor' } }), 'a primary role')
    await allowed(`/users/${cy.id}`, { role: 'auditor' }, 'PATCH')
  })

  it('who hold more than the key names keep the way they log in; the owner most of all', async () => {
    const gus = await here.member('gus', { can: { 'unit:delete': 'all' } })
    const body = { email: 'mallory@elsewhere.test' }
    expectProblem(await here.by(people, `/users/${gus.id}`, { method: 'PATCH', body }), 403, 'forbidden')
    expectProblem(
      await here.by(people, `/users/${here.bo.id}`, { method: 'PATCH', body }),
      403,
      'forbidden',
      'the owner’s e-mail',
    )
    refused(await here.by(people, `/users/${here.bo.id}`, { method: 'PATCH', body: { username: 'mallory' } }), 'the owner’s name')
    expect((await here.by(people, `/users/${here.bo.id}`, { method: 'PATCH', body: { designation: 'boss' } })).status).toBe(200)
    await allowed(`/users/${gus.id}`, { email: 'gus@elsewhere.test' }, 'PATCH')
    await allowed(`/users/${here.bo.id}`, { username: 'bo2' }, 'PATCH')
  })

  it('cannot move themselves to where the rest of what they hold would reach, by a key that names none of it', async () => {
    const [from, to] = [await here.unit('from'), await here.unit('to')]
    const hal = await here.member('hal', { can: { 'user:update': 'all', 'unit:read': 'team' }, unit: from })
    const key = await here.made(['user:update'], {}, hal.token)
    const body = { unit_id: to }
    expectProblem(await here.by(key, `/users/${hal.id}`, { method: 'PATCH', body }), 403, 'forbidden')
    await allowed(`/users/${hal.id}`, body, 'PATCH')
  })
})

describe('questions', () => {
  const check = async (key: Made, ...checks: object[]) =>
    (await here.by(key, '/authz/check', { body: { checks } })).body.results?.map(({ allowed: yes }: { allowed: boolean }) => yes)

  it('about oneself are answered for the key', async () => {
    expect(
      await check(
        roles,
        { permission: 'unit:read' },
        { permission: 'user:delete' },
        { any_of: ['user:delete', 'unit:read'] },
        { any_of: ['user:delete'] },
      ),
    ).toEqual([true, false, true, false])
    expect(await check(roles, { user_id: here.bo.id, permission: 'user:delete' })).toEqual([false])
    const { results } = (await here.ask('/authz/check', { body: { checks: [{ permission: 'user:delete' }] } })).body
    expect(results[0].allowed).toBe(true)
  })

  it('about a role are answered for the key: it holds one when it names all of it', async () => {
    const ivy = await here.member('ivy', { can: { 'unit:read': 'all', 'unit:update': 'all' }, roles: [] })
    const role = [{ role: 'of ivy' }]
    expect(await check(await here.made(['unit:read'], {}, ivy.token), ...role)).toEqual([false])
    expect(await check(await here.made(['unit:read', 'unit:update'], {}, ivy.token), ...role)).toEqual([true])
  })

  it('about others need that the key names user:read, and are answered in full', async () => {
    const jo = await here.member('jo', { can: { 'unit:delete': 'all' } })
    expect(await check(people, { user_id: jo.id, permission: 'unit:delete' })).toEqual([true])
    const { body } = await here.by(roles, '/authz/check', {
      body: { checks: [{ user_id: jo.id, permission: 'unit:delete' }] },
    })
    expect(body.results).toMatchObject([{ allowed: false, because: [], error: { code: 'not_found' } }])
  })

  it('of what one holds, and why, name nothing beside the key', async () => {
    const { body } = await here.by(people, `/users/${here.bo.id}/permissions`)
    const names = body.permissions.map(({ permission }: { permission: string }) => permission).sort()
    expect(names).toEqual(people.permissions.toSorted())
    expect((await here.by(people, '/auth/whoami')).body.permissions.toSorted()).toEqual(people.permissions.toSorted())
  })

  it('of who holds something are about people, and also name the owner', async () => {
    const auditor = await here.made(['permission:read'])
    const { data } = (await here.by(auditor, '/permissions/user:delete/holders')).body
    expect(data.map(({ user_id }: { user_id: string }) => user_id)).toContain(here.bo.id)
  })
})
