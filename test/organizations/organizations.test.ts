/** Organizations within a tenant: made, limited, joined and left, by whom they are seen, and how exact their limits are. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'orgs'
let realm: Inside
let token: string
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('orgs-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
})

const at = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1/organizations${path}`, { token: as, ...ask })
const post = (body: object, as = token) => at('', { body }, as)
const patch = (id: string, body: object, as = token, headers = {}) => at(`/${id}`, { method: 'PATCH', body, headers }, as)
async function made(name: string, more: object = {}): Promise<string> {
  const answer = await post({ name, ...more })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body.id
}
const put = (id: string, user: string, as = token) => at(`/${id}/members/${user}`, { method: 'PUT' }, as)
const remove = (id: string, user: string, as = token) => at(`/${id}/members/${user}`, { method: 'DELETE' }, as)
const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status).sort()

describe('an organization', () => {
  it('is made, read, listed and changed under If-Match, in one round trip each, and each change is in the audit', async () => {
    const answer = await post({ name: '  Norte ', settings: { colour: 'red' }, plan_group: 'user', user_limit: 7 })
    expect([answer.status, answer.trips]).toEqual([201, 1])
    const shown = {
      id: expect.any(String),
      name: 'Norte',
      unit_id: expect.any(String),
      settings: { colour: 'red' },
      plan_group: 'user',
      user_limit: 7,
      active_users: 0,
      state: 'active',
      created_at: expect.any(String),
      updated_at: answer.body.created_at,
    }
    expect(answer.body).toEqual(shown)
    const { id } = answer.body
    expect(answer.headers.get('Location')).toBe(`/api/v1/organizations/${id}`)
    const got = await at(`/${id}`)
    expect([got.status, got.trips]).toEqual([200, 1])
    expect(got.body).toEqual({ ...answer.body, people: { data: [], next_cursor: null }, units: [], invitations: [] })
    expect((await at('')).body.data).toContainEqual(answer.body)
    const headers = { 'If-Match': got.headers.get('ETag') ?? '' }
    const changed = await patch(id, { name: 'Sur', settings: { size: 2 }, user_limit: null, plan_group: null }, token, headers)
    expect([changed.status, changed.trips]).toEqual([200, 1])
    expect(changed.body).toMatchObject({ name: 'Sur', settings: { colour: 'red', size: 2 }, user_limit: null, plan_group: null })
    expectProblem(await patch(id, { name: 'X' }, token, headers), 412, 'etag_mismatch')
    expect((await patch(id, {})).status).toBe(200)
    const rows = await realm.asOwner(
      sql`select activity_type from freehold.audit_log where resource_type = 'organization' and resource_id = ${id} order by id`,
    )
    expect(rows.map(({ activity_type }) => activity_type).sort()).toEqual(['ORGANIZATION_CREATED', 'ORGANIZATION_UPDATED'])
  })

  it('has a name that no other one has, in whatever case, also of twenty made at once', async () => {
    await made('Taken')
    const answer = await post({ name: 'TAKEN' })
    expectProblem(answer, 409, 'already_exists')
    expect(pointers(answer)).toEqual(['#/name'])
    const answers = await Promise.all(Array.from({ length: 20 }, () => post({ name: 'At once' })))
    expect(statuses(answers)).toEqual([201, ...Array(19).fill(409)])
  })

  it('of another tenant, or of nobody, is not found behind any door', async () => {
    const other = await call('orgs-next', '/api/v1/organizations', { token: await tokenOf('orgs-next'), body: { name: 'Other' } })
    const { id: person } = await addPerson(realm, 'nobody-of-it')
    for (const id of [other.body.id, crypto.randomUUID()]) {
      expectProblem(await at(`/${id}`), 404, 'not_found')
      expectProblem(await patch(id, { name: 'X' }), 404, 'not_found')
      expectProblem(await at(`/${id}/members`), 404, 'not_found')
      expectProblem(await put(id, person), 404, 'not_found')
      expectProblem(await remove(id, person), 404, 'not_found')
    }
  })

  it.each<[string, object, string]>([
    ['without a name', { name: undefined }, '#/name'],
    ['with a blank name', { name: ' ' }, '#/name'],
    ['with a name of 71 characters', { name: 'x'.repeat(71) }, '#/name'],
    ['with a name that mixes scripts', { name: 'Nоrte' }, '#/name'],
    ['with settings that are no object', { settings: [] }, '#/settings'],
    ['with settings beyond 8 KiB', { settings: { x: 'y'.repeat(8_200) } }, '#/settings'],
    ['with settings that no jsonb holds', { settings: { x: '\u0000' } }, '#/settings'],
    ['with a plan group that is no role', { plan_group: 'plan_gold' }, '#/plan_group'],
    ['with a limit of nobody', { user_limit: 0 }, '#/user_limit'],
    ['with half a user', { user_limit: 1.5 }, '#/user_limit'],
    ['with a count of its own', { active_users: 5 }, '#/active_users'],
    ['that ends', { state: 'ended' }, '#/state'],
  ])('%s is refused, naming the field', async (_, more, pointer) => {
    const answer = await post({ name: 'Refused', ...more })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('is listed by name and by time, both ways, in pages, and found by how its name begins', async () => {
    for (const name of ['zz one', 'ZZ two', 'zz three']) await made(name)
    const found = async (query: string) => {
      const answer = await at(`?${query}`)
      return [answer.body.data?.map((o: any) => o.name), answer.body.next_cursor] as [string[], string | null]
    }
    expect((await found('search=Zz'))[0]).toEqual(['zz one', 'zz three', 'ZZ two'])
    expect((await found('search=zz&sort=-name'))[0]).toEqual(['ZZ two', 'zz three', 'zz one'])
    expect((await found('sort=-created_at&limit=3'))[0]).toEqual(['zz three', 'ZZ two', 'zz one'])
    const [first, next] = await found('search=zz&limit=2')
    expect([first, (await found(`search=zz&limit=2&cursor=${next}`))[0]]).toEqual([['zz one', 'zz three'], ['ZZ two']])
    expectProblem(await at(`?sort=-name&cursor=${next}`), 400, 'invalid_cursor')
    expectProblem(await at('?sort=created_at&search=zz'), 400, 'invalid_request')
  })
})

describe('who belongs to an organization', () => {
  it('joins it, is seen in it, moves to another, and leaves', async () => {
    const [one, two] = [await made('Joined'), await made('Joined next')]
    const person = await addPerson(realm, 'joiner')
    const joined = await put(one, person.id)
    expect([joined.status, joined.trips]).toEqual([200, 1])
    expect(joined.body).toMatchObject({ id: person.id, username: 'joiner', role: 'user', is_active: true })
    expect((await put(one, person.id)).status).toBe(200)
    expect((await call(AT, `/api/v1/users/${person.id}`, { token })).body.organization_id).toBe(one)
    expect((await at(`/${one}/members`)).body.data).toEqual([joined.body])
    expect((await at(`/${one}`)).body).toMatchObject({ active_users: 1, people: { data: [joined.body] } })
    expect((await put(two, person.id)).status).toBe(200)
    expect((await at(`/${one}`)).body).toMatchObject({ active_users: 0, people: { data: [] } })
    expectProblem(await remove(one, person.id), 404, 'not_found')
    expect((await remove(two, person.id)).status).toBe(204)
    expectProblem(await remove(two, person.id), 404, 'not_found')
    expect((await call(AT, `/api/v1/users/${person.id}`, { token })).body.organization_id).toBeNull()
  })

  it('is created in it, and in none that is not there', async () => {
    const id = await made('Born in')
    const create = (organization_id: unknown, n: number) =>
      call(AT, '/api/v1/users', { token, body: { email: `born-${n}@orgs.test`, organization_id } })
    expect((await create(id, 1)).body).toMatchObject({ organization_id: id })
    expect((await at(`/${id}`)).body.active_users).toBe(1)
    for (const wrong of [crypto.randomUUID(), 'Born in']) {
      const answer = await create(wrong, 2)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/organization_id'])
    }
  })

  it('reads it and nobody else’s; with a narrow scope changes nothing of it', async () => {
    const [mine, other] = [await made('Mine'), await made('Not mine')]
    await addRole(realm, 'reads-own-organization', ['organization:read', 'organization:update'], 'own')
    const person = await addMember(realm, 'reader-of-mine', { roles: ['reads-own-organization'] })
    await put(mine, person.id)
    expect((await at('', {}, person.token)).body.data.map(({ id }: any) => id)).toEqual([mine])
    expect((await at(`/${mine}`, {}, person.token)).status).toBe(200)
    expectProblem(await at(`/${other}`, {}, person.token), 404, 'not_found')
    expectProblem(await patch(mine, { name: 'Ours' }, person.token), 403, 'forbidden')
    expectProblem(await patch(other, { name: 'Ours' }, person.token), 404, 'not_found')
    expectProblem(await post({ name: 'One more' }, person.token), 403, 'forbidden')
  })

  it('reads whom others have invited to it where they may read invitations, as far as it, and nowhere else', async () => {
    const [id, far] = [await made('Inviting'), await made('Elsewhere')]
    const email = 'invited@orgs.test'
    const body = { email, organization_id: id }
    expect((await call(AT, '/api/v1/invitations', { token, body })).status).toBe(201)
    const invitedTo = async (as?: string) =>
      (await at(`/${id}`, {}, as)).body.invitations.map((one: { email: string }) => one.email)
    await addRole(realm, 'reads-organizations', ['organization:read'], 'all')
    await addRole(realm, 'reads-invitations', ['invitation:read'], 'department')
    const placed = async (name: string, roles: string[], to: string) => {
      const person = await addMember(realm, name, { roles: ['reads-organizations', ...roles] })
      await put(to, person.id)
      return person.token
    }
    expect(await invitedTo()).toEqual([email])
    expect(await invitedTo(await placed('reads-them', ['reads-invitations'], id))).toEqual([email])
    expect(await invitedTo(await placed('reads-others', ['reads-invitations'], far))).toEqual([])
    expect(await invitedTo(await placed('reads-none', [], id))).toEqual([])
  })

  it('of twenty at once the last three places are taken by three', async () => {
    const id = await made('Three places', { user_limit: 3 })
    const people = await Promise.all(Array.from({ length: 20 }, (_, n) => addPerson(realm, `placed-${n}`)))
    const answers = await Promise.all(people.map((person) => put(id, person.id)))
    expect(statuses(answers)).toEqual([...Array(3).fill(200), ...Array(17).fill(409)])
    for (const answer of answers.filter(({ status }) => status === 409)) expectProblem(answer, 409, 'limit_reached')
    expect((await at(`/${id}`)).body.active_users).toBe(3)
    const inside = (await at(`/${id}/members`)).body.data.map((member: any) => member.id)
    const switched = (user: string, verb: string) => call(AT, `/api/v1/users/${user}/${verb}`, { token, method: 'POST' })
    expect((await switched(inside[0], 'deactivate')).status).toBe(200)
    const outside = people.find((person) => !inside.includes(person.id))
    expect((await put(id, outside?.id ?? '')).status).toBe(200)
    expectProblem(await switched(inside[0], 'reactivate'), 409, 'limit_reached')
  })

  it('of those who move between two organizations in opposite directions nobody waits for ever, and both counts are exact', async () => {
    const [one, two] = [await made('There'), await made('Back')]
    const people = await Promise.all(Array.from({ length: 10 }, (_, n) => addPerson(realm, `mover-${n}`)))
    await Promise.all(people.map((person, n) => put(n % 2 ? one : two, person.id)))
    expect(statuses(await Promise.all(people.map((person, n) => put(n % 2 ? two : one, person.id))))).toEqual(Array(10).fill(200))
    expect([(await at(`/${one}`)).body.active_users, (await at(`/${two}`)).body.active_users]).toEqual([5, 5])
  })
})

describe('max_organizations', () => {
  it('of twenty at once lets the last three be made, exactly, and the usage says how many there are', async () => {
    const next = await inside('orgs-next')
    const admin = await tokenOf('orgs-next')
    const usage = async () => (await call('orgs-next', '/api/v1/usage', { token: admin })).body
    const before = (await usage()).used.organizations
    await next.asOwner(sql`select access.set_limits(${JSON.stringify({ max_organizations: before + 3 })}::jsonb)`)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        call('orgs-next', '/api/v1/organizations', { token: admin, body: { name: `Limited ${n}` } }),
      ),
    )
    expect(statuses(answers)).toEqual([...Array(3).fill(201), ...Array(17).fill(409)])
    for (const answer of answers.filter(({ status }) => status === 409)) expectProblem(answer, 409, 'limit_reached')
    expect(await usage()).toMatchObject({ limits: { max_organizations: before + 3 }, used: { organizations: before + 3 } })
  })
})
