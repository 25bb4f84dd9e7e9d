/**
 * Roles within one organization. Threat: who manages one organization sees, touches, takes in or gives something to somebody
 * outside it.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addRole, addUnit } from '../users/cast.ts'

const AT = 'orgs-within'
const MANAGES = [
  ...['user:create', 'user:read', 'user:update', 'user:delete', 'role:read', 'role:update', 'session:read', 'session:delete'],
  ...[
    'organization:read',
    'organization:update',
    'unit:read',
    'unit:create',
    'unit:update',
    'activity:read',
    'delegation:create',
  ],
  ...['setting:read', 'setting:update', 'organization:create', 'permission:read', 'permission:update'],
]
let realm: Inside
let token: string
/** Manages the organization `A` by a role that they hold within it. */
let boss: string
const org = {} as Record<'A' | 'B', { id: string; unit_id: string }>
const who: Record<string, Person> = {}
const roleId = async (name: string) => (await realm.asOwner(sql`select id from freehold.roles where name = ${name}`))[0]?.id
const api = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1${path}`, { token: as, ...ask })
const assign = (user: string | undefined, role_id: string, more: object = {}, as = token) =>
  api(`/users/${user}/roles`, { body: { role_id, ...more } }, as)
const join = (o: 'A' | 'B', person: string | undefined) => api(`/organizations/${org[o].id}/members/${person}`, { method: 'PUT' })
const usernames = (answer: any) => answer.body.data.map(({ username }: any) => username).sort()
let team: string
let teamOfB: string

/** A: boss, a1, and a2 in a team of it. B: b1. free is in none. */
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  for (const name of ['A', 'B'] as const) {
    const made = await api('/organizations', { body: { name } })
    org[name] = made.body
  }
  team = await addUnit(realm, 'team', 'Team of A', org.A.unit_id)
  teamOfB = await addUnit(realm, 'team', 'Team of B', org.B.unit_id)
  for (const name of ['boss', 'a1', 'a2', 'b1', 'free']) who[name] = await addPerson(realm, `within-${name}`)
  for (const name of ['boss', 'a1', 'a2']) await join('A', who[name]?.id)
  await join('B', who.b1?.id)
  await api(`/users/${who.a2?.id}`, { method: 'PATCH', body: { unit_id: team } })
  await addRole(realm, 'org-manager', MANAGES, 'all')
  await addRole(realm, 'org-reader', ['user:read'], 'all')
  await addRole(realm, 'org-closed', ['user:read'], 'team')
  await realm.asOwner(sql`update freehold.roles set is_manageable = true where name in ('org-reader', 'org-manager')`)
  const given = await assign(who.boss?.id, await roleId('org-manager'), { organization_id: org.A.id })
  expect(given.status, JSON.stringify(given.body)).toBe(201)
  expect(given.body.organization_id).toBe(org.A.id)
  boss = await tokenOf(realm, 'within-boss')
})

describe('a unit of an organization', () => {
  it('has its users in the organization: who is put into one belongs to it, and who leaves one is in the organization still', async () => {
    const { id } = await addPerson(realm, 'within-unit')
    const patched = async (body: object) => (await api(`/users/${id}`, { method: 'PATCH', body })).body
    expect(await patched({ unit_id: team })).toMatchObject({ unit_id: team, organization_id: org.A.id })
    expect(await patched({ unit_id: null })).toMatchObject({ unit_id: org.A.unit_id, organization_id: org.A.id })
    expect(await patched({ unit_id: teamOfB })).toMatchObject({ unit_id: teamOfB, organization_id: org.B.id })
    await join('A', id)
    expect((await api(`/users/${id}`)).body).toMatchObject({ unit_id: org.A.unit_id, organization_id: org.A.id })
    expect((await api(`/organizations/${org.A.id}/members/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await api(`/users/${id}`)).body).toMatchObject({ unit_id: null, organization_id: null })
  })

  it('takes its units and users along into another organization, and the unit that an organization is stays', async () => {
    const outer = await addUnit(realm, 'department', 'Moving')
    const inner = await addUnit(realm, 'team', 'Moving inner', outer)
    const { id } = await addPerson(realm, 'within-moved')
    await api(`/users/${id}`, { method: 'PATCH', body: { unit_id: inner } })
    const made = await api('/organizations', { body: { name: 'Takes along', unit_ids: [outer] } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect((await api(`/units/${inner}`)).body.organization_id).toBe(made.body.id)
    expect((await api(`/users/${id}`)).body).toMatchObject({ unit_id: inner, organization_id: made.body.id })
    const shown = (await api(`/organizations/${made.body.id}`)).body
    expect([shown.active_users, shown.units.map((unit: any) => unit.name)]).toEqual([1, ['Moving', 'Moving inner']])
    expect((await api(`/units/${outer}`, { method: 'PATCH', body: { parent_id: org.B.unit_id } })).status).toBe(200)
    expect((await api(`/users/${id}`)).body.organization_id).toBe(org.B.id)
    const root = `/units/${org.A.unit_id}`
    for (const body of [{ name: 'X' }, { kind: 'team' }, { parent_id: outer }])
      expectProblem(await api(root, { method: 'PATCH', body }), 409, 'illegal_state')
    expectProblem(await api(root, { method: 'DELETE' }), 409, 'in_use')
    const unknown = await api('/organizations', { body: { name: 'Unknown unit', unit_ids: [crypto.randomUUID()] } })
    expectProblem(unknown, 400, 'invalid_request')
  })

  it('is taken along by who may move units, and not by who may only make organizations', async () => {
    const taken = await addUnit(realm, 'department', 'Not theirs')
    await addRole(realm, 'org-maker', ['organization:create', 'organization:read'], 'all')
    const { username } = await addPerson(realm, 'within-maker', { roles: ['org-maker'] })
    const as = await tokenOf(realm, username)
    expectProblem(await api('/organizations', { body: { name: 'Takes one', unit_ids: [taken] } }, as), 403, 'forbidden')
    expect((await api(`/units/${taken}`)).body.organization_id).toBeNull()
    expect((await api('/organizations', { body: { name: 'Takes none' } }, as)).status).toBe(201)
  })
})

describe('a role within an organization', () => {
  it('reaches its users with all that carries scope all, and says so', async () => {
    const checks = [
      { permission: 'user:update' },
      { permission: 'user:update', resource: { owner_id: who.a2?.id } },
      { permission: 'user:update', resource: { unit_id: team } },
      { permission: 'user:update', resource: { owner_id: who.b1?.id } },
      { permission: 'user:update', resource: { unit_id: org.B.unit_id } },
      { permission: 'user:update', resource: { owner_id: who.free?.id } },
    ]
    const allowed = [true, true, true, false, false, false]
    const together = await api('/authz/check', { body: { checks } }, boss)
    expect(together.body.results.map((result: any) => result.allowed)).toEqual(allowed)
    for (const [n, check] of checks.entries()) {
      const [alone] = (await api('/authz/check', { body: { checks: [check] } }, boss)).body.results
      expect(alone).toEqual(together.body.results[n])
      expect(alone.scope).toBe(allowed[n] ? 'organization' : null)
      const because = allowed[n] ? { kind: 'role', name: 'org-manager' } : { kind: 'out_of_scope' }
      expect(alone.because).toContainEqual(expect.objectContaining(because))
    }
    const held = (await api(`/users/${who.boss?.id}/permissions`)).body.permissions
    expect(held.find((one: any) => one.permission === 'user:update')).toMatchObject({ scope: 'organization' })
  })

  it('sees the users, sessions, units and organizations of its own, and nobody else’s', async () => {
    await tokenOf(realm, 'within-a1')
    await tokenOf(realm, 'within-b1')
    expect(usernames(await api('/users?limit=100', {}, boss))).toEqual(['within-a1', 'within-a2', 'within-boss'])
    expect(usernames(await api(`/organizations/${org.A.id}/members`, {}, boss))).toEqual([
      'within-a1',
      'within-a2',
      'within-boss',
    ])
    const sessions = await api(`/users/${who.a1?.id}/sessions`, {}, boss)
    expect([sessions.status, sessions.body.data.length > 0]).toEqual([200, true])
    expectProblem(await api(`/users/${who.b1?.id}/sessions`, {}, boss), 404, 'not_found')
    expect((await api('/units', {}, boss)).body.data.map((unit: any) => unit.name).sort()).toEqual(['A', 'Team of A'])
    expect((await api('/organizations', {}, boss)).body.data.map((one: any) => one.name)).toEqual(['A'])
    const acted = (await api('/activities?limit=100', {}, boss)).body.data.map((one: any) => one.user_id)
    expect(acted.filter((id: string) => ![who.boss, who.a1, who.a2].some((person) => person?.id === id))).toEqual([])
    for (const outsider of [who.b1, who.free]) {
      expectProblem(await api(`/users/${outsider?.id}`, {}, boss), 404, 'not_found')
      expectProblem(await api(`/users/${outsider?.id}`, { method: 'PATCH', body: { designation: 'X' } }, boss), 404, 'not_found')
    }
    expectProblem(await api(`/organizations/${org.B.id}`, {}, boss), 404, 'not_found')
  })

  it('changes its users and the organization, but not what it has bought; and no setting of the tenant', async () => {
    expect((await api(`/users/${who.a1?.id}`, { method: 'PATCH', body: { designation: 'Chief' } }, boss)).status).toBe(200)
    const renamed = await api(`/organizations/${org.A.id}`, { method: 'PATCH', body: { settings: { x: 1 } } }, boss)
    expect([renamed.status, renamed.body.settings]).toEqual([200, { x: 1 }])
    expectProblem(await api(`/organizations/${org.A.id}`, { method: 'PATCH', body: { user_limit: 9 } }, boss), 403, 'forbidden')
    expectProblem(await api(`/organizations/${org.B.id}`, { method: 'PATCH', body: { name: 'X' } }, boss), 404, 'not_found')
    expectProblem(await api('/organizations', { body: { name: 'Another' } }, boss), 403, 'forbidden')
    expectProblem(await api('/settings', { method: 'PATCH', body: { idle_days: 3 } }, boss), 403, 'forbidden')
  })

  it('takes nobody in from outside, and lets nobody go there', async () => {
    const members = `/organizations/${org.A.id}/members`
    expectProblem(await api(`${members}/${who.b1?.id}`, { method: 'PUT' }, boss), 404, 'not_found')
    expectProblem(await api(`/organizations/${org.B.id}/members/${who.a1?.id}`, { method: 'PUT' }, boss), 404, 'not_found')
    expectProblem(await api(`${members}/${who.a1?.id}`, { method: 'DELETE' }, boss), 403, 'forbidden')
    const move = (unit_id: string | null) => api(`/users/${who.a1?.id}`, { method: 'PATCH', body: { unit_id } }, boss)
    for (const unit of [teamOfB, org.B.unit_id]) expect([400, 403]).toContain((await move(unit)).status)
    expect((await move(team)).body).toMatchObject({ unit_id: team, organization_id: org.A.id })
    expect((await move(null)).body).toMatchObject({ unit_id: org.A.unit_id, organization_id: org.A.id })
    const create = (n: number, body: object) => api('/users', { body: { email: `within-new-${n}@people.test`, ...body } }, boss)
    expect((await create(1, { organization_id: org.A.id })).body).toMatchObject({ organization_id: org.A.id })
    expect([400, 403]).toContain((await create(2, { organization_id: org.B.id })).status)
    expect([400, 403]).toContain((await create(3, {})).status)
    const unit = { kind: 'team', name: 'Outside' }
    expect([400, 403]).toContain((await api('/units', { body: { ...unit, parent_id: org.B.unit_id } }, boss)).status)
    expect((await api('/units', { body: { ...unit, parent_id: org.A.unit_id } }, boss)).status).toBe(201)
  })

  it('gives roles within the organization alone, and takes no others', async () => {
    const reader = await roleId('org-reader')
    const within = { organization_id: org.A.id }
    expectProblem(await assign(who.a1?.id, reader, {}, boss), 403, 'forbidden')
    expectProblem(await assign(who.a1?.id, await roleId('org-closed'), within, boss), 403, 'forbidden')
    expectProblem(await assign(who.b1?.id, reader, { organization_id: org.B.id }, boss), 404, 'not_found')
    expectProblem(await assign(who.a1?.id, reader, { organization_id: org.B.id }, boss), 400, 'invalid_request')
    expectProblem(await assign(who.a1?.id, reader, { organization_id: org.B.id }), 400, 'invalid_request')
    expect((await assign(who.a1?.id, reader, within, boss)).status).toBe(201)
    const a1 = await tokenOf(realm, 'within-a1')
    expect(usernames(await api('/users', {}, a1))).toContain('within-a2')
    expect(usernames(await api('/users', {}, a1))).not.toContain('within-b1')
    expect((await assign(who.a2?.id, reader)).status).toBe(201)
    expectProblem(await api(`/users/${who.a2?.id}/roles/${reader}`, { method: 'DELETE' }, boss), 403, 'forbidden')
    expect((await api(`/users/${who.a1?.id}/roles/${reader}`, { method: 'DELETE' }, boss)).status).toBe(204)
    const grant = { permission: 'user:read', effect: 'grant', scope: 'all' }
    expectProblem(await api(`/users/${who.a2?.id}/overrides`, { body: grant }, boss), 403, 'forbidden')
  })

  it('does not stand over a member who holds power everywhere, and does over one who holds it within', async () => {
    const over = await addPerson(realm, 'within-powerful')
    await join('A', over.id)
    await addRole(realm, 'org-power', ['user:update'], 'all')
    const power = await roleId('org-power')
    await assign(over.id, power, { organization_id: org.A.id })
    const deactivate = (verb: string) => api(`/users/${over.id}/${verb}`, { method: 'POST' }, boss)
    expect((await deactivate('deactivate')).status).toBe(200)
    expect((await deactivate('reactivate')).status).toBe(200)
    await api(`/users/${over.id}/roles/${power}`, { method: 'DELETE' })
    expect((await assign(over.id, power)).status).toBe(201)
    expectProblem(await deactivate('deactivate'), 403, 'forbidden')
    const email = { method: 'PATCH', body: { email: 'within-taken@people.test' } }
    expectProblem(await api(`/users/${over.id}`, email, boss), 403, 'forbidden')
  })

  it('that is the administrator’s administers the organization alone, and is not the tenant’s last administrator', async () => {
    const chief = await addPerson(realm, 'within-chief')
    await join('A', chief.id)
    const admin = await roleId('admin')
    const mine = (await api('/users/me')).body.id
    expect((await assign(chief.id, admin, { organization_id: org.A.id })).status).toBe(201)
    const as = await tokenOf(realm, 'within-chief')
    expect(usernames(await api('/users?limit=100', {}, as))).not.toContain('within-b1')
    expectProblem(await api('/organizations', { body: { name: 'By the chief' } }, as), 403, 'forbidden')
    expectProblem(await api(`/users/${mine}`, {}, as), 404, 'not_found')
    const ended = await realm
      .asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${mine} and role_id = ${admin}`)
      .catch((error: any) => String(error.message ?? error))
    expect(ended).toContain('illegal_state')
  })

  it('is delegated as far as it is held, and no further', async () => {
    const { id } = await addPerson(realm, 'within-substitute')
    const role_id = await roleId('org-manager')
    const soon = { starts_at: new Date().toISOString(), ends_at: new Date(Date.now() + 3_600_000).toISOString() }
    const made = await api('/delegations', { body: { delegate_id: id, role_id, reason: 'leave', ...soon } }, boss)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    const as = await tokenOf(realm, 'within-substitute')
    const seen = usernames(await api('/users?limit=100', {}, as))
    expect(seen).toContain('within-a2')
    expect(seen).not.toContain('within-b1')
    const [result] = (await api('/authz/check', { body: { checks: [{ permission: 'user:delete' }] } }, as)).body.results
    expect(result).toMatchObject({ allowed: true, scope: 'organization', because: [{ kind: 'delegation' }] })
  })

  it('ends when its holder leaves, on the next request; and of a moment before it is still told', async () => {
    const { id } = await addPerson(realm, 'within-leaver')
    await join('A', id)
    await assign(id, await roleId('org-reader'), { organization_id: org.A.id })
    const as = await tokenOf(realm, 'within-leaver')
    expect(usernames(await api('/users', {}, as))).toContain('within-a1')
    const [{ before } = {} as never] = await realm.asOwner(sql`select clock_timestamp() as before`)
    await join('B', id)
    const after = await api('/users', {}, as)
    expect(usernames(after)).toEqual(['within-leaver'])
    const at = new Date(before).toISOString()
    const then = (await api(`/users/${id}/permissions?at=${at}`)).body.permissions
    expect(then.find((one: any) => one.permission === 'user:read' && one.scope === 'organization')).toBeTruthy()
    const now = (await api(`/users/${id}/permissions`)).body.permissions
    expect(now.filter((one: any) => one.scope === 'organization')).toEqual([])
  })

  it('reaches rows of a protected table by their owner, or by their unit, and no others', async () => {
    await realm.asOwner(
      sql`create table freehold.notes_within (id integer primary key, owner_id uuid, unit_id uuid)`,
      sql`call access.protect('freehold.notes_within', 'user', owner => 'owner_id', unit => 'unit_id')`,
      sql`insert into freehold.notes_within values (1, ${who.a1?.id}, null), (2, null, ${team}), (3, ${who.b1?.id}, null), (4, null, ${teamOfB}), (5, ${who.free?.id}, null)`,
    )
    const tenant = await databaseOf(AT)
    const [credential] = await realm.asOwner(
      sql`select s.id as session_id, s.user_id, access.session_proof(s.id) as proof from freehold.sessions s
        where s.user_id = ${who.boss?.id} and s.ended_at is null limit 1`,
    )
    const rows = await tenant.asApp(
      sql`select access.admit(${realm.id}, ${JSON.stringify(credential)}::jsonb, 'user:read', '{"method":"GET"}')`,
      sql`select id from freehold.notes_within order by id`,
    )
    expect(rows.map(({ id }) => id)).toEqual([1, 2])
    await realm.asOwner(sql`drop table freehold.notes_within`)
  })
})
