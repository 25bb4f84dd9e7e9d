/** Threat: a verb that forgets the scope of who asks. The same door for each reach, and who is behind it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit, type Scope } from './cast.ts'

const AT = 'reaching'
const SCOPES: Scope[] = ['own', 'team', 'department', 'all']
const PERMISSIONS = ['user:read', 'user:create', 'user:update', 'user:delete', 'session:read', 'session:delete']
type Member = Awaited<ReturnType<typeof addMember>>
let realm: Inside
/** One for each scope, all in the same team. */
const who = {} as Record<Scope, Member>
/** cy is in that team, dee in another of the department, eve in another department, cy-2 in none. */
const people = {} as Record<'cy' | 'cy-2' | 'dee' | 'eve', Member>
const units = {} as Record<'lab' | 'water' | 'soil' | 'sales' | 'shop', string>

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  units.lab = await addUnit(realm, 'department', 'Lab')
  units.water = await addUnit(realm, 'team', 'Water', units.lab)
  units.soil = await addUnit(realm, 'team', 'Soil', units.lab)
  units.sales = await addUnit(realm, 'department', 'Sales')
  units.shop = await addUnit(realm, 'team', 'Shop', units.sales)
  for (const scope of SCOPES) {
    await addRole(realm, `has-${scope}`, PERMISSIONS, scope)
    who[scope] = await addMember(realm, `has-${scope}`, { roles: [`has-${scope}`], unit_id: units.water })
  }
  people.cy = await addMember(realm, 'cy', { unit_id: units.water, manager_id: who.team.id })
  people.dee = await addMember(realm, 'dee', { unit_id: units.soil, manager_id: who.team.id })
  people.eve = await addMember(realm, 'eve', { unit_id: units.shop, manager_id: who.team.id })
  people['cy-2'] = await addMember(realm, 'cy-2')
})

const REACHED: Record<Scope, (keyof typeof people)[]> = {
  own: [],
  team: ['cy'],
  department: ['cy', 'dee'],
  all: ['cy', 'cy-2', 'dee', 'eve'],
}
const names = ['cy', 'cy-2', 'dee', 'eve'] as (keyof typeof people)[]
const at = (path: string, as: Scope, ask: object = {}) => call(AT, `/api/v1/users${path}`, { token: who[as].token, ...ask })
const CASES = SCOPES.flatMap((scope) => names.map((name) => [scope, name, REACHED[scope].includes(name)] as const))

describe('at its scope', () => {
  it.each(SCOPES)('%s, a list shows who is reached, in every order and with every filter', async (scope) => {
    const expected =
      scope === 'own' ? ['has-own'] : [...REACHED[scope], ...SCOPES.map((s) => `has-${s}`), ...(scope === 'all' ? ['bo'] : [])]
    for (const sort of ['username', '-username', 'email', '-email', 'name', '-name', 'created_at', '-created_at']) {
      const { body } = await at(`?sort=${sort}`, scope)
      expect(body.data.map(({ username }: any) => username).sort(), sort).toEqual([...expected].sort())
      const pages: string[] = []
      for (let next: string | null = ''; next !== null; ) {
        const page: any = (await at(`?limit=1&sort=${sort}${next && `&cursor=${encodeURIComponent(next)}`}`, scope)).body
        pages.push(...page.data.map(({ username }: any) => username))
        next = page.next_cursor
      }
      expect(pages, sort).toEqual(body.data.map(({ username }: any) => username))
    }
    const shown = async (query: string) => (await at(`?${query}`, scope)).body.data.map(({ username }: any) => username)
    expect(await shown('search=E')).toEqual(REACHED[scope].filter((name) => name === 'eve'))
    expect(await shown(`unit_id=${units.soil}`)).toEqual(REACHED[scope].filter((name) => name === 'dee'))
    expect((await shown('role=user')).sort()).toEqual(REACHED[scope])
    expect(await shown('status=inactive')).toEqual([])
  })

  it.each(CASES)('%s, whether %s is there is the same behind every door', async (scope, name, is_there) => {
    const { id, username, email } = people[name]
    const put = { email, username, role: 'user', given_name: name, unit_id: null, manager_id: null }
    const [row] = await realm.asOwner(sql`select unit_id, manager_id from freehold.users where id = ${id}`)
    const doors = [
      await at(`/${id}`, scope),
      await at(`/${id}/reports`, scope),
      await at(`/${id}/sessions`, scope),
      await at(`/${id}`, scope, { method: 'PATCH', body: { given_name: name } }),
      await at(`/${id}`, scope, { method: 'PUT', body: { ...put, ...row } }),
      await at(`/${id}/deactivate`, scope, { method: 'POST' }),
      await at(`/${id}/reactivate`, scope, { method: 'POST' }),
      await at(`/${id}`, scope, { method: 'DELETE' }),
      await at(`/${id}/reactivate`, scope, { method: 'POST' }),
    ]
    if (is_there) expect(doors.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200, 200, 204, 200])
    else for (const answer of doors) expectProblem(answer, 404, 'not_found')
  })

  it.each(SCOPES)('%s, reports are those who are reached', async (scope) => {
    const { body } = await at(`/${who.team.id}/reports`, scope)
    if (scope === 'own') expect(body.code).toBe('not_found')
    else expect(body.data.map(({ username }: any) => username)).toEqual(REACHED[scope].filter((name) => name !== 'cy-2'))
  })

  it.each([
    ['own', 'water', 400],
    ['own', null, 403],
    ['team', 'water', 201],
    ['team', 'soil', 400],
    ['team', null, 403],
    ['department', 'soil', 201],
    ['department', 'lab', 201],
    ['department', 'shop', 400],
    ['department', null, 403],
    ['all', 'shop', 201],
    ['all', null, 201],
  ] as const)('%s, somebody new in %s is answered %s', async (scope, unit, status) => {
    await realm.asOwner(sql`update freehold.roles set is_manageable = true where name = 'user'`)
    const body = { email: `${scope}-${unit}@new.test`, ...(unit && { unit_id: units[unit] }), password: 'Quiet-Harbour-77' }
    const answer = await at('', scope, { body })
    expect(answer.status, JSON.stringify(answer.body)).toBe(status)
    if (status === 400) expect(pointers(answer)).toEqual(['#/unit_id'])
    await realm.asOwner(sql`update freehold.users set unit_id = null where email = ${body.email}`)
  })

  it.each([
    ['team', 'soil', 400],
    ['team', null, 403],
    ['department', 'soil', 200],
    ['department', 'shop', 400],
    ['department', null, 403],
    ['all', 'shop', 200],
    ['all', null, 200],
  ] as const)('%s, cy can be moved to %s: %s', async (scope, unit, status) => {
    const unit_id = unit && units[unit]
    const answer = await at(`/${people.cy.id}`, scope, { method: 'PATCH', body: { unit_id } })
    expect(answer.status, JSON.stringify(answer.body)).toBe(status)
    await realm.asOwner(sql`update freehold.users set unit_id = ${units.water} where id = ${people.cy.id}`)
  })

  it('team, a manager is somebody who is reached', async () => {
    for (const [manager, status] of [
      [people.eve.id, 400],
      [crypto.randomUUID(), 400],
      [who.own.id, 200],
    ] as const) {
      const answer = await at(`/${people.cy.id}`, 'team', { method: 'PATCH', body: { manager_id: manager } })
      expect(answer.status).toBe(status)
      if (status === 400)
        expect(answer.body.errors).toEqual([{ pointer: '#/manager_id', detail: 'is not a user whom you can access' }])
    }
  })
})

describe('oneself', () => {
  it.each(SCOPES)('at scope %s is mended in what is one’s own', async (scope) => {
    const mended = {
      given_name: 'Cy',
      family_name: 'Quispe',
      phone: '123',
      locale: 'es',
      timezone: 'America/Lima',
      preferences: { a: 1 },
      description: 'x',
    }
    const answer = await at(`/${who[scope].id}`, scope, { method: 'PATCH', body: mended })
    expect(answer.body).toMatchObject(mended)
  })

  it.each(
    (['own', 'team', 'department'] as const).flatMap((scope) =>
      [
        ['role', () => 'user'],
        ['unit_id', () => (scope === 'department' ? units.soil : null)],
        ['manager_id', () => who.own.id],
        ['username', () => 'somebody-else'],
        ['email', () => 'somebody-else@acme.test'],
        ['designation', () => 'Queen'],
        ['joined_at', () => '2026-01-01T00:00:00Z'],
        ['terminated_at', () => '2090-01-01T00:00:00Z'],
      ].map(([field, value]) => [scope, field as string, value as () => unknown] as const),
    ),
  )('at scope %s keeps their %s', async (scope, field, value) => {
    const self = who[scope]
    const patch = { [field]: field === 'manager_id' && scope === 'own' ? self.id : value() }
    const answer = await at(`/${self.id}`, scope, { method: 'PATCH', body: patch })
    expectProblem(answer, 403, 'forbidden')
    expect(answer.body.detail).toContain(field)
    const put = { email: self.email, username: self.username, role: `has-${scope}`, unit_id: units.water, ...patch }
    expectProblem(await at(`/${self.id}`, scope, { method: 'PUT', body: put }), 403, 'forbidden')
  })

  it('at scope own is replaced when what is not theirs stays', async () => {
    const { id, email, username } = who.own
    const { joined_at } = (await at(`/${id}`, 'own')).body
    const body = { email, username, role: 'has-own', unit_id: units.water, joined_at, given_name: 'New' }
    expect((await at(`/${id}`, 'own', { method: 'PUT', body })).body).toMatchObject(body)
  })

  it('is not deactivated at any scope', async () => {
    for (const scope of SCOPES) {
      expectProblem(await at(`/${who[scope].id}`, scope, { method: 'DELETE' }), 409, 'illegal_state')
      expectProblem(await at(`/${who[scope].id}/deactivate`, scope, { method: 'POST' }), 409, 'illegal_state')
    }
  })
})

describe('whoever acts for another', () => {
  it('reaches as the other does, and changes no more of the other than the other could', async () => {
    const delegation = crypto.randomUUID()
    await realm.asOwner(
      sql`insert into freehold.delegations (id, delegator_id, delegate_id, starts_at, ends_at, decision, decided_at)
        values (${delegation}, ${who.team.id}, ${people['cy-2'].id}, now() - interval '1 hour', now() + interval '1 day', 'approved', now() - interval '1 hour')`,
      sql`insert into freehold.delegation_permissions (delegation_id, permission) select ${delegation}, p from unnest(array['user:read', 'user:update', 'user:delete']) p`,
    )
    const token = await tokenOf(AT, people['cy-2'].username)
    const as = (path: string, ask: object = {}) => call(AT, `/api/v1/users${path}`, { token, ...ask })
    const list = await as('?limit=100')
    expect(list.status, JSON.stringify(list.body)).toBe(200)
    const listed = list.body.data.map(({ username }: any) => username)
    expect(listed).toEqual(['cy', ...SCOPES.map((s) => `has-${s}`), 'cy-2'].sort())
    expect((await as(`/${people.cy.id}`, { method: 'PATCH', body: { designation: 'Chemist' } })).status).toBe(200)
    expectProblem(await as(`/${people.eve.id}`), 404, 'not_found')
    expectProblem(await as(`/${who.team.id}`, { method: 'PATCH', body: { unit_id: units.soil } }), 403, 'forbidden')
    expectProblem(await as(`/${who.team.id}`, { method: 'DELETE' }), 403, 'forbidden')
    expectProblem(await as(`/${people['cy-2'].id}`, { method: 'PATCH', body: { unit_id: units.water } }), 403, 'forbidden')
  })
})

describe('who may not', () => {
  let mallory: string
  beforeAll(async () => {
    await copyTenant('reaching-next')
    mallory = await tokenOf('reaching-next')
  })

  const id = crypto.randomUUID()
  const DOORS: [string, string, object?][] = [
    ['GET', ''],
    ['POST', '', { email: 'x@acme.test' }],
    ['GET', '/me'],
    ['GET', `/${id}`],
    ['PUT', `/${id}`, { email: 'x@acme.test', username: 'x', role: 'user' }],
    ['PATCH', `/${id}`, {}],
    ['DELETE', `/${id}`],
    ['POST', `/${id}/deactivate`],
    ['POST', `/${id}/reactivate`],
    ['GET', `/${id}/reports`],
    ['GET', `/${id}/sessions`],
  ]
  it.each(DOORS)(
    'comes to %s %s without a token, with another tenant’s, or without the permission, is refused',
    async (method, path, body) => {
      const ask = { method, ...(body && { body }) }
      expectProblem(await call(AT, `/api/v1/users${path}`, ask), 401, 'token_missing')
      expectProblem(await call(AT, `/api/v1/users${path}`, { token: mallory, ...ask }), 401, 'token_wrong_tenant')
      if (path === '/me') return
      const username = `nobody-${method}-${path.split('/').at(-1)?.slice(0, 8) || 'all'}`.toLowerCase()
      await addRole(realm, username, [], 'own')
      const nobody = await addMember(realm, username, { roles: [username] })
      expectProblem(await call(AT, `/api/v1/users${path}`, { token: nobody.token, ...ask }), 403, 'forbidden')
    },
  )
})

describe('how somebody logs in', () => {
  it('is not changed by who holds less than they do, even at scope all; by who holds as much, it is', async () => {
    const strong = await addMember(realm, 'strong', { roles: ['admin'] })
    for (const body of [{ email: 'taken-over@people.test' }, { username: 'taken-over' }]) {
      const answer = await at(`/${strong.id}`, 'all', { method: 'PATCH', body })
      expect([answer.status, answer.body.code]).toEqual([403, 'forbidden'])
    }
    expect((await at(`/${strong.id}`, 'all', { method: 'PATCH', body: { designation: 'Head' } })).status).toBe(200)
    expect((await at(`/${people.cy.id}`, 'all', { method: 'PATCH', body: { email: 'cy-moved@people.test' } })).status).toBe(200)
    const bo = await tokenOf(AT)
    const answer = await call(AT, `/api/v1/users/${strong.id}`, {
      token: bo,
      method: 'PATCH',
      body: { email: 'strong-moved@people.test' },
    })
    expect(answer.status).toBe(200)
  })
})
