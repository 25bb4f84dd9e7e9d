/**
 * Threat: somebody with few permissions, or with SQL as the Worker after an admission of their own, makes more of them: by what is combined, by
 * what lies ahead, by what names a session, by values that no door expects.
 */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { catalogue } from '../../src/presets/catalogue.ts'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { admit } from '../support/sessions.ts'

let here: Cast
let database: Database
let cy: Member
let admin: string

const FAR = '2999-01-01T00:00:00Z'

beforeAll(async () => {
  here = await cast('attack')
  database = await databaseOf('attack')
  cy = await here.member('cy')
  admin = await here.roleId('admin')
})

const by = (who: Member, path: string, body?: unknown, method = body === undefined ? 'GET' : 'POST') =>
  here.ask(path, { token: who.token, body, method })
const says = async (answer: Promise<{ status: number; body: any }>) => {
  const { status, body } = await answer
  return [status, body?.code ?? null]
}
/** Admits a person by the session that they have. */
const as = async (who: Pick<Member, 'id'>, permission: string) => {
  const [session] = await here.realm.asOwner(
    sql`select id from freehold.sessions where user_id = ${who.id} and ended_at is null limit 1`,
  )
  return admit(database, { session_id: session?.id, user_id: who.id }, permission)
}
const LONG = `2020-01-01T00:00:00.${'1'.repeat(200)}Z`

describe('a value that no door expects is refused with 4xx', () => {
  it.each([
    '/permissions?search=%00',
    '/permissions?resource=%00',
    '/permissions?action=a%00b',
    '/roles?search=%00',
    '/permissions/a%00b:c/holders',
    '/permissions/user:read/holders?at=0000-01-01T00:00:00Z',
    '/permissions/user:read/holders?at=2020-01-01T00:00:00%2B23:59',
    '/users/{me}/permissions?at=0000-01-01T00:00:00Z',
    '/users/{me}/permissions?at=2020-01-01T00:00:00%2B23:59',
    `/users/{me}/permissions?at=${LONG}`,
    `/activities?from=${LONG}`,
    `/activities/export?format=csv&to=${LONG}`,
  ])('in GET %s', async (path) => {
    const answer = await here.ask(path.replace('{me}', here.bo.id))
    expect(answer.status, JSON.stringify(answer.body).slice(0, 300)).toBeLessThan(500)
  })

  it.each<[string, object]>([
    ['/authz/check', { checks: [{ role: 'a\u0000b' }] }],
    ['/authz/check', { checks: [{ role: '\ud800' }] }],
    ['/delegations', { permissions: ['user:read'], ends_at: LONG.replace('2020', '2999') }],
    ['/users/{cy}/overrides', { permission: 'user:read', effect: 'grant', ends_at: LONG.replace('2020', '2999') }],
  ])('in POST %s %j', async (path, body) => {
    const whole = path === '/delegations' ? { delegate_id: cy.id, ...body } : body
    const answer = await here.ask(path.replace('{cy}', cy.id), { body: whole })
    expect(answer.status, JSON.stringify(answer.body).slice(0, 300)).toBeLessThan(500)
  })
})

describe('a denial', () => {
  it('is not lifted by an end that is null, by who could not lift it', async () => {
    const pat = await here.member('pat', { can: { 'permission:update': 'all', 'user:read': 'all' } })
    const { body } = await here.ask(`/users/${cy.id}/overrides`, { body: { permission: 'kpi:export', effect: 'deny' } })
    expect(await says(by(pat, `/users/${cy.id}/overrides/${body.id}`, undefined, 'DELETE'))).toEqual([403, 'forbidden'])
    const lift = sql`update freehold.overrides set ends_at = null where id = ${body.id}`
    await refusalOf(database.app_url, await as(pat, 'permission:update'), lift)
    const [row] = await here.realm.asOwner(sql`select ends_at from freehold.overrides where id = ${body.id}`)
    expect(row?.ends_at).toBeNull()
  })

  it('of anything leaves an administrator who can hand on what they are', async () => {
    const zed = await here.member('zed', { can: Object.fromEntries(catalogue.map((name) => [name, 'all'])) })
    const denied = await by(zed, `/users/${here.bo.id}/overrides`, { permission: 'kpi:review', effect: 'deny' })
    const given = await says(here.ask(`/users/${cy.id}/roles`, { body: { role_id: admin, ends_at: FAR } }))
    // Mended before it is judged: who is denied one permission can lift it neither themselves nor through anybody else.
    await here.realm.asOwner(sql`update freehold.overrides set ends_at = now() where user_id = ${here.bo.id} and ends_at is null`)
    await here.ask(`/users/${cy.id}/roles/${admin}`, { method: 'DELETE' })
    expect([denied.status, given]).toEqual([409, [201, null]])
  })
})

describe('nobody widens their own reach', () => {
  it('by putting themselves into another unit, also who reaches everybody', async () => {
    const [low, high] = [await here.unit('low'), await here.unit('high')]
    const can = { 'user:update': 'all', 'user:read': 'all', 'session:read': 'team' }
    const hr = await here.member('hr', { can, unit: low })
    const chief = await here.member('chief', { unit: high })
    expect((await by(hr, `/users/${chief.id}/sessions`)).status).toBe(403)
    const moved = await says(by(hr, `/users/${hr.id}`, { unit_id: high }, 'PATCH'))
    expect([moved, (await by(hr, `/users/${chief.id}/sessions`)).status]).toEqual([[403, 'forbidden'], 403])
  })

  it('by putting another department under their own, also who reaches all units', async () => {
    const [own, other] = [await here.unit('own', undefined, 'department'), await here.unit('other', undefined, 'department')]
    const can = { 'unit:update': 'all', 'unit:read': 'all', 'session:read': 'department' }
    const arch = await here.member('arch', { can, unit: own })
    expect(await says(by(arch, `/units/${other}`, { parent_id: own }, 'PATCH'))).toEqual([403, 'forbidden'])
  })

  it('by moving somebody from a delegator’s team into their own', async () => {
    const [a, b] = [await here.unit('team a'), await here.unit('team b')]
    const can = { 'user:update': 'team', 'user:read': 'team', 'delegation:create': 'own', 'session:read': 'team' }
    const ann = await here.member('ann', { can, unit: a })
    const ben = await here.member('ben', { can, unit: b })
    const kid = await here.member('kid', { unit: b })
    const lent = { delegate_id: ann.id, permissions: ['user:update'], ends_at: FAR }
    expect((await by(ben, '/delegations', lent)).status).toBe(201)
    const moved = await by(ann, `/users/${kid.id}`, { unit_id: a }, 'PATCH')
    expect([moved.status, (await by(ann, `/users/${kid.id}/sessions`)).status]).toEqual([400, 404])
  })

  it('by a delegation: it reaches what is the delegator’s, and nothing that is theirs', async () => {
    const dot = await here.member('dot', { can: { 'activity:read': 'own', 'delegation:create': 'own' } })
    const eli = await here.member('eli')
    const lent = { delegate_id: eli.id, permissions: ['activity:read'], ends_at: FAR }
    expect((await by(dot, '/delegations', lent)).status).toBe(201)
    const seen = (await by(eli, '/activities')).body.data.map(({ user_id }: any) => user_id)
    expect([...new Set(seen)]).toEqual([dot.id])
    const of = (owner_id: string) => ({ permission: 'activity:read', resource: { owner_id } })
    const asked = await by(eli, '/authz/check', { checks: [of(eli.id), of(dot.id)] })
    expect(asked.body.results.map(({ allowed }: any) => allowed)).toEqual([false, true])
  })
})

describe('how somebody logs in', () => {
  const HR = { 'user:update': 'all', 'user:read': 'all', 'session:read': 'own', 'session:delete': 'own' }

  it.each([
    ['through a delegation', 'delegated'],
    ['soon', 'soon'],
  ])('is not for somebody to change who holds less: they hold more %s', async (_, way) => {
    const clerk = await here.member(`clerk-${way}`, { can: HR })
    const target = await here.member(`target-${way}`)
    const given =
      way === 'soon'
        ? here.ask(`/users/${target.id}/roles`, { body: { role_id: admin, starts_at: '2998-01-01T00:00:00Z', ends_at: FAR } })
        : here.ask('/delegations', { body: { delegate_id: target.id, role_id: admin, ends_at: FAR } })
    expect((await given).status).toBe(201)
    const changed = by(clerk, `/users/${target.id}`, { email: `${way}-mine@people.test` }, 'PATCH')
    expect(await says(changed)).toEqual([403, 'forbidden'])
  })
})

describe('the primary role', () => {
  it('that is shown is one that is held, also when it has run out', async () => {
    const role_id = await here.role('for a moment', { 'user:read': 'all' })
    const tim = await here.member('tim', { roles: ['for a moment', 'user'] })
    await here.realm.asOwner(
      sql`update freehold.user_roles set ends_at = now() + interval '1 second' where user_id = ${tim.id} and role_id = ${role_id}`,
    )
    await new Promise((done) => setTimeout(done, 1_200))
    const { role, roles } = (await by(tim, '/users/me')).body
    expect([role, roles]).toEqual(['user', ['user']])
  })
})

describe('the app login, admitted for something else', () => {
  /** The rows of a statement, or how it was refused. */
  const rows = async (who: Member, permission: string, statement: SQL) =>
    database.asApp(await as(who, permission), statement).catch((error) => String(error))

  it('becomes nobody else by the id of a session, that it saw among the sessions or in the audit', async () => {
    const una = await here.member('una', { can: { 'unit:read': 'all', 'activity:read': 'all' } })
    const seen = await rows(
      una,
      'unit:read',
      sql`select id from freehold.sessions where user_id = ${here.bo.id} and ended_at is null`,
    )
    const [login] = (await by(una, `/activities?activity_type=LOGIN&user_id=${here.bo.id}`)).body.data
    expect.soft(seen).toEqual([])
    for (const proof of [null, '', 'x', 'a'.repeat(64), database.proof({ session_id: una.id })]) {
      const credential = { session_id: login.resource_id, user_id: here.bo.id, proof }
      expect(await refusalOf(database.app_url, admit(database, credential, 'role:update'))).toMatch(/^FH401 /)
    }
  })

  it.each<[string, string, (boss: string) => SQL]>([
    ['unit:read', 'sees no overrides', () => sql`select id from freehold.overrides`],
    ['unit:read', 'explains nobody', (boss) => sql`select 1 as one where access.explain(${boss}, null) is not null`],
    ['unit:read', 'finds no holders', () => sql`select * from access.holders('user:read', null, null, 10)`],
    [
      'unit:read',
      'finds no substitute',
      (boss) => sql`select 1 as one where access.substitute(${boss}, 'user:read') is not null`,
    ],
    [
      'permission:create',
      'deletes no permission',
      () => sql`update freehold.permissions set deleted_at = now() where name = 'kiln:heat' returning 1 as one`,
    ],
    [
      'permission:update',
      'deletes no permission',
      () => sql`update freehold.permissions set deleted_at = now() where name = 'kiln:heat' returning 1 as one`,
    ],
    [
      'role:update',
      'deletes no role',
      () => sql`update freehold.roles set deleted_at = now() where name = 'stoker' returning 1 as one`,
    ],
    [
      'user:delete',
      'brings nobody back',
      () => sql`update freehold.users set is_active = true where username = 'gone' returning 1 as one`,
    ],
  ])('for %s, %s', async (permission, about, statement) => {
    const name = `sql-${permission.replace(':', '-')}-${about.split(' ').join('-')}`
    const who = await here.member(name, { can: { [permission]: 'all' } })
    await here.realm.asOwner(
      sql`insert into freehold.permissions (id, name) values (gen_random_uuid(), 'kiln:heat') on conflict (name) do update set deleted_at = null`,
      sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'stoker') on conflict do nothing`,
      sql`insert into freehold.users (id, username, email, is_active) values (gen_random_uuid(), 'gone', 'gone@people.test', false) on conflict do nothing`,
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${cy.id}, 'kpi:delete', 'deny', 'all') on conflict do nothing`,
    )
    const found = await rows(who, permission, statement(here.bo.id))
    expect(typeof found === 'string' ? found : found.length).toEqual(
      expect.toBeOneOf([0, expect.stringMatching(/forbidden|denied|not_found/)]),
    )
  })
})

describe('somebody is always the administrator', () => {
  it('when the last two are switched off, denied and bereft of it, and the role is switched off, all at once', async () => {
    for (let round = 0; round < 3; round++) {
      const kim = await here.member(`kim${round}`, { roles: ['user', 'admin'] })
      const can = { 'permission:update': 'all', 'user:update': 'all', 'role:update': 'all', 'user:read': 'all' }
      const foe = await here.member(`foe${round}`, { can })
      const answers = await Promise.all([
        by(foe, `/users/${kim.id}/deactivate`, undefined, 'POST'),
        by(foe, `/users/${here.bo.id}/overrides`, { permission: 'role:update', effect: 'deny' }),
        by(foe, `/users/${here.bo.id}/roles/${admin}`, undefined, 'DELETE'),
        by(foe, `/roles/${admin}`, { is_active: false }, 'PATCH'),
        by(foe, `/users/${kim.id}/overrides`, { permission: 'permission:update', effect: 'deny' }),
      ])
      expect(answers.every(({ status }) => status < 500)).toBe(true)
      const [left] = await here.realm.asOwner(sql`select count(*)::integer as n
        from freehold.user_roles ur join freehold.users u on u.id = ur.user_id join freehold.roles r on r.id = ur.role_id
        where r.is_admin and r.is_active and u.is_active and ur.ends_at is null and not exists (
          select from freehold.overrides o where o.user_id = u.id and o.effect = 'deny' and o.ends_at is null and o.permission in ('role:update', 'permission:update'))`)
      expect(left?.n).toBeGreaterThan(0)
      await here.realm.asOwner(
        sql`update freehold.overrides set ends_at = now() where user_id in (${here.bo.id}, ${kim.id}) and ends_at is null`,
        sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${here.bo.id}, ${admin}
          where not exists (select from freehold.user_roles where user_id = ${here.bo.id} and role_id = ${admin} and ends_at is null)`,
        sql`update freehold.user_roles set ends_at = now() where user_id = ${kim.id} and role_id = ${admin} and ends_at is null`,
      )
    }
  })
})
