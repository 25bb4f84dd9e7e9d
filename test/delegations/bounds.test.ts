/**
 * Threat: a delegate is not asked. Somebody delegates to them so often, or so many people do, that deciding about them takes seconds
 * and they are shut out.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { expectProblem } from '../support/refusal.ts'

let here: Cast
let ann: Member
let ben: Member
let role_id: string

const SELF = { 'delegation:create': 'own', 'delegation:update': 'own' }
const CAN = { ...SELF, 'kpi:read': 'own', 'kpi:create': 'own', 'kpi:update': 'own' }
const day = (n: number) => `2999-01-${String(n).padStart(2, '0')}T00:00:00Z`
const ALREADY = /^You have delegated (this role|\S+) to this user for some of this time already: revoke that delegation first\.$/

beforeAll(async () => {
  here = await cast('bounded')
  role_id = await here.role('lender', CAN)
  ann = await here.member('ann', { roles: ['user', 'lender'] })
  ben = await here.member('ben')
})

const lend = (from: Member, body: Record<string, unknown>) =>
  here.ask('/delegations', { token: from.token, body: { ends_at: day(9), ...body } })
const act = (verb: string, id: string, token?: string) => here.ask(`/delegations/${id}/${verb}`, { method: 'POST', token })
const settings = (body: Record<string, unknown>) => here.ask('/settings', { method: 'PATCH', body })
const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status).sort()

describe('one delegation at a time', () => {
  it('of a role: a second that overlaps is refused, one before or after it, of another or to another is not', async () => {
    const made = await lend(ann, { delegate_id: ben.id, role_id, starts_at: day(3), ends_at: day(6) })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    for (const [starts_at, ends_at] of [
      [day(3), day(6)],
      [day(1), day(4)],
      [day(5), day(9)],
      [day(4), day(5)],
      [day(1), day(9)],
    ]) {
      const answer = await lend(ann, { delegate_id: ben.id, role_id, starts_at, ends_at })
      expectProblem(answer, 409, 'already_exists', `${starts_at} ${ends_at}`)
      expect(answer.body.detail).toMatch(ALREADY)
    }
    const others = [
      await lend(ann, { delegate_id: ben.id, role_id, starts_at: day(1), ends_at: day(3) }),
      await lend(ann, { delegate_id: ben.id, role_id, starts_at: day(6), ends_at: day(9) }),
      await lend(ann, { delegate_id: ben.id, permissions: ['kpi:read'], starts_at: day(3), ends_at: day(6) }),
      await lend(ann, { delegate_id: here.bo.id, role_id, starts_at: day(3), ends_at: day(6) }),
      await lend(await here.member('ada', { roles: ['user', 'lender'] }), { delegate_id: ben.id, role_id, starts_at: day(3) }),
    ]
    expect(statuses(others)).toEqual([201, 201, 201, 201, 201])
    await act('revoke', made.body.id, ann.token)
    expect((await lend(ann, { delegate_id: ben.id, role_id, starts_at: day(3), ends_at: day(6) })).status).toBe(201)
  })

  it('of a permission: a second that shares one of several is refused, and leaves nothing', async () => {
    const cal = await here.member('cal', { roles: ['user', 'lender'] })
    expect((await lend(cal, { delegate_id: ben.id, permissions: ['kpi:read', 'kpi:create'] })).status).toBe(201)
    const shared = await lend(cal, { delegate_id: ben.id, permissions: ['kpi:update', 'kpi:create'] })
    expectProblem(shared, 409, 'already_exists')
    expect(shared.body.detail).toMatch(ALREADY)
    expect((await lend(cal, { delegate_id: ben.id, permissions: ['kpi:update'] })).status).toBe(201)
    const [left] = await here.realm.asOwner(
      sql`select count(*)::integer as n from freehold.delegations where delegator_id = ${cal.id}`,
    )
    expect(left?.n).toBe(2)
  })

  it('one that waits for its approval counts, one that was rejected does not', async () => {
    const dee = await here.member('dee', { roles: ['user', 'lender'] })
    await settings({ delegation_approval: true })
    const waiting = await lend(dee, { delegate_id: ben.id, role_id })
    expect(waiting.body.state).toBe('pending')
    expectProblem(await lend(dee, { delegate_id: ben.id, role_id }), 409, 'already_exists')
    expect((await act('reject', waiting.body.id)).status).toBe(200)
    expect((await lend(dee, { delegate_id: ben.id, role_id })).status).toBe(201)
    await settings({ delegation_approval: false })
  })

  it.each([
    ['a role', () => ({ role_id })],
    ['permissions', () => ({ permissions: ['kpi:read', 'kpi:create'] })],
  ])('of twenty that delegate %s at once, one is made', async (what, wanted) => {
    const eli = await here.member(`eli-${what.slice(-4)}`, { roles: ['user', 'lender'] })
    const answers = await Promise.all(Array.from({ length: 20 }, () => lend(eli, { delegate_id: ben.id, ...wanted() })))
    expect(statuses(answers)).toEqual([201, ...Array(19).fill(409)])
    for (const { body } of answers) if (body.code) expect(body.code).toBe('already_exists')
  })

  it('two who delegate to each other, at once and often, both do', async () => {
    const [flo, gus] = [
      await here.member('flo', { roles: ['user', 'lender'] }),
      await here.member('gus', { roles: ['user', 'lender'] }),
    ]
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        i % 2 ? lend(flo, { delegate_id: gus.id, role_id }) : lend(gus, { delegate_id: flo.id, role_id }),
      ),
    )
    expect(statuses(answers)).toEqual([201, 201, ...Array(18).fill(409)])
  })
})

describe('as many as the tenant’s settings say', () => {
  it('fifty, unless the tenant says otherwise', async () => {
    expect((await here.ask('/settings')).body.max_delegations).toBe(50)
    for (const max_delegations of [0, 201, 1.5, '9'])
      expectProblem(await settings({ max_delegations }), 400, 'invalid_request', String(max_delegations))
  })

  it('one more is refused, also at once with others, until one is revoked', async () => {
    await settings({ max_delegations: 3 })
    const hal = await here.member('hal', { roles: ['user', 'lender'] })
    const others = await Promise.all(Array.from({ length: 20 }, (_, i) => here.member(`other-${i}`)))
    const answers = await Promise.all(others.map(({ id }) => lend(hal, { delegate_id: id, role_id })))
    expect(statuses(answers)).toEqual([201, 201, 201, ...Array(17).fill(409)])
    const full = await lend(hal, { delegate_id: ben.id, permissions: ['kpi:read'] })
    expectProblem(full, 409, 'limit_reached')
    expect(full.body.detail).toBe('A user can have at most 3 delegations that have not ended: revoke one first.')
    await act('revoke', answers.find(({ status }) => status === 201)?.body.id, hal.token)
    expect((await lend(hal, { delegate_id: ben.id, permissions: ['kpi:read'] })).status).toBe(201)
    await settings({ max_delegations: 50 })
  })
})

/** People who hold the role and delegate it to somebody, without the rules of a delegation where `often` says so. */
const crowd = (to: string, people: number, often = 1) =>
  here.realm.asOwner(
    sql`alter table freehold.delegations disable trigger before_delegation`,
    sql`insert into freehold.users (id, username, email)
        select gen_random_uuid(), ${`of-${to}-`} || n, ${`of-${to}-`} || n || '@people.test' from generate_series(1, ${people}::integer) n`,
    sql`insert into freehold.user_roles (id, user_id, role_id)
        select gen_random_uuid(), u.id, ${role_id} from freehold.users u where u.username like ${`of-${to}-%`}`,
    sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at, decision, decided_at)
        select gen_random_uuid(), u.id, ${to}, ${role_id}, now(), now() + interval '1 day', 'approved', now()
        from freehold.users u, generate_series(1, ${often}::integer) where u.username like ${`of-${to}-%`}`,
    sql`alter table freehold.delegations enable trigger before_delegation`,
  )

it('fifty may delegate to one at a time: one more is refused, one of the fifty is not', async () => {
  const ivy = await here.member('ivy')
  await crowd(ivy.id, 49)
  const [jan, kit] = [
    await here.member('jan', { roles: ['user', 'lender'] }),
    await here.member('kit', { roles: ['user', 'lender'] }),
  ]
  const both = await Promise.all([jan, kit].map((who) => lend(who, { delegate_id: ivy.id, role_id })))
  expect(statuses(both)).toEqual([201, 409])
  const [in_time, late] = both[0]?.status === 201 ? [jan, kit] : [kit, jan]
  const full = await lend(late, { delegate_id: ivy.id, permissions: ['kpi:read'] })
  expectProblem(full, 409, 'limit_reached')
  expect(full.body.detail).toBe('At most 50 users can delegate to one user at a time: delegate to another user.')
  expect((await lend(in_time, { delegate_id: ivy.id, permissions: ['kpi:read'] })).status).toBe(201)
})

describe('what was delegated a thousand times before there was a bound', () => {
  let lou: Member
  beforeAll(async () => {
    lou = await here.member('lou')
    await crowd(lou.id, 2, 1_000)
  })

  it('is decided over each delegator and role once, by every function that decides', async () => {
    const [row] = await here.realm.asOwner(
      sql`select cardinality(access.reasons(${lou.id}, 'kpi:read', now())) as reasons,
          (select count(*)::integer from access.user_grants(${lou.id}, now()) g where g.permission = 'kpi:read') as grants,
          (select count(*)::integer from access.user_held_roles(${lou.id}, now()) h where h.kind = 'delegation') as roles,
          'kpi:read' = any (access.permissions_of(${lou.id}, now())) as named`,
    )
    expect(row).toEqual({ reasons: 2, grants: 2, roles: 2, named: true })
  })

  it('of several, the oldest counts; when it is revoked the next does', async () => {
    const reason = async () =>
      (
        await here.realm.asOwner(
          sql`select r.id from unnest(access.reasons(${lou.id}, 'kpi:read', now())) r order by r.name limit 1`,
        )
      )[0]?.id
    const first = await reason()
    expect((await act('revoke', first)).status).toBe(200)
    const next = await reason()
    expect(next).toEqual(expect.any(String))
    expect(next).not.toBe(first)
  })
})

it('a check and an explanation list at most fifty reasons, and the check lists the same by itself as among others', async () => {
  const mia = await here.member('mia', { can: { 'user:read': 'own' } })
  await crowd(mia.id, 60)
  const checks = (n: number) =>
    here.ask('/authz/check', { token: mia.token, body: { checks: Array(n).fill({ permission: 'kpi:read' }) } })
  const [alone, among] = [await checks(1), await checks(4)]
  expect(alone.body.results[0].because).toHaveLength(50)
  expect(among.body.results[0]).toEqual(alone.body.results[0])
  const told = await here.ask(`/users/${mia.id}/permissions`, { token: mia.token })
  const kpi = told.body.permissions.find(({ permission }: { permission: string }) => permission === 'kpi:read')
  expect([kpi.scope, kpi.because.length]).toEqual(['own', 50])
})
