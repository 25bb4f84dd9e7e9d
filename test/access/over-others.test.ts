/**
 * Threat: somebody who holds less takes over an administrator's account, switches it off or on, ends its sessions, moves it, or takes
 * from it what it holds. The two rules (src/access/over-others.sql) are tried with every verb that they are about, through the routes.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { catalogue } from '../../src/presets/catalogue.ts'
import { type Cast, cast, grants, type Member } from '../roles/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'

const AT = 'over-others'
/** What a team lead may do with people and roles, and with no settings, units, keys or records. */
const POWER = [
  'user:read',
  'user:update',
  'user:delete',
  'role:read',
  'role:update',
  'role:create',
  'permission:read',
  'permission:update',
  'session:read',
  'session:delete',
  'api_key:read',
  'api_key:delete',
]
const at = (permissions: string[], scope: string) => Object.fromEntries(permissions.map((name) => [name, scope]))

let here: Cast
let team: string
/** Holds POWER for everybody. */
let lead: Member
/** Holds everything there is. */
let chief: Member
/** Approves documents for everybody, and has no power over anybody. */
let tech: Member
let chiefs: string

beforeAll(async () => {
  here = await cast(AT)
  team = await here.unit('U')
  lead = await here.member('lead', { can: at(POWER, 'all'), unit: team })
  chiefs = await here.role('chiefs', at(catalogue, 'all'))
  chief = await here.member('chief', { roles: ['chiefs', 'user'], unit: team })
  tech = await here.member('tech', { can: { 'document:approve': 'all' }, unit: team })
})

const by = (who: { token: string }, path: string, method = 'POST', body?: unknown) =>
  here.ask(path, { token: who.token, method, ...(body !== undefined && { body }) })

/** Everything of a person that others may change, and what is theirs. */
const stateOf = async (id: string) =>
  (
    await here.realm.asOwner(sql`select to_jsonb(u) - 'updated_at' as person,
      (select jsonb_agg(to_jsonb(s) - 'last_active_at' order by s.id) from freehold.sessions s where s.user_id = u.id) as sessions,
      (select jsonb_agg(to_jsonb(ur) order by ur.id) from freehold.user_roles ur where ur.user_id = u.id) as roles,
      (select jsonb_agg(to_jsonb(o) order by o.id) from freehold.overrides o where o.user_id = u.id) as overrides,
      (select jsonb_agg(to_jsonb(k) order by k.id) from freehold.api_keys k where k.user_id = u.id) as keys
    from freehold.users u where u.id = ${id}`)
  )[0]

type Verb = (who: { token: string }, subject: Member) => Promise<Answer>

/** Whatever lets the caller log in as the person. */
const BECOMING: [string, Verb][] = [
  ['set a password', (who, { id }) => by(who, `/users/${id}/reset-password`, 'POST', { new_password: 'Copper-Window-17' })],
  ['see a generated password', (who, { id }) => by(who, `/users/${id}/reset-password`, 'POST', {})],
  ['set one by auth/reset-password', (who, { id }) => by(who, '/auth/reset-password', 'POST', { user_id: id })],
  ['change the e-mail', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { email: `${id}@elsewhere.test` })],
  ['change the username', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { username: `x${id.slice(0, 8)}` })],
  ['unlock', (who, { id }) => by(who, `/users/${id}/unlock`)],
]

/** Whatever switches a person off or on, limits them, moves them or takes something from them. */
const STANDING: [string, Verb][] = [
  ['deactivate', (who, { id }) => by(who, `/users/${id}/deactivate`)],
  ['delete', (who, { id }) => by(who, `/users/${id}`, 'DELETE')],
  ['limit the sessions', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { max_sessions: 1 })],
  [
    'move to another unit',
    async (who, { id }) => by(who, `/users/${id}`, 'PATCH', { unit_id: await here.unit(crypto.randomUUID()) }),
  ],
  ['move out of the unit', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { unit_id: null })],
  ['set the end date', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { terminated_at: '2020-01-01T00:00:00Z' })],
  ['set a manager', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { manager_id: tech.id === id ? lead.id : tech.id })],
  ['change the primary role', (who, { id }) => by(who, `/users/${id}`, 'PATCH', { role: 'user' })],
  ['end all sessions', (who, { id }) => by(who, `/users/${id}/sessions`, 'DELETE')],
  [
    'end one session',
    async (who, { id }) => {
      const [session] = await here.realm.asOwner(
        sql`select id from freehold.sessions where user_id = ${id} and ended_at is null limit 1`,
      )
      return by(who, `/sessions/${session?.id}`, 'DELETE')
    },
  ],
  [
    'deny a permission',
    (who, { id }) => by(who, `/users/${id}/overrides`, 'POST', { effect: 'deny', permission: 'user:update' }),
  ],
  ['take a role away', async (who, { id }) => by(who, `/users/${id}/roles/${await here.roleId('user')}`, 'DELETE')],
]

describe('who holds less', () => {
  it.each([...BECOMING, ...STANDING])('cannot %s of who holds more, and nothing changes', async (_, verb) => {
    const before = await stateOf(chief.id)
    expectProblem(await verb(lead, chief), 403, 'forbidden')
    expect(await stateOf(chief.id)).toEqual(before)
  })

  it.each(BECOMING)('cannot %s of who holds more documents and no power over others either', async (_, verb) => {
    const before = await stateOf(tech.id)
    expectProblem(await verb(lead, tech), 403, 'forbidden')
    expect(await stateOf(tech.id)).toEqual(before)
  })

  it('cannot reset the password of who holds more by statements of their own: each half refuses by itself', async () => {
    const database = await databaseOf(AT)
    const credential = await credentialOf(AT, 'lead')
    const begin = sql`select access.begin_admin_reset(${tech.id})`
    const finish = sql`select access.finish_admin_reset(${database.id}, ${database.system_key}, ${tech.id}, 'x', '{}', false, '\\x02'::bytea, 'x', false)`
    for (const half of [begin, finish])
      expect(await refusalOf(database.app_url, admit(database, credential, 'user:update'), half)).toBe('FH403 forbidden')
  })

  it.each(STANDING)('cannot %s of who holds more by twenty requests at once either', async (_, verb) => {
    const before = await stateOf(chief.id)
    const answers = await Promise.all(Array.from({ length: 20 }, () => verb(lead, chief)))
    expect([...new Set(answers.map(({ status }) => status))]).toEqual([403])
    expect(await stateOf(chief.id)).toEqual(before)
  })

  it('cannot give an administrator back what somebody else took: reactivation', async () => {
    const off = await here.member('off', { roles: ['user', 'chiefs'] })
    expect((await here.ask(`/users/${off.id}/deactivate`, { method: 'POST' })).status).toBe(200)
    expectProblem(await by(lead, `/users/${off.id}/reactivate`), 403, 'forbidden')
    expect((await here.ask(`/users/${off.id}/reactivate`, { method: 'POST' })).status).toBe(200)
  })

  it('cannot revoke the API key of who holds more', async () => {
    const made = await by(chief, '/api-keys', 'POST', { name: 'nightly', permissions: ['document:read'] })
    expectProblem(await by(lead, `/users/${chief.id}/api-keys/${made.body.id}`, 'DELETE'), 403, 'forbidden')
    expect((await here.ask(`/users/${chief.id}/api-keys/${made.body.id}`, { method: 'DELETE' })).status).toBe(204)
  })

  it('cannot end a grant of who holds more', async () => {
    const made = await here.ask(`/users/${chief.id}/overrides`, {
      body: { effect: 'grant', permission: 'kpi:read', scope: 'own' },
    })
    expectProblem(await by(lead, `/users/${chief.id}/overrides/${made.body.id}`, 'DELETE'), 403, 'forbidden')
  })

  it('cannot take anything out of a role that somebody holds who holds more', async () => {
    const asked: [string, string, unknown?][] = [
      [`/roles/${chiefs}/permissions/kpi:read`, 'DELETE'],
      [`/roles/${chiefs}`, 'PATCH', { is_active: false }],
      [`/roles/${chiefs}`, 'PATCH', { name: 'nobodies' }],
      [`/roles/${chiefs}`, 'PATCH', { max_users: 5 }],
      [`/roles/${chiefs}`, 'PATCH', { permissions: grants({ 'kpi:read': 'all' }) }],
    ]
    for (const [path, method, body] of asked) expectProblem(await by(lead, path, method, body), 403, 'forbidden', method)
    expect((await here.ask(`/roles/${chiefs}`)).body).toMatchObject({ is_active: true })
  })

  it('cannot take the parent from a role, nor switch the parent off, when that takes from who holds more', async () => {
    const parent = await here.role('powers', at(['setting:update'], 'all'))
    const heir = await here.role('heir', {}, { parent_id: parent })
    await here.member('heiress', { roles: ['user', 'heir'] })
    for (const [path, body] of [
      [`/roles/${heir}`, { parent_id: null }],
      [`/roles/${parent}`, { is_active: false }],
      [`/roles/${heir}`, { is_active: false }],
    ] as const)
      expectProblem(await by(lead, path, 'PATCH', body), 403, 'forbidden', JSON.stringify(body))
  })

  it('changes a role that nobody holds who holds more, and describes any', async () => {
    const role = await here.role('drivers', { 'equipment:read': 'all' })
    await here.member('driver', { roles: ['user', 'drivers'] })
    expect((await by(lead, `/roles/${role}/permissions/equipment:read`, 'DELETE')).status).toBe(204)
    expect((await by(lead, `/roles/${role}`, 'PATCH', { is_active: false })).status).toBe(200)
    expect((await by(lead, `/roles/${chiefs}`, 'PATCH', { description: 'of everything' })).status).toBe(200)
  })

  it('counts what somebody will hold, holds by an inactive role, or was denied', async () => {
    const later = await here.member('later')
    await here.ask(`/users/${later.id}/roles`, { body: { role_id: chiefs, starts_at: '2090-01-01T00:00:00Z' } })
    const asleep = await here.role('asleep', at(['setting:update'], 'all'), { is_active: false })
    const sleeper = await here.member('sleeper')
    await here.ask(`/users/${sleeper.id}/roles`, { body: { role_id: asleep } })
    const denied = await here.member('denied', { can: at(['setting:update'], 'all') })
    await here.ask(`/users/${denied.id}/overrides`, { body: { effect: 'deny', permission: 'setting:update' } })
    for (const { id } of [later, sleeper, denied]) expectProblem(await by(lead, `/users/${id}/deactivate`), 403, 'forbidden')
  })
})

describe('an API key', () => {
  it('that names less than somebody’s power over others does nothing to them, whatever its owner holds', async () => {
    const made = await by(chief, '/api-keys', 'POST', { name: 'narrow', permissions: ['permission:update', 'user:update'] })
    const key = { token: made.body.key }
    const deny = { effect: 'deny', permission: 'user:update' }
    expectProblem(await by(key, `/users/${here.bo.id}/overrides`, 'POST', deny), 403, 'forbidden')
    expectProblem(await by(key, `/users/${lead.id}/deactivate`), 403, 'forbidden')
    expectProblem(await by(key, `/users/${lead.id}`, 'PATCH', { max_sessions: 1 }), 403, 'forbidden')
  })
})

describe('personnel', () => {
  it.each(STANDING)('may %s of somebody who holds more documents and no power over others', async (_, verb) => {
    const person = await here.member(`tech${crypto.randomUUID().slice(0, 8)}`, { roles: ['user', 'of tech'], unit: team })
    const { status, body } = await verb(lead, person)
    expect(status, JSON.stringify(body)).toBeLessThan(300)
  })

  it('reads and writes themselves as before, with less than everything', async () => {
    expect((await by(lead, `/users/${lead.id}`, 'PATCH', { max_sessions: 9 })).status).toBe(200)
    const other = await tokenOf(here.realm, 'lead')
    expect((await by({ token: other }, '/auth/logout')).status).toBe(204)
  })

  it('mails a link to who holds more, and takes nothing over: the password and the sessions stay', async () => {
    const boss = await here.member('boss', { roles: ['user', 'chiefs'] })
    expectProblem(
      await by(lead, `/users/${boss.id}/reset-password`, 'POST', { link_only: true, new_password: 'Copper-Window-17' }),
      400,
      'invalid_request',
    )
    const answer = await by(lead, `/users/${boss.id}/reset-password`, 'POST', { link_only: true })
    expect([answer.status, answer.body]).toEqual([200, { user_id: boss.id, must_change_password: false }])
    expect((await by(boss, '/auth/me', 'GET')).status).toBe(200)
    expect((await call(AT, '/api/v1/auth/login', { body: { username: 'boss', password: boss.password } })).status).toBe(200)
    expect(await sentTo(here.realm, boss.email)).toEqual(['password_reset_link'])
    const token = await secretOf(here.realm, 'password_reset_link', boss.email)
    const confirmed = await call(AT, '/api/v1/auth/password-reset/confirm', { body: { token, new_password: 'Marble-Kettle-52' } })
    expect(confirmed.status).toBe(204)
  })
})

describe('places', () => {
  const HEAD = at(['user:read', 'user:update', 'session:read', 'session:delete', 'delegation:create'], 'team')
  let heads: string
  let a: string
  let b: string
  let headA: Member
  let headB: Member
  let pla: Member
  let plb: Member

  beforeAll(async () => {
    heads = await here.role('head', HEAD)
    a = await here.unit('A')
    b = await here.unit('B')
    headA = await here.member('head-a', { roles: ['user', 'head'], unit: a })
    headB = await here.member('head-b', { roles: ['user', 'head'], unit: b })
    pla = await here.member('pla', { unit: a })
    plb = await here.member('plb', { unit: b })
  })

  it('count: the head of one team takes over nobody to whom the head of another delegated theirs', async () => {
    const before = await here.member('before', { unit: a })
    expect((await by(headA, `/users/${before.id}/reset-password`, 'POST', {})).status).toBe(200)
    const body = { delegate_id: pla.id, role_id: heads, ends_at: '2090-01-01T00:00:00Z' }
    expect((await by(headB, '/delegations', 'POST', body)).status).toBe(201)
    expectProblem(await by(headA, `/users/${plb.id}`, 'GET'), 404, 'not_found')
    for (const [name, verb] of BECOMING) expectProblem(await verb(headA, pla), 403, 'forbidden', name)
    expectProblem(await by(headA, `/users/${pla.id}/deactivate`), 403, 'forbidden')
    expectProblem(await by(headA, `/users/${pla.id}/sessions`, 'DELETE'), 403, 'forbidden')
    // Who reaches everybody reaches both places.
    expect((await here.ask(`/users/${pla.id}/reset-password`, { body: {} })).status).toBe(200)
  })

  it('count: what is delegated of somebody’s own reaches that person, whom the head of another team does not', async () => {
    const plc = await here.member('plc', { unit: a })
    const owner = await here.member('owner', { can: at(['leave:approve', 'delegation:create'], 'own'), unit: b })
    await here.ask(`/roles/${heads}/permissions`, { body: { permissions: grants({ 'leave:approve': 'team' }) } })
    const body = { delegate_id: plc.id, permissions: ['leave:approve'], ends_at: '2090-01-01T00:00:00Z' }
    expect((await by(owner, '/delegations', 'POST', body)).status).toBe(201)
    expectProblem(await by(headA, `/users/${plc.id}/reset-password`, 'POST', {}), 403, 'forbidden')
    // `own` is no power over others.
    expect((await by(headA, `/users/${plc.id}/sessions`, 'DELETE')).status).toBe(204)
  })

  it('count where somebody is moved to: nobody gets power there that the mover does not have', async () => {
    const mover = await here.member('mover', { can: { ...at(['user:read', 'user:update'], 'all'), ...HEAD_OF_B() }, unit: b })
    const moved = await here.member('moved', { roles: ['user', 'head'], unit: b })
    expectProblem(await by(mover, `/users/${moved.id}`, 'PATCH', { unit_id: a }), 403, 'forbidden')
    const plain = await here.member('plain', { unit: b })
    expect((await by(mover, `/users/${plain.id}`, 'PATCH', { unit_id: a })).status).toBe(200)
  })

  it('count when a role, a permission of a role or an override is handed out', async () => {
    const can = { ...at(['user:read', 'user:update', 'role:read', 'role:update', 'permission:update'], 'all'), ...HEAD_OF_B() }
    const giver = await here.member('giver', { can: { ...can, 'kpi:read': 'team' }, unit: b })
    const readers = await here.role('readers', { 'kpi:read': 'team' })
    expectProblem(await by(giver, `/users/${pla.id}/roles`, 'POST', { role_id: readers }), 403, 'forbidden')
    expect((await by(giver, `/users/${plb.id}/roles`, 'POST', { role_id: readers })).status).toBe(201)
    const grant = { effect: 'grant', permission: 'kpi:read', scope: 'team' }
    expectProblem(await by(giver, `/users/${pla.id}/overrides`, 'POST', grant), 403, 'forbidden')
    expect((await by(giver, `/users/${plb.id}/overrides`, 'POST', grant)).status).toBe(201)
    const held = await here.role('held', {})
    await here.ask(`/users/${pla.id}/roles`, { body: { role_id: held } })
    const more = { permissions: grants({ 'kpi:read': 'team' }) }
    expectProblem(await by(giver, `/roles/${held}/permissions`, 'POST', more), 403, 'forbidden', 'held in A')
    await here.ask(`/users/${pla.id}/roles/${held}`, { method: 'DELETE' })
    expect((await by(giver, `/roles/${held}/permissions`, 'POST', more)).status).toBe(200)
  })
})

describe('a unit', () => {
  const department = (name: string, parent?: string) => here.unit(name, parent, 'department')
  const head = (name: string, unit: string) => here.member(name, { can: at(['user:read', 'user:update'], 'department'), unit })
  const move = (who: { token: string }, unit: string, parent_id: string | null) =>
    by(who, `/units/${unit}`, 'PATCH', { parent_id })
  const refused = async (answer: Promise<Answer>, what: string) => expectProblem(await answer, 403, 'forbidden', what)
  let planner: Member

  beforeAll(async () => {
    planner = await here.member('planner', { can: at(['unit:read', 'unit:update'], 'all') })
  })

  it('is not moved out of a department, nor into one, whose head has power that the mover lacks', async () => {
    const [north, south] = [await department('north'), await department('south')]
    const crew = await here.unit('crew', north)
    await head('head-north', north)
    await refused(move(planner, crew, south), 'out')
    expect((await move(chief, crew, south)).status).toBe(200)
    await refused(move(planner, crew, north), 'in')
    // Nobody heads the south.
    expect((await move(planner, crew, null)).status).toBe(200)
  })

  it('counts for the heads of all departments above, and not for those beside or below', async () => {
    const outer = await department('outer')
    const inner = await department('inner', outer)
    const [deep, flat] = [await here.unit('deep', inner), await here.unit('flat', outer)]
    const puppet = await head('puppet', outer)
    await refused(move(planner, deep, null), 'a team out of both')
    await refused(move(planner, inner, null), 'the inner department out of the outer one')
    const foreign = await department('foreign')
    await refused(move(planner, foreign, outer), 'a foreign department into the outer one')
    const other = await department('other')
    await head('head-inner', inner)
    await here.realm.asOwner(sql`update freehold.users set unit_id = null where id = ${puppet.id}`)
    expect((await move(planner, flat, other)).status, 'from beside the inner department').toBe(200)
    expect((await move(planner, inner, other)).status, 'the inner department, whose head keeps it').toBe(200)
  })

  it('takes with it the power of those in it: turned into a department, or moved under another', async () => {
    const [east, west] = [await department('east'), await department('west')]
    const group = await here.unit('group', east)
    await head('deputy-east', group)
    await refused(move(planner, group, west), 'to another department')
    await refused(by(planner, `/units/${group}`, 'PATCH', { kind: 'department' }), 'a department of its own')
    const sibling = await here.unit('sibling', east)
    expect((await move(planner, group, sibling)).status, 'within the same department').toBe(200)
  })
})

const HEAD_OF_B = () => at(['session:read', 'session:delete', 'delegation:create'], 'team')

describe('what was delegated', () => {
  const until = '2090-01-01T00:00:00Z'
  const delegate = async (from: Member, to: Member, permissions: string[]) =>
    expect((await by(from, '/delegations', 'POST', { delegate_id: to.id, permissions, ends_at: until })).status).toBe(201)
  const lent = async (name: string) => {
    const lender = await here.member(`lender-${name}`, {
      can: { 'kpi:approve': 'all', 'setting:update': 'all', 'delegation:create': 'own' },
    })
    const borrower = await here.member(`borrower-${name}`)
    await delegate(lender, borrower, ['kpi:approve', 'setting:update'])
    return { lender, borrower }
  }
  const both = async ({ id }: Member, when: string) => {
    expectProblem(await by(lead, `/users/${id}/reset-password`, 'POST', {}), 403, 'forbidden', when)
    expectProblem(await by(lead, `/users/${id}/deactivate`), 403, 'forbidden', when)
  }

  it('counts while the delegator is denied it', async () => {
    const { lender, borrower } = await lent('denied')
    for (const permission of ['kpi:approve', 'setting:update'])
      await here.ask(`/users/${lender.id}/overrides`, { body: { effect: 'deny', permission } })
    await both(borrower, 'denied')
  })

  it('counts while the role of the delegator is inactive', async () => {
    const { borrower } = await lent('inactive')
    const role = await here.roleId('of lender-inactive')
    expect((await here.ask(`/roles/${role}`, { method: 'PATCH', body: { is_active: false } })).status).toBe(200)
    await both(borrower, 'inactive')
  })

  it('counts when the delegator gets it again later', async () => {
    const { lender, borrower } = await lent('later')
    const role = await here.roleId('of lender-later')
    expect((await here.ask(`/users/${lender.id}/roles/${role}`, { method: 'DELETE' })).status).toBe(204)
    await here.ask(`/users/${lender.id}/roles`, { body: { role_id: role, starts_at: '2089-01-01T00:00:00Z' } })
    await both(borrower, 'later')
  })
})

describe('a delegation', () => {
  it('does not let its delegate keep the delegator from ending it', async () => {
    const boss = await here.member('lending-chief', { roles: ['chiefs', 'user'] })
    const deputy = await here.member('borrowing-deputy')
    const body = { delegate_id: deputy.id, role_id: chiefs, ends_at: '2090-01-01T00:00:00Z' }
    const made = await by(boss, '/delegations', 'POST', body)
    const deny = { effect: 'deny', permission: 'delegation:update' }
    expectProblem(await by(deputy, `/users/${boss.id}/overrides`, 'POST', deny), 403, 'forbidden')
    expectProblem(await by(deputy, `/users/${boss.id}/deactivate`), 403, 'forbidden')
    expect((await by(boss, `/delegations/${made.body.id}/revoke`)).status).toBe(200)
  })

  it('of who holds more, or to them, is revoked by its delegator and by nobody who holds less', async () => {
    const clerk = await here.member('clerk', { can: at(['user:read', 'delegation:read', 'delegation:update'], 'all') })
    const friend = await here.member('friend')
    const body = { delegate_id: friend.id, role_id: chiefs, ends_at: '2090-01-01T00:00:00Z' }
    const made = await by(chief, '/delegations', 'POST', body)
    expect(made.status).toBe(201)
    expectProblem(await by(clerk, `/delegations/${made.body.id}/revoke`), 403, 'forbidden')
    expect((await by(chief, `/delegations/${made.body.id}/revoke`)).status).toBe(200)
  })

  it('gives its delegate the delegator’s power over others for its time, and no account of anybody', async () => {
    const deputy = await here.member('deputy')
    const body = { delegate_id: deputy.id, role_id: chiefs, ends_at: '2090-01-01T00:00:00Z' }
    expect((await by(chief, '/delegations', 'POST', body)).status).toBe(201)
    const other = await here.member('other-lead', { roles: ['user', 'of lead'] })
    expectProblem(await by(deputy, `/users/${other.id}/reset-password`, 'POST', {}), 403, 'forbidden')
    expect((await by(deputy, `/users/${other.id}/deactivate`)).status).toBe(200)
  })
})
