/** Threat: of many creations at once more succeed than there is room for; or what was taken away keeps its place for good. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { setLimits } from '../support/limits.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'limited-tenant'
const ALL = 50
const ROOM = 3
let id: string
let realm: Inside
let token: string

beforeAll(async () => {
  ;({ id } = await copyTenant(AT))
  realm = await inside(AT)
  token = await tokenOf(AT)
})

/** Sets limits; returns what is used. */
async function limit(limits: Record<string, number | boolean>): Promise<Record<string, number>> {
  await setLimits(id, limits)
  return used()
}
/** Leaves so much room, whatever there is. */
async function leaveRoom(name: string, room: number): Promise<number> {
  const used = (await limit({ [`max_${name}`]: 1_000 }))[name] ?? 0
  await limit({ [`max_${name}`]: used + room })
  return used + room
}
const used = async () => (await realm.asOwner(sql`select access.used() as used`))[0]?.used
const tally = (answers: Answer[]) => {
  const counts: Record<string, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}
const atOnce = (make: (i: number) => Promise<Answer>, count = ALL) =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)))

const post = (path: string, body: unknown, as = token, headers = {}) => call(AT, `/api/v1${path}`, { token: as, body, headers })
const createUser = (name: string, more: object = {}) => post('/users', { email: `${name}@limits.test`, ...more })
const patchUser = (id: string, body: object) => call(AT, `/api/v1/users/${id}`, { token, method: 'PATCH', body })
const deactivate = (id: string) => call(AT, `/api/v1/users/${id}/deactivate`, { token, method: 'POST' })
const reactivate = (id: string) => call(AT, `/api/v1/users/${id}/reactivate`, { token, method: 'POST' })

describe('max_users', () => {
  it('of fifty creations at once for three places three succeed, and the others are told which limit and how much it is', async () => {
    const most = await leaveRoom('users', ROOM)
    const answers = await atOnce((i) => createUser(`race-${i}`))
    expect(tally(answers)).toEqual({ 201: ROOM, 409: ALL - ROOM })
    const refused = answers.find(({ status }) => status === 409)
    if (refused) expectProblem(refused, 409, 'limit_reached')
    expect(refused?.body.detail).toBe(`The limit max_users is reached: this tenant can have at most ${most} active users.`)
    const [row] = await realm.asOwner(sql`select count(*)::integer as n from freehold.users where is_active`)
    expect([row?.n, (await used()).users]).toEqual([most, most])
  })

  it('a user who is deactivated leaves room for one, who may be the same one again', async () => {
    await leaveRoom('users', 1)
    const made = await createUser('comes-and-goes')
    expect(made.status).toBe(201)
    expect((await call(AT, `/api/v1/users/${made.body.id}`, { token, method: 'DELETE' })).status).toBe(204)
    const instead = await createUser('instead')
    expect(instead.status).toBe(201)
    expectProblem(await reactivate(made.body.id), 409, 'limit_reached')
    expect((await deactivate(instead.body.id)).status).toBeLessThan(300)
    const back = await atOnce(() => reactivate(made.body.id), 5)
    expect(back.some(({ status }) => status < 300)).toBe(true)
    expectProblem(await reactivate(instead.body.id), 409, 'limit_reached')
  })

  it('a limit below what there is lets nobody else in, and everybody go on', async () => {
    const before = (await limit({ max_users: 1_000 })).users ?? 0
    expect((await limit({ max_users: 1 })).users).toBe(before)
    expectProblem(await createUser('one-too-many'), 409, 'limit_reached')
    expect((await call(AT, '/api/v1/auth/me', { token })).status).toBe(200)
    const { body } = await call(AT, '/api/v1/users?status=active&limit=2', { token })
    expect((await patchUser(body.data[0].id, { designation: 'Chemist' })).status).toBe(200)
  })

  const lines = (names: string[]) => names.map((name) => `${JSON.stringify({ email: `${name}@limits.test` })}\n`).join('')
  const move = async (names: string[], query = '') => {
    const response = await exports.default.fetch(`http://${AT}.freehold.test/api/v1/users/import?${query}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' },
      body: lines(names),
    })
    const rows = (await response.text()).trimEnd().split('\n')
    return rows.map((row) => JSON.parse(row)).slice(0, -1)
  }

  it('an import goes up to the limit, tells of each line beyond it, and says so beforehand', async () => {
    const names = Array.from({ length: 120 }, (_, i) => `moved-${i}`)
    await leaveRoom('users', 70)
    const dry = await move(names, 'dry_run=true')
    expect(dry.filter(({ status }) => status === 'would_create').length).toBe(70)
    const rows = await move(names)
    expect(rows.filter(({ status }) => status === 'created').length).toBe(70)
    expect(rows.slice(70).map(({ code }) => code)).toEqual(Array(50).fill('limit_reached'))
  })

  it('an import beside creations at once is no circle: all end, and none goes beyond the limit', async () => {
    await leaveRoom('users', 30)
    const names = Array.from({ length: 40 }, (_, i) => `beside-${i}`)
    const [answers, rows] = await Promise.all([
      atOnce((i) => createUser(`beside-${40 - i}`, { username: `beside-${i % 40}` }), 20),
      move(names),
    ])
    expect(tally(answers)[503]).toBeUndefined()
    const made = (tally(answers)[201] ?? 0) + rows.filter(({ status }) => status === 'created').length
    expect(made).toBe(30)
  })

  it('whoever registers is refused when they would be the one too many, and let in when there is room', async () => {
    const settings = await call(AT, '/api/v1/settings', { token, method: 'PATCH', body: { registration: true } })
    expect(settings.status).toBe(200)
    const email = 'registers@limits.test'
    const { body } = await call(AT, '/api/v1/auth/register', { body: { email, password: 'Marble-Kettle-52' } })
    const shown = { token: await secretOf(realm, 'register', email), registration_secret: body.registration_secret }
    await leaveRoom('users', 0)
    expectProblem(await call(AT, '/api/v1/auth/verify-email', { body: shown }), 409, 'limit_reached')
    await leaveRoom('users', 1)
    expect((await call(AT, '/api/v1/auth/verify-email', { body: shown })).status).toBe(204)
  })

  it('that is taken away limits nobody', async () => {
    await leaveRoom('users', 0)
    await limit({})
    expect((await createUser('unlimited')).status).toBe(201)
  })

  it('counts who is created while it is set', async () => {
    await limit({})
    const creating = atOnce((i) => createUser(`meanwhile-${i}`), 20)
    await limit({ max_users: 10_000 })
    expect(tally(await creating)).toEqual({ 201: 20 })
    const [row] = await realm.asOwner(sql`select count(*)::integer as n from freehold.users where is_active`)
    const [counter] = await realm.asOwner(sql`select used::integer as n from access.limits where name = 'users'`)
    expect(counter?.n).toBe(row?.n)
  })
})

describe('max_api_keys', () => {
  const create = (more: object = {}) => post('/api-keys', { name: 'key', permissions: ['user:read'], ...more })
  const expired = (id: string, moment: string) =>
    realm.asOwner(sql`update freehold.api_keys set expires_at = ${moment}::timestamptz where id = ${id}`)

  it('of fifty creations at once, of two people, for three places three succeed', async () => {
    await addPerson(realm, 'second', { roles: ['admin'] })
    const second = await tokenOf(AT, 'second')
    const most = await leaveRoom('api_keys', ROOM)
    const answers = await atOnce((i) => post('/api-keys', { name: 'k', permissions: ['user:read'] }, i % 2 ? token : second))
    expect(tally(answers)).toEqual({ 201: ROOM, 409: ALL - ROOM })
    const refused = answers.find(({ status }) => status === 409)
    expect(refused?.body).toMatchObject({
      code: 'limit_reached',
      detail: `The limit max_api_keys is reached: this tenant can have at most ${most} API keys.`,
    })
  })

  it('a key that is revoked, or whose time is over, leaves its place; a rotated one gets its successor in any case', async () => {
    await leaveRoom('api_keys', 1)
    const first = await create()
    expect(first.status).toBe(201)
    expectProblem(await create(), 409, 'limit_reached')
    const rotated = await post(`/api-keys/${first.body.id}/rotate`, { overlap_minutes: 5 })
    expect(rotated.status).toBe(201)
    expectProblem(await create(), 409, 'limit_reached')
    for (const { body } of [first, rotated])
      expect((await call(AT, `/api/v1/api-keys/${body.id}`, { token, method: 'DELETE' })).status).toBe(204)
    const short = await create({ expires_at: new Date(Date.now() + 1_500).toISOString() })
    expect(short.status).toBe(201)
    expectProblem(await create(), 409, 'limit_reached')
    await scheduler.wait(1_600)
    const next = await create()
    expect(next.status).toBe(201)
    expectProblem(await create(), 409, 'limit_reached')
    // A key whose end was taken off is not taken off again.
    expect((await call(AT, `/api/v1/api-keys/${short.body.id}`, { token, method: 'DELETE' })).status).toBe(204)
    expectProblem(await create(), 409, 'limit_reached')
    await expired(next.body.id, '2030-01-01')
    expectProblem(await create(), 409, 'limit_reached')
  })
})

describe('max_documents', () => {
  const count = (n?: unknown, headers = {}) => post('/usage/documents', n === undefined ? {} : { count: n }, token, headers)
  const limitTo = (max_documents: number) => limit({ max_documents, limit_documents: true })

  it('of fifty at once for three places three are counted; unlimited ones all are', async () => {
    const before = (await limit({})).documents ?? 0
    await limitTo(before + ROOM)
    const answers = await atOnce(() => count())
    expect(tally(answers)).toEqual({ 201: ROOM, 409: ALL - ROOM })
    await limit({ max_documents: before })
    expect(tally(await atOnce(() => count(), 10))).toEqual({ 201: 10 })
    expect((await used()).documents).toBe(before + ROOM + 10)
  })

  it('many are counted all or none, and a repeated request once', async () => {
    const before = (await used()).documents
    await limitTo(before + 10)
    const refused = await count(11)
    expectProblem(refused, 409, 'limit_reached')
    expect(refused.body.detail).toBe(
      `The limit max_documents is reached: of at most ${before + 10} documents ${before} are counted.`,
    )
    const headers = { 'Idempotency-Key': 'invoice-1' }
    const answers = await atOnce(() => count(10, headers), 5)
    const done = answers.filter(({ status }) => status === 201)
    expect(done.length).toBeGreaterThan(0)
    for (const { body } of done) expect(body).toMatchObject({ documents: before + 10, max_documents: before + 10 })
    expect((await used()).documents).toBe(before + 10)
  })

  it.each([[0], [-1], [1.5], ['1'], [100_001], [null]])('count %s is refused', async (n) => {
    expectProblem(await count(n), 400, 'invalid_request')
  })

  it('is for those with the permission, and for nobody of another tenant', async () => {
    await addPerson(realm, 'plain')
    expectProblem(await post('/usage/documents', {}, await tokenOf(AT, 'plain')), 403, 'forbidden')
    expectProblem(await call(AT, '/api/v1/usage', { token: await tokenOf(AT, 'plain') }), 403, 'forbidden')
    expectProblem(await call(AT, '/api/v1/usage', { token: await tokenOf('', 'ada') }), 401, 'token_wrong_tenant')
    expectProblem(await call(AT, '/api/v1/usage/documents', { body: {} }), 401, 'token_missing')
    expectProblem(await post('/usage/documents', { amount: 1 }), 400, 'invalid_request')
  })

  it('the tenant sees its limits, and what is used of them', async () => {
    await limit({ max_users: 500, max_documents: 7, limit_documents: true, max_organizations: 2 })
    const { status, body } = await call(AT, '/api/v1/usage', { token })
    expect(status).toBe(200)
    expect(body).toEqual({
      limits: { max_users: 500, max_organizations: 2, max_documents: 7, max_api_keys: null, max_sessions: null },
      used: await used(),
      licensed_until: null,
      read_only_from: null,
    })
  })
})
