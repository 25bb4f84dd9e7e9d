/**
 * Threat: somebody who may change roles makes themselves or a friend more than they are: by a grant, a parent, a role that sleeps, an override, a
 * primary role, a race. Every way in goes through the routes; where a rule is not at the door, the statement is run as the Worker would.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { catalogue } from '../../src/presets/catalogue.ts'
import { type Database, databaseOf } from '../support/databases.ts'
import { addPerson } from '../support/inside.ts'
import { expectProblem } from '../support/refusal.ts'
import { admit } from '../support/sessions.ts'
import { type Cast, cast, grants, type Member } from './cast.ts'

let here: Cast
let database: Database
/** Runs the roles without being the administrator: nothing of `permission` or `kpi`, and people within their team only. */
let dee: Member
let cy: Member
let admin: string
const DEE = { 'role:create': 'all', 'role:read': 'all', 'role:update': 'all', 'user:read': 'all', 'document:approve': 'team' }

beforeAll(async () => {
  here = await cast('handing-out')
  database = await databaseOf('handing-out')
  cy = await here.member('cy')
  dee = await here.member('dee', { can: DEE })
  admin = await here.roleId('admin')
})

/** Everything that the administrator's role carries, for who must not be stopped for holding less. */
const EVERYTHING = Object.fromEntries(catalogue.map((permission) => [permission, 'all']))

const by = (who: Member, path: string, body: unknown, method = 'POST') => here.ask(path, { token: who.token, body, method })
const refused = async (answer: Promise<any>, about = '') => expectProblem(await answer, 403, 'forbidden', about)
const allowed = async (answer: Promise<any>, status = 200) => {
  const { status: was, body } = await answer
  expect(was, JSON.stringify(body)).toBe(status)
  return body
}
const scopeOf = async (who: Member, permission: string) =>
  (await here.realm.asOwner(sql`select access.decide(${who.id}, ${permission}, now()) as scope`))[0]?.scope

describe('nobody hands out what they do not hold', () => {
  it('in a role that they make, replace or add to', async () => {
    const beyond = { permissions: grants({ 'permission:update': 'own' }) }
    await refused(by(dee, '/roles', { name: 'beyond', ...beyond }))
    const { id } = await allowed(by(dee, '/roles', { name: 'within', permissions: grants({ 'role:read': 'all' }) }), 201)
    await refused(by(dee, `/roles/${id}`, { name: 'within', ...beyond }, 'PUT'))
    await refused(by(dee, `/roles/${id}`, beyond, 'PATCH'))
    await refused(by(dee, `/roles/${id}/permissions`, beyond))
    expect((await here.ask(`/roles/${id}`)).body.permissions).toEqual(grants({ 'role:read': 'all' }))
  })

  it('at a wider scope than they hold it', async () => {
    for (const scope of ['all', 'department'])
      await refused(by(dee, '/roles', { name: 'wide', permissions: grants({ 'document:approve': scope }) }), scope)
    for (const scope of ['team', 'own'])
      await allowed(by(dee, '/roles', { name: `as ${scope}`, permissions: grants({ 'document:approve': scope }) }), 201)
  })

  it('by a role that inherits it, active or not, and not by switching one on', async () => {
    await refused(by(dee, '/roles', { name: 'heir', parent_id: admin }))
    await refused(by(dee, '/roles', { name: 'sleeping heir', parent_id: admin, is_active: false }))
    const { id } = await allowed(by(dee, '/roles', { name: 'orphan' }), 201)
    await refused(by(dee, `/roles/${id}`, { parent_id: admin }, 'PATCH'))
    await refused(by(dee, `/roles/${id}`, { parent_id: admin, is_active: false }, 'PATCH'))
    const asleep = await here.role('asleep', { 'kpi:read': 'own' }, { is_active: false })
    await refused(by(dee, `/roles/${asleep}`, { is_active: true }, 'PATCH'))
    await refused(by(dee, `/roles/${id}`, { parent_id: asleep }, 'PATCH'))
    // What they do hold, or only take away, they may.
    const { id: slim } = await allowed(
      by(dee, '/roles', { name: 'slim', permissions: grants({ 'role:read': 'own' }), is_active: false }),
      201,
    )
    await allowed(by(dee, `/roles/${slim}`, { is_active: true, parent_id: await here.roleId('user') }, 'PATCH'))
    const rich = await here.role('rich', { 'kpi:read': 'all' }, { parent_id: asleep })
    await allowed(by(dee, `/roles/${rich}`, { parent_id: null }, 'PATCH'))
  })

  it('by giving a role that carries it, inherits it, or would if it were on', async () => {
    const rich = await here.role('richer', { 'kpi:read': 'all' })
    const heir = await here.role('heiress', {}, { parent_id: rich })
    const off = await here.role('off', { 'kpi:read': 'all' }, { is_active: false })
    for (const role_id of [admin, rich, heir, off]) await refused(by(dee, `/users/${cy.id}/roles`, { role_id }))
    expect(await scopeOf(cy, 'kpi:read')).toBeNull()
  })

  it('that was only delegated to them', async () => {
    await allowed(
      here.ask('/delegations', { body: { delegate_id: dee.id, permissions: ['kpi:export'], ends_at: '2999-01-01T00:00:00Z' } }),
      201,
    )
    expect(await scopeOf(dee, 'kpi:export')).toBe('all')
    await refused(by(dee, '/roles', { name: 'lent', permissions: grants({ 'kpi:export': 'own' }) }))
  })

  it('that they hold and are denied', async () => {
    const eve = await here.member('eve', { can: { ...DEE, 'kpi:review': 'all' } })
    await allowed(here.ask(`/users/${eve.id}/overrides`, { body: { permission: 'kpi:review', effect: 'deny' } }), 201)
    await refused(by(eve, '/roles', { name: 'denied', permissions: grants({ 'kpi:review': 'own' }) }))
  })
})

describe('nobody raises themselves', () => {
  it('by giving themselves a role, also one that they could give to others, or one that they had', async () => {
    const plain = await here.role('plain', { 'role:read': 'own' })
    await allowed(by(dee, `/users/${cy.id}/roles`, { role_id: plain }), 201)
    await refused(by(dee, `/users/${dee.id}/roles`, { role_id: plain }))
    const bo = { ...dee, token: here.bo.token }
    await refused(by(bo, `/users/${here.bo.id}/roles`, { role_id: plain }))
  })

  it('by a parent for a role that they hold', async () => {
    const [own] = (await here.ask('/roles?search=of dee')).body.data
    for (const method of ['PATCH', 'PUT'])
      await refused(
        by(
          dee,
          `/roles/${own.id}`,
          { ...(method === 'PUT' && { name: 'of dee', permissions: grants(DEE) }), parent_id: admin },
          method,
        ),
      )
    const rich = await here.role('rich parent', { 'kpi:delete': 'own' })
    await refused(by(dee, `/roles/${own.id}`, { parent_id: rich }, 'PATCH'))
    expect(await scopeOf(dee, 'kpi:delete')).toBeNull()
  })

  it('by switching on a role that they hold, or a parent of it', async () => {
    const parent = await here.role('dozing parent', { 'kpi:create': 'all' }, { is_active: false })
    const dozing = await here.role('dozing', { 'kpi:update': 'all' }, { is_active: false })
    await here.role('awake', {}, { parent_id: parent })
    const fay = await here.member('fay', { can: DEE, roles: ['user', 'dozing', 'awake'] })
    for (const id of [parent, dozing]) await refused(by(fay, `/roles/${id}`, { is_active: true }, 'PATCH'))
    expect([await scopeOf(fay, 'kpi:create'), await scopeOf(fay, 'kpi:update')]).toEqual([null, null])
  })

  it('by a permission for a role that they hold', async () => {
    const [own] = (await here.ask('/roles?search=of dee')).body.data
    await refused(by(dee, `/roles/${own.id}/permissions`, { permissions: grants({ 'kpi:approve': 'own' }) }))
    await refused(by(dee, `/roles/${own.id}/permissions`, { permissions: grants({ 'document:approve': 'all' }) }))
  })

  it('by an override, nor by lifting a denial of their own', async () => {
    const gil = await here.member('gil', { can: { 'permission:update': 'all', 'user:read': 'all', 'kpi:read': 'all' } })
    await refused(by(gil, `/users/${gil.id}/overrides`, { permission: 'kpi:read', effect: 'grant' }))
    const denied = await allowed(
      here.ask(`/users/${gil.id}/overrides`, { body: { permission: 'kpi:read', effect: 'deny' } }),
      201,
    )
    await refused(by(gil, `/users/${gil.id}/overrides/${denied.id}`, undefined, 'DELETE'))
    await refused(by(gil, `/users/${cy.id}/overrides`, { permission: 'kpi:export', effect: 'grant', scope: 'own' }))
  })

  it('by their primary role, nor others, without role:update', async () => {
    const hal = await here.member('hal', {
      can: { 'user:update': 'all', 'user:read': 'all', 'user:create': 'all', 'role:read': 'own' },
    })
    await here.role('modest', { 'role:read': 'own' })
    for (const target of [hal.id, cy.id]) {
      const [session] = await here.realm.asOwner(sql`select id from freehold.sessions where user_id = ${hal.id}`)
      const credential = { session_id: session?.id, user_id: hal.id }
      const done = database.asApp(
        admit(database, credential, 'user:update'),
        sql`update freehold.users set role = 'modest' where id = ${target}`,
      )
      await expect(done, target).rejects.toThrow('forbidden')
    }
    const [session] = await here.realm.asOwner(sql`select id from freehold.sessions where user_id = ${dee.id}`)
    const credential = { session_id: session?.id, user_id: dee.id }
    for (const [permission, change] of [
      [
        'role:update',
        sql`insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${dee.id}, ${admin})`,
      ],
      ['role:update', sql`update freehold.roles set is_admin = true where name = 'of dee'`],
      ['role:update', sql`update freehold.role_permissions set permission = 'kpi:read'`],
      ['role:update', sql`delete from freehold.user_roles`],
      [
        'role:read',
        sql`insert into freehold.role_permissions (id, role_id, permission, scope) select gen_random_uuid(), id, 'role:read', 'own' from freehold.roles where name = 'modest'`,
      ],
    ] as const)
      await expect(database.asApp(admit(database, credential, permission), change), permission).rejects.toThrow(
        /forbidden|denied|row-level/,
      )
  })
})

describe('a person made or changed with a role', () => {
  it('is given what whoever does it may give, and nobody who only changes people gives any but what all begin with', async () => {
    const clerk = await here.member('clerk', {
      can: { 'user:create': 'all', 'user:update': 'all', 'user:read': 'all', 'kpi:read': 'own' },
    })
    await here.role('counter', { 'kpi:read': 'own' })
    const person = (name: string, role?: string) => ({ email: `${name}@people.test`, username: name, ...(role && { role }) })
    await refused(by(clerk, '/users', person('puppet', 'counter')))
    await refused(by(clerk, '/users', person('puppet', 'admin')))
    const made = await allowed(by(clerk, '/users', person('puppet')), 201)
    expect(made.role).toBe('user')
    for (const role of ['counter', 'admin']) await refused(by(clerk, `/users/${made.id}`, { role }, 'PATCH'))
    await refused(by(clerk, `/users/${clerk.id}`, { role: 'counter' }, 'PATCH'))
    const chief = await here.member('chief', {
      can: {
        ...DEE,
        'user:create': 'all',
        'user:update': 'all',
        'kpi:read': 'own',
        'session:read': 'own',
        'session:delete': 'own',
      },
    })
    await refused(by(chief, '/users', person('marionette', 'admin')))
    await refused(by(chief, `/users/${made.id}`, { role: 'admin' }, 'PATCH'))
    expect((await allowed(by(chief, '/users', person('marionette', 'counter')), 201)).role).toBe('counter')
    expect((await allowed(by(chief, `/users/${made.id}`, { role: 'counter' }, 'PATCH'))).role).toBe('counter')
    await refused(by(chief, `/users/${chief.id}`, { role: 'counter' }, 'PATCH'))
    await refused(by(chief, `/users/${here.bo.id}`, { role: 'counter' }, 'PATCH'), 'who holds more')
    const deputy = await here.member('deputy', { can: EVERYTHING })
    expectProblem(await by(deputy, `/users/${here.bo.id}`, { role: 'counter' }, 'PATCH'), 409, 'illegal_state')
  })
})

describe('what has ended stays so', () => {
  it('and nothing begins or ends in the past, whoever runs the statement', async () => {
    const role_id = await here.role('historic', { 'role:read': 'own' })
    const ida = await addPerson(here.realm, 'ida', { roles: ['user', 'historic'] })
    const [session] = await here.realm.asOwner(sql`select id from freehold.sessions where user_id = ${dee.id}`)
    const asDee = admit(database, { session_id: session?.id, user_id: dee.id }, 'role:update')
    const range = async () =>
      (
        await here.realm.asOwner(
          sql`select starts_at, ends_at from freehold.user_roles where user_id = ${ida.id} and role_id = ${role_id}`,
        )
      )[0]
    await database.asApp(
      asDee,
      sql`update freehold.user_roles set ends_at = starts_at where user_id = ${ida.id} and role_id = ${role_id}`,
    )
    const { starts_at, ends_at } = (await range()) ?? {}
    expect(Date.parse(ends_at)).toBeGreaterThan(Date.parse(starts_at))
    await expect(
      database.asApp(
        asDee,
        sql`update freehold.user_roles set ends_at = null where user_id = ${ida.id} and role_id = ${role_id}`,
      ),
    ).rejects.toThrow('illegal_state')
    await expect(
      database.asApp(
        asDee,
        sql`insert into freehold.user_roles (id, user_id, role_id, starts_at) values (gen_random_uuid(), ${ida.id}, ${role_id}, '2020-01-01')`,
      ),
    ).rejects.toThrow('invalid_request')
    await expect(
      database.asApp(asDee, sql`update freehold.role_permissions set ends_at = null where ends_at is not null`),
    ).resolves.toEqual([])
  })
})

describe('somebody is always the administrator', () => {
  it('so the last one keeps the role, for good and undenied', async () => {
    expectProblem(await here.ask(`/users/${here.bo.id}/roles/${admin}`, { method: 'DELETE' }), 409, 'illegal_state')
    const boss = await here.member('boss', { can: EVERYTHING })
    expectProblem(
      await here.ask(`/users/${here.bo.id}/roles/${admin}`, { method: 'DELETE', token: boss.token }),
      409,
      'illegal_state',
    )
    expectProblem(
      await by(boss, `/users/${here.bo.id}/overrides`, { permission: 'role:update', effect: 'deny' }),
      409,
      'illegal_state',
    )
    await allowed(here.ask(`/users/${cy.id}/roles`, { body: { role_id: admin, ends_at: '2999-01-01T00:00:00Z' } }), 201)
    expectProblem(await here.ask(`/users/${here.bo.id}/roles/${admin}`, { method: 'DELETE' }), 409, 'illegal_state')
    await here.ask(`/users/${cy.id}/roles/${admin}`, { method: 'DELETE' })
  })

  it('also when the last two take it from one another at once', async () => {
    for (let round = 0; round < 4; round++) {
      const kai = await here.member(`kai${round}`, { roles: ['user', 'admin'] })
      const answers = await Promise.all([
        here.ask(`/users/${kai.id}/roles/${admin}`, { method: 'DELETE' }),
        here.ask(`/users/${here.bo.id}/roles/${admin}`, { method: 'DELETE', token: kai.token }),
      ])
      const [left] = await here.realm.asOwner(
        sql`select count(*)::integer as n from freehold.user_roles where role_id = ${admin} and ends_at is null`,
      )
      expect(left?.n).toBe(1)
      expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
      if (answers[1]?.status === 204)
        await here.realm.asOwner(
          sql`insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${here.bo.id}, ${admin})`,
        )
      if (answers[1]?.status === 204) await here.ask(`/users/${kai.id}/roles/${admin}`, { method: 'DELETE' })
    }
  })
})

describe('a role with room for so many', () => {
  it('is held by no more when twenty assignments race for the last place', async () => {
    const role_id = await here.role('exclusive', {}, { max_users: 3 })
    for (const name of ['one', 'two']) await addPerson(here.realm, name, { roles: ['user', 'exclusive'] })
    const racers = await Promise.all(Array.from({ length: 20 }, (_, i) => addPerson(here.realm, `racer${i}`)))
    const answers = await Promise.all(racers.map(({ id }) => here.ask(`/users/${id}/roles`, { body: { role_id } })))
    const codes = answers.map(({ status, body }) => (status === 201 ? 'given' : body.code))
    expect(codes.filter((code) => code === 'given')).toHaveLength(1)
    expect(codes.filter((code) => code === 'limit_reached')).toHaveLength(19)
    expect((await here.ask(`/roles/${role_id}/users`)).body.data).toHaveLength(3)
    const winner = racers[codes.indexOf('given')]
    await here.ask(`/users/${winner?.id}/roles/${role_id}`, { method: 'DELETE' })
    await allowed(here.ask(`/users/${winner?.id}/roles`, { body: { role_id, starts_at: '2998-01-01T00:00:00Z' } }), 201)
    const late = racers.find(({ id }) => id !== winner?.id)
    expectProblem(await here.ask(`/users/${late?.id}/roles`, { body: { role_id } }), 409, 'limit_reached')
  })
})

describe('within a team', () => {
  it('whoever holds role:update there gives and takes the roles that are manageable, to people of the team, and no others', async () => {
    const [home, away] = [await here.unit('home team'), await here.unit('away team')]
    const manageable = await here.role('shift lead', { 'user:read': 'team' }, { is_manageable: true })
    const fixed = await here.role('fixed', { 'user:read': 'own' })
    const proud = await here.role('proud', { 'user:read': 'all' }, { is_manageable: true })
    const lead = await here.member('lead', {
      can: { 'role:update': 'team', 'user:read': 'team', 'role:read': 'team' },
      unit: home,
    })
    const mate = await here.member('mate', { unit: home })
    const stranger = await here.member('stranger', { unit: away })
    await allowed(by(lead, `/users/${mate.id}/roles`, { role_id: manageable }), 201)
    await refused(by(lead, `/users/${mate.id}/roles`, { role_id: fixed }))
    await refused(by(lead, `/users/${mate.id}/roles`, { role_id: proud }))
    await refused(by(lead, `/users/${lead.id}/roles`, { role_id: manageable }))
    expectProblem(await by(lead, `/users/${stranger.id}/roles`, { role_id: manageable }), 404, 'not_found')
    await here.ask(`/users/${mate.id}/roles`, { body: { role_id: fixed } })
    await refused(by(lead, `/users/${mate.id}/roles/${fixed}`, undefined, 'DELETE'))
    await allowed(by(lead, `/users/${mate.id}/roles/${manageable}`, undefined, 'DELETE'), 204)
    await here.ask(`/users/${stranger.id}/roles`, { body: { role_id: manageable } })
    expectProblem(await by(lead, `/users/${stranger.id}/roles/${manageable}`, undefined, 'DELETE'), 404, 'not_found')
    await refused(by(lead, `/roles/${manageable}`, { is_manageable: false }, 'PATCH'))
    expect(
      (await here.ask('/roles?manageable=true', { token: lead.token })).body.data.map(({ name }: { name: string }) => name),
    ).toEqual(['proud', 'shift lead'])
  })
})
