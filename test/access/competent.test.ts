/**
 * Threat: who is not competent, or no longer, does what demands a competency: by their role, one that it inherits from, a delegation, a
 * token or a key; and an answer about a past moment that says otherwise than was decided then.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'

const AT = 'competent'
const TYPE = '0192f3d0-0000-7000-8000-0000000000c1'
const METHOD = 'unit:read'
/** What the same role carries without a demand. */
const REST = ['delegation:create', 'role:read']
let here: Cast
let role: string
let verifier: Member

type Record = { level?: number; issued?: string; expires?: string | null; verified?: string | null; revoked?: string | null }

/** Gives somebody a record of the type; times are intervals from now. */
const certify = async (
  who: { id: string },
  { level = 3, issued = '-1 day', expires = null, verified = '-1 hour', revoked = null }: Record = {},
) => {
  const at = (time: string | null) => (time === null ? sql`null::timestamptz` : sql`now() + ${time}::interval`)
  await here.realm.asOwner(sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, verified_at, verified_by, revoked_at)
    values (gen_random_uuid(), ${who.id}, ${TYPE}, ${level}, ${at(issued)}, ${at(expires)}, ${at(verified)}, ${verified === null ? null : verifier.id}, ${at(revoked)})`)
}
const tester = async (name: string) => here.member(name, { roles: ['tester'] })
const may = async (who: Member) => (await here.ask('/units', { token: who.token })).status
const checked = async (who: Member, about?: string) =>
  (
    await here.ask('/authz/check', {
      token: who.token,
      body: { checks: [{ permission: METHOD, ...(about && { user_id: about }) }] },
    })
  ).body.results[0]
const held = async (who: { id: string }, at?: string) =>
  (await here.ask(`/users/${who.id}/permissions${at ? `?at=${encodeURIComponent(at)}` : ''}`)).body
const demand = { permission: METHOD, scope: 'all', requires_competency: { type_id: TYPE, level: 3 } }
const lacking = { kind: 'competency', effect: 'deny', id: TYPE, name: METHOD, via: 'HPLC', level: 3 }

beforeAll(async () => {
  here = await cast(AT)
  await here.realm.asOwner(
    sql`insert into freehold.competency_types (id, name, kind) values (${TYPE}, 'HPLC', 'test_method')`,
    sql`insert into freehold.competency_types (id, name, kind, retired_at) values ('0192f3d0-0000-7000-8000-0000000000c2', 'Old', 'test_method', now())`,
  )
  const made = await here.ask('/roles', {
    body: {
      name: 'tester',
      permissions: [demand, { permission: 'role:read', scope: 'all' }, { permission: 'delegation:create', scope: 'own' }],
    },
  })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  role = made.body.id
  expect(made.body.permissions).toEqual([
    { permission: 'delegation:create', scope: 'own' },
    { permission: 'role:read', scope: 'all' },
    demand,
  ])
  verifier = await here.member('verity')
})

describe('a permission that demands a competency', () => {
  it.each<[string, Record | null, number]>([
    ['without a record', null, 403],
    ['with one at the level', { level: 3 }, 200],
    ['above it', { level: 5, expires: '1 hour' }, 200],
    ['below it', { level: 2 }, 403],
    ['that nobody has verified', { verified: null }, 403],
    ['that has expired', { expires: '-1 second' }, 403],
    ['that begins tomorrow', { issued: '1 day', expires: '2 days' }, 403],
    ['that was revoked', { revoked: '-1 second' }, 403],
  ])('%s', async (name, record, status) => {
    const who = await tester(`one-${name.replaceAll(' ', '-')}`)
    if (record) await certify(who, record)
    const answer = await here.ask('/units', { token: who.token })
    expect(answer.status).toBe(status)
    const { allowed, because } = await checked(who)
    expect([allowed, because[0].kind]).toEqual(status === 200 ? [true, 'role'] : [false, 'competency'])
    if (status === 200) return
    expectProblem(answer, 403, 'forbidden')
    expect(answer.body.detail).toBe('This needs the competency HPLC at level 3, verified and not expired.')
    expect(because).toEqual([lacking])
    // What the same role carries without a demand is held.
    expect((await here.ask('/roles', { token: who.token })).status).toBe(200)
  })

  it('is in no token of who lacks it, and in that of who has it', async () => {
    const who = await tester('token-holder')
    const carried = async () => {
      const body = { username: who.username, password: who.password }
      const { access_token } = (await call(AT, '/api/v1/auth/login', { body })).body
      return JSON.parse(atob(access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).permissions
    }
    expect(await carried()).toEqual(REST)
    await certify(who)
    expect(await carried()).toEqual([...REST, METHOD])
  })

  it('ends with the competency, on the next request', async () => {
    const who = await tester('ends')
    await certify(who)
    expect(await may(who)).toBe(200)
    await here.realm.asOwner(sql`update freehold.competencies set revoked_at = now() where user_id = ${who.id}`)
    expect(await may(who)).toBe(403)
  })

  it('is told of a past moment as it was decided then, with its reason', async () => {
    const who = await tester('past')
    await certify(who, { issued: '-10 days', verified: '-1 day', expires: '-1 hour' })
    const minutesAgo = (time: number) => new Date(Date.now() - time * 60_000).toISOString()
    await here.realm.asOwner(
      sql`update freehold.user_periods set starts_at = starts_at - interval '3 days' where user_id = ${who.id}`,
      sql`update freehold.user_roles set starts_at = starts_at - interval '3 days' where user_id = ${who.id}`,
      sql`update freehold.role_periods set starts_at = starts_at - interval '3 days' where role_id = ${role} and ends_at is null`,
      sql`update freehold.role_permissions set starts_at = starts_at - interval '3 days' where role_id = ${role} and ends_at is null`,
    )
    const named = (list: { permission: string }[]) => list.map(({ permission }) => permission)
    const now = await held(who)
    expect([named(now.permissions), now.denials]).toEqual([REST, [{ permission: METHOD, because: [lacking] }]])
    const then = await held(who, minutesAgo(120))
    expect([named(then.permissions), then.denials]).toEqual([[...REST, METHOD], []])
    // Issued, and not verified yet.
    const earlier = await held(who, minutesAgo(60 * 36))
    expect([named(earlier.permissions), named(earlier.denials)]).toEqual([REST, [METHOD]])
    const answered = async (at: string) =>
      (await here.ask('/authz/check', { body: { checks: [{ permission: METHOD, user_id: who.id }], at } })).body.results[0]
    expect(await answered(minutesAgo(120))).toMatchObject({ allowed: true, scope: 'all', because: [{ kind: 'role' }] })
    expect(await answered(minutesAgo(60 * 36))).toEqual({ allowed: false, scope: null, because: [lacking] })
    const [first] = (
      await here.ask(`/permissions/${METHOD}/holders?at=${encodeURIComponent(minutesAgo(120))}&limit=100`)
    ).body.data.filter(({ user_id }: { user_id: string }) => user_id === who.id)
    expect(first?.scope).toBe('all')
  })

  it('demands it through a role that inherits, too', async () => {
    const child = await here.ask('/roles', { body: { name: 'trainee', parent_id: role } })
    expect(child.status).toBe(201)
    expect((await here.ask(`/roles/${child.body.id}`)).body.inherited).toContainEqual({ ...demand, from: 'tester' })
    const who = await here.member('inherits', { roles: ['trainee'] })
    expect([await may(who), (await checked(who)).because]).toEqual([403, [lacking]])
    await certify(who)
    expect([await may(who), (await checked(who)).because[0].kind]).toEqual([200, 'inherited'])
  })

  it('demands it of the delegator and of whoever acts for them', async () => {
    const [from, to] = [await tester('delegator'), await here.member('delegate')]
    await certify(from)
    const delegate = async (what: object) => {
      const body = {
        delegate_id: to.id,
        starts_at: new Date().toISOString(),
        ends_at: new Date(Date.now() + 3_600_000).toISOString(),
        ...what,
      }
      return here.ask('/delegations', { token: from.token, body: { reason: 'leave', ...body } })
    }
    const made = await delegate({ role_id: role })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect([await may(to), (await checked(to)).because]).toEqual([403, [lacking]])
    const acting = async () =>
      (await here.ask(`/delegations/substitute?user_id=${from.id}&permission=${METHOD}`)).body.acting_user_id
    expect(await acting()).toBe(from.id)
    await certify(to)
    expect([await may(to), (await checked(to)).because[0].kind, await acting()]).toEqual([200, 'delegation', to.id])
    await here.realm.asOwner(sql`update freehold.competencies set revoked_at = now() where user_id = ${from.id}`)
    expect(await may(to)).toBe(403)
  })

  it('demands it of who was delegated that permission by name', async () => {
    const [from, to] = [await tester('names-one'), await here.member('named-one')]
    await certify(from)
    const span = { starts_at: new Date().toISOString(), ends_at: new Date(Date.now() + 3_600_000).toISOString() }
    const body = { delegate_id: to.id, permissions: [METHOD], reason: 'leave', ...span }
    expect((await here.ask('/delegations', { token: from.token, body })).status).toBe(201)
    expect(await may(to)).toBe(403)
    await certify(to)
    expect(await may(to)).toBe(200)
  })

  it('is not asked of an administrator, nor of who was granted it by an override', async () => {
    expect((await here.ask('/units')).status).toBe(200)
    const who = await tester('excepted')
    const granted = { permission: METHOD, scope: 'all', effect: 'grant' }
    expect((await here.ask(`/users/${who.id}/overrides`, { body: granted })).status).toBe(201)
    expect(await may(who)).toBe(200)
  })

  it('does not count for an API key of who lacks it', async () => {
    const who = await here.member('keyed', { can: { 'api_key:create': 'own' }, roles: ['tester'] })
    await certify(who)
    const made = await here.ask('/api-keys', { token: who.token, body: { name: 'robot', permissions: [METHOD] } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    const use = async () => (await here.ask('/units', { token: made.body.key })).status
    expect(await use()).toBe(200)
    await here.realm.asOwner(sql`update freehold.competencies set expires_at = now() where user_id = ${who.id}`)
    expect(await use()).toBe(403)
  })
})

describe('the demand of a role', () => {
  const permissionsOf = async (id: string) => (await here.ask(`/roles/${id}`)).body.permissions

  it('is set, raised and taken away, each as a new grant; what stays the same keeps its row', async () => {
    const id = await here.role('changing', { [METHOD]: 'all' })
    const rows = async () =>
      (await here.realm.asOwner(sql`select id from freehold.role_permissions where role_id = ${id} order by starts_at, ends_at`))
        .length
    const set = async (requires_competency?: object | null) => {
      const answer = await here.ask(`/roles/${id}/permissions`, { body: { permissions: [{ ...demand, requires_competency }] } })
      expect(answer.status, JSON.stringify(answer.body)).toBe(200)
      return [answer.body.permissions[0].requires_competency, await rows()]
    }
    expect(await set({ type_id: TYPE, level: 2 })).toEqual([{ type_id: TYPE, level: 2 }, 2])
    expect(await set({ type_id: TYPE, level: 2 })).toEqual([{ type_id: TYPE, level: 2 }, 2])
    expect(await set({ type_id: TYPE, level: 4 })).toEqual([{ type_id: TYPE, level: 4 }, 3])
    expect(await set(null)).toEqual([undefined, 4])
    expect(await permissionsOf(id)).toEqual([{ permission: METHOD, scope: 'all' }])
  })

  it('cannot be given, nor taken away, by who lacks the competency and holds the permission by this role alone', async () => {
    const who = await here.member('chief', { can: { 'role:update': 'all', 'role:read': 'all' }, roles: ['tester'] })
    const lift = () =>
      here.ask(`/roles/${role}/permissions`, { token: who.token, body: { permissions: [{ permission: METHOD, scope: 'all' }] } })
    expectProblem(await lift(), 403, 'forbidden')
    expect(await permissionsOf(role)).toContainEqual(demand)
  })

  it.each<[string, unknown, string]>([
    ['no type', { level: 3 }, '#/permissions/0/requires_competency/type_id'],
    ['no level', { type_id: TYPE }, '#/permissions/0/requires_competency/level'],
    ['level 0', { type_id: TYPE, level: 0 }, '#/permissions/0/requires_competency/level'],
    ['level 6', { type_id: TYPE, level: 6 }, '#/permissions/0/requires_competency/level'],
    ['half a level', { type_id: TYPE, level: 2.5 }, '#/permissions/0/requires_competency/level'],
    ['an unknown field', { type_id: TYPE, level: 3, until: 1 }, '#/permissions/0/requires_competency/until'],
    ['a text', 'HPLC', '#/permissions/0/requires_competency'],
    ['a type that is not there', { type_id: '0192f3d0-0000-7000-8000-0000000000cf', level: 3 }, '#/permissions'],
    ['one that was retired', { type_id: '0192f3d0-0000-7000-8000-0000000000c2', level: 3 }, '#/permissions'],
  ])('with %s is refused, and says where', async (name, requires_competency, pointer) => {
    const body = {
      name: `bad-${name.replaceAll(' ', '-')}`,
      permissions: [{ permission: METHOD, scope: 'all', requires_competency }],
    }
    const answer = await here.ask('/roles', { body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})
