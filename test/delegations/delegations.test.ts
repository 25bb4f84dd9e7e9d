import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { databaseOf } from '../support/databases.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit } from '../support/sessions.ts'

let here: Cast
let cy: Member
let dee: Member
let eve: Member
let nemo: Member

/** What whoever delegates for themselves holds. */
const SELF = { 'delegation:create': 'own', 'delegation:read': 'own', 'delegation:update': 'own' }
const FOREVER = '2999-01-01T00:00:00Z'

beforeAll(async () => {
  here = await cast('delegated')
  await here.role('lender', { ...SELF, 'role:read': 'all', 'permission:read': 'team' })
  cy = await here.member('cy', { roles: ['user', 'lender'] })
  dee = await here.member('dee')
  eve = await here.member('eve', { can: { ...SELF, 'delegation:approve': 'all' } })
  nemo = await here.member('nemo')
})

const lend = (from: Member, body: Record<string, unknown>) =>
  here.ask('/delegations', { token: from.token, body: { ends_at: FOREVER, ...body } })
const act = (verb: string, id: string, who?: Member) =>
  here.ask(`/delegations/${id}/${verb}`, { method: 'POST', token: who?.token })
const roles = async (who: Member) => (await here.ask('/roles', { token: who.token })).status
const approval = (wanted: boolean) => here.realm.asOwner(sql`update freehold.tenant set delegation_approval = ${wanted}`)

describe('a delegation', () => {
  it('of a permission is felt by the next request, and so is that it was revoked', async () => {
    expect(await roles(dee)).toBe(403)
    const lent = await lend(cy, { delegate_id: dee.id, permissions: ['role:read', 'role:read'], reason: 'Away' })
    expect(lent.status, JSON.stringify(lent.body)).toBe(201)
    expect(lent.headers.get('Location')).toBe(`/api/v1/delegations/${lent.body.id}`)
    const moment = expect.stringMatching(/\.\d{6}Z$/)
    expect(lent.body).toEqual({
      id: expect.any(String),
      delegator_id: cy.id,
      delegate_id: dee.id,
      role_id: null,
      permissions: ['role:read'],
      starts_at: moment,
      ends_at: '2999-01-01T00:00:00.000000Z',
      reason: 'Away',
      state: 'active',
      decided_by: null,
      decided_at: moment,
      revoked_at: null,
      created_at: moment,
    })
    expect(await roles(dee)).toBe(200)
    const revoked = await act('revoke', lent.body.id, cy)
    expect([revoked.status, revoked.body.state, revoked.body.revoked_at]).toEqual([200, 'revoked', moment])
    expect(await roles(dee)).toBe(403)
    expectProblem(await act('revoke', lent.body.id, cy), 409, 'illegal_state')
  })

  it('of a role lends what the role carries, as long as the delegator holds it and is active', async () => {
    const role_id = await here.roleId('lender')
    const ben = await here.member('ben', { roles: ['user', 'lender'] })
    expect((await lend(ben, { delegate_id: dee.id, role_id })).status).toBe(201)
    expect([await roles(dee), (await here.ask('/delegations', { token: dee.token })).status]).toEqual([200, 200])
    await here.ask(`/users/${ben.id}/roles/${role_id}`, { method: 'DELETE' })
    expect(await roles(dee)).toBe(403)
    await here.ask(`/users/${ben.id}/roles`, { body: { role_id } })
    expect(await roles(dee)).toBe(200)
    await here.realm.asOwner(sql`update freehold.users set is_active = false where id = ${ben.id}`)
    expect(await roles(dee)).toBe(403)
  })

  it('cannot be delegated on', async () => {
    const { id } = (await lend(cy, { delegate_id: eve.id, permissions: ['role:read'] })).body
    expect(await roles(eve)).toBe(200)
    expectProblem(await lend(eve, { delegate_id: dee.id, permissions: ['role:read'] }), 403, 'forbidden')
    await act('revoke', id, cy)
    const role = (await lend(cy, { delegate_id: eve.id, role_id: await here.roleId('lender') })).body
    expectProblem(await lend(eve, { delegate_id: dee.id, role_id: await here.roleId('lender') }), 403, 'forbidden')
    await act('revoke', role.id, cy)
  })

  it('lets its delegate set no password of the delegator, nor unlock them, who hold the same', async () => {
    const can = { ...SELF, 'user:update': 'own' }
    const [ana, bob] = [await here.member('ana', { can }), await here.member('bob', { can })]
    expect((await lend(ana, { delegate_id: bob.id, permissions: ['user:update'] })).status).toBe(201)
    for (const [path, body] of [
      ['reset-password', {}],
      ['reset-password', { link_only: true }],
      ['unlock', undefined],
    ] as const)
      expectProblem(await here.ask(`/users/${ana.id}/${path}`, { method: 'POST', token: bob.token, body }), 403, 'forbidden')
    expect((await here.ask('/auth/me', { token: ana.token })).status).toBe(200)
  })

  it('begins when it says, and ends by itself, also beside one that is in force', async () => {
    const other = (await lend(cy, { delegate_id: dee.id, permissions: ['permission:read'] })).body
    expect(other.state).toBe('active')
    const { body } = await lend(cy, { delegate_id: dee.id, permissions: ['role:read'], starts_at: '2998-01-01T00:00:00Z' })
    expect([body.state, await roles(dee)]).toEqual(['scheduled', 403])
    const at = (starts: string, ends: string) =>
      here.realm.asOwner(
        sql`update freehold.delegations set decided_at = now() - interval '3 days', starts_at = now() + ${starts}::interval, ends_at = now() + ${ends}::interval where id = ${body.id}`,
      )
    await at('-1 day', '1 day')
    const state = async () => (await here.ask(`/delegations/${body.id}`, { token: cy.token })).body.state
    expect([await state(), await roles(dee)]).toEqual(['active', 200])
    await at('-2 days', '-1 day')
    expect([await state(), await roles(dee)]).toEqual(['ended', 403])
    expectProblem(await act('revoke', body.id, cy), 409, 'illegal_state')
  })
})

describe('where the tenant wants delegations approved', () => {
  beforeAll(() => approval(true))
  afterAll(() => approval(false))

  it('one counts from its approval, by a third person', async () => {
    const { body } = await lend(cy, { delegate_id: dee.id, permissions: ['role:read'] })
    expect([body.state, body.decided_at, await roles(dee)]).toEqual(['pending', null, 403])
    const approved = await act('approve', body.id, eve)
    expect([approved.status, approved.body.state, approved.body.decided_by]).toEqual([200, 'active', eve.id])
    expect(await roles(dee)).toBe(200)
    for (const verb of ['approve', 'reject']) expectProblem(await act(verb, body.id, eve), 409, 'illegal_state')
    await act('revoke', body.id, cy)
    expectProblem(await act('approve', body.id, eve), 409, 'illegal_state')
  })

  it('one that is rejected never counts, and is over', async () => {
    const { id } = (await lend(cy, { delegate_id: dee.id, permissions: ['role:read'] })).body
    const rejected = await act('reject', id, eve)
    expect([rejected.status, rejected.body.state]).toEqual([200, 'rejected'])
    expect(await roles(dee)).toBe(403)
    for (const verb of ['approve', 'reject']) expectProblem(await act(verb, id, eve), 409, 'illegal_state')
    expectProblem(await act('revoke', id, cy), 409, 'illegal_state')
  })

  it('neither of the two decides, nor who decides only because one of them lets them', async () => {
    const mine = (await lend(eve, { delegate_id: dee.id, permissions: ['delegation:read'] })).body
    expectProblem(await act('approve', mine.id, eve), 403, 'forbidden')
    const forMe = (await lend(cy, { delegate_id: eve.id, permissions: ['role:read'] })).body
    expectProblem(await act('approve', forMe.id, eve), 403, 'forbidden')
    expect((await act('reject', forMe.id)).status).toBe(200)
    await approval(false)
    const say = (await lend(eve, { delegate_id: cy.id, permissions: ['delegation:approve'] })).body
    await approval(true)
    expectProblem(await act('approve', mine.id, cy), 403, 'forbidden')
    expectProblem(await act('approve', mine.id, dee), 403, 'forbidden')
    await act('revoke', say.id, eve)
    expect((await act('approve', mine.id)).body.state).toBe('active')
  })

  it('one is decided once when two decide at the same time', async () => {
    const { id } = (await lend(cy, { delegate_id: dee.id, permissions: ['role:read'] })).body
    const both = await Promise.all([act('approve', id, eve), act('reject', id)])
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409])
    await act('revoke', id, cy)
  })

  it('the delegator cannot approve by a statement of their own', async () => {
    const { id } = (await lend(cy, { delegate_id: dee.id, permissions: ['role:read'] })).body
    const database = await databaseOf('delegated')
    const [session] = await here.realm.asOwner(sql`select id from freehold.sessions where user_id = ${cy.id}`)
    await database.asApp(
      admit(database, { session_id: session?.id, user_id: cy.id }, 'delegation:update'),
      sql`update freehold.delegations set decision = 'approved', decided_at = now() where id = ${id}`,
    )
    expect((await here.ask(`/delegations/${id}`)).body).toMatchObject({ state: 'revoked', decided_at: null })
  })
})

describe('the list of delegations', () => {
  const ids = (answer: { body: any }) => answer.body.data.map(({ id }: { id: string }) => id)

  it('is the caller’s own, as either of the two; everybody’s for who reaches all; the team’s for who reaches the team', async () => {
    const team = await here.unit('crew')
    const fay = await here.member('fay', { can: { ...SELF, 'kpi:read': 'own' }, unit: team })
    const gil = await here.member('gil', { can: { 'delegation:read': 'own' } })
    const hal = await here.member('hal', { can: { 'delegation:read': 'team', 'delegation:update': 'team' }, unit: team })
    const far = await here.member('far', { can: { 'delegation:read': 'own', 'delegation:update': 'own' } })
    const { id } = (await lend(fay, { delegate_id: gil.id, permissions: ['kpi:read'] })).body
    for (const who of [fay, gil, hal]) {
      expect(ids(await here.ask('/delegations', { token: who.token })), who.username).toEqual([id])
      expect((await here.ask(`/delegations/${id}`, { token: who.token })).status, who.username).toBe(200)
    }
    expect(ids(await here.ask('/delegations', { token: far.token }))).toEqual([])
    expectProblem(await here.ask(`/delegations/${id}`, { token: far.token }), 404, 'not_found')
    expectProblem(await act('revoke', id, far), 404, 'not_found')
    expectProblem(await act('revoke', id, gil), 403, 'forbidden')
    expect(ids(await here.ask('/delegations?limit=100'))).toContain(id)
    expect((await act('revoke', id, hal)).body.state).toBe('revoked')
  })

  it('is newest first, in pages, by state and by the two', async () => {
    const names = ['kpi:read', 'kpi:create', 'kpi:update', 'kpi:delete', 'report:read']
    const kim = await here.member('kim', { can: { ...SELF, ...Object.fromEntries(names.map((name) => [name, 'own'])) } })
    const made: string[] = []
    for (const [i, name] of names.entries())
      made.unshift((await lend(kim, { delegate_id: i < 3 ? dee.id : eve.id, permissions: [name] })).body.id)
    await act('revoke', made[0] ?? '', kim)
    const ask = (query: string, token = kim.token) => here.ask(`/delegations?${query}`, { token })
    expect(ids(await ask(''))).toEqual(made)
    expect(ids(await ask('state=revoked'))).toEqual([made[0]])
    expect(ids(await ask('state=active'))).toEqual(made.slice(1))
    expect(ids(await ask(`delegate_id=${eve.id}`))).toEqual(made.slice(0, 2))
    expect(ids(await ask(`delegator_id=${kim.id}&limit=100`, here.bo.token))).toEqual(made)
    const first = await ask('limit=3')
    expect(ids(first)).toEqual(made.slice(0, 3))
    expect(ids(await ask(`limit=3&cursor=${first.body.next_cursor}`))).toEqual(made.slice(3))
    expectProblem(await ask(`cursor=${first.body.next_cursor}x`), 400, 'invalid_cursor')
    for (const query of ['state=lost', 'delegate_id=x', 'limit=0', 'surprise=1'])
      expectProblem(await ask(query), 400, 'invalid_request')
  })
})

describe('bad input is refused', () => {
  it.each([
    [{ permissions: ['role:read'], delegate_id: undefined }, '#/delegate_id'],
    [{ permissions: ['role:read'], delegate_id: 'x' }, '#/delegate_id'],
    [{ permissions: ['role:read'], delegate_id: crypto.randomUUID() }, '#/delegate_id'],
    [{ permissions: ['role:read'], delegate_id: 'CY' }, '#/delegate_id'],
    [{ permissions: ['role:read'], delegate_id: 'NEMO' }, '#/delegate_id'],
    [{}, '#/permissions'],
    [{ permissions: ['role:read'], role_id: 'LENDER' }, '#/permissions'],
    [{ permissions: [] }, '#/permissions'],
    [{ permissions: ['no:such'] }, '#/permissions'],
    [{ permissions: ['nonsense'] }, '#/permissions/0'],
    [{ permissions: 'role:read' }, '#/permissions'],
    [{ role_id: crypto.randomUUID() }, '#/role_id'],
    [{ permissions: ['role:read'], ends_at: undefined }, '#/ends_at'],
    [{ permissions: ['role:read'], ends_at: '2001-01-01T00:00:00Z' }, '#/ends_at'],
    [{ permissions: ['role:read'], starts_at: '2001-01-01T00:00:00Z' }, '#/starts_at'],
    [{ permissions: ['role:read'], starts_at: FOREVER, ends_at: '2998-01-01T00:00:00Z' }, '#/ends_at'],
    [{ permissions: ['role:read'], reason: 'x'.repeat(501) }, '#/reason'],
    [{ permissions: ['role:read'], delegator_id: crypto.randomUUID() }, '#/delegator_id'],
    [{ permissions: ['role:read'], decision: 'approved' }, '#/decision'],
  ])('%j at %s', async (given, pointer) => {
    const named: Record<string, string> = { CY: cy.id, NEMO: nemo.id, LENDER: await here.roleId('lender') }
    if ('delegate_id' in given && given.delegate_id === 'NEMO')
      await here.realm.asOwner(sql`update freehold.users set is_active = false where id = ${nemo.id}`)
    const body = Object.fromEntries(
      Object.entries({ delegate_id: dee.id, ...given }).map(([key, value]) => [key, named[String(value)] ?? value]),
    )
    const answer = await lend(cy, body)
    expectProblem(answer, 400, 'invalid_request', JSON.stringify(body))
    expect(pointers(answer)).toContain(pointer)
  })

  it('of what one does not hold, and of who has no token or no permission', async () => {
    expectProblem(await lend(cy, { delegate_id: eve.id, permissions: ['permission:read', 'role:update'] }), 403, 'forbidden')
    expectProblem(await lend(cy, { delegate_id: dee.id, role_id: await here.roleId('admin') }), 403, 'forbidden')
    const id = crypto.randomUUID()
    const ola = await here.member('ola')
    for (const [path, more] of [
      ['', {}],
      ['', { body: { delegate_id: cy.id, permissions: ['user:read'], ends_at: FOREVER } }],
      [`/${id}`, {}],
      [`/${id}/approve`, { method: 'POST' }],
      [`/${id}/reject`, { method: 'POST' }],
      [`/${id}/revoke`, { method: 'POST' }],
      ['/substitute?permission=user:read', {}],
    ] as const) {
      expectProblem(await here.ask(`/delegations${path}`, { ...more, token: '' }), 401, 'token_missing', path)
      expectProblem(await here.ask(`/delegations${path}`, { ...more, token: ola.token }), 403, 'forbidden', path)
      if (path.startsWith(`/${id}`)) expectProblem(await here.ask(`/delegations${path}`, more), 404, 'not_found', path)
    }
  })
})
