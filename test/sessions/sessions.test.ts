/** Threat: a stolen session goes on because nobody sees it, or cannot be ended; or somebody sees and ends those of others. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'where-am-i'
const CHROME = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
let realm: Inside
let admin: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('where-am-i-next')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const enter = ({ username, password }: Pick<Person, 'username' | 'password'>, agent = 'cy/1.0') =>
  call(AT, '/api/v1/auth/login', {
    body: { username, password },
    headers: { 'User-Agent': agent, 'CF-Connecting-IP': '203.0.113.7' },
  })
const get = (path: string, token: string) => call(AT, `/api/v1${path}`, { token })
const remove = (path: string, token: string) => call(AT, `/api/v1${path}`, { token, method: 'DELETE' })
const alive = async (token: string) => (await get('/auth/me', token)).status === 200
const idOf = (token: string) => JSON.parse(atob(token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? '')).sid
const ids = (answer: { body: { data: { id: string }[] } }) => answer.body.data.map(({ id }) => id)

describe('one’s own sessions', () => {
  it('are listed newest first, with device and place, and which is this one', async () => {
    const ana = await addPerson(realm, 'ana')
    const first = (await enter(ana)).body.access_token
    const second = (await enter(ana, CHROME)).body.access_token
    const { body, status, trips } = await get('/sessions', first)
    expect([status, trips]).toEqual([200, 1])
    expect(body.data.map(({ id, is_current }: { id: string; is_current: boolean }) => [id, is_current])).toEqual([
      [idOf(second), false],
      [idOf(first), true],
    ])
    expect(body.data[0]).toMatchObject({
      device: CHROME,
      device_name: 'Chrome on Windows',
      address: '203.0.113.7',
      city: null,
      country: null,
    })
  })

  it('say from which city and country they came, as Cloudflare knows it', async () => {
    const zoe = await addPerson(realm, 'zoe')
    const cf = { city: 'Lima', country: 'PE' } as IncomingRequestCfProperties
    const body = JSON.stringify({ username: 'zoe', password: zoe.password })
    const headers = { 'Content-Type': 'application/json' }
    const answer = await exports.default.fetch(
      new Request(`http://${AT}.freehold.test/api/v1/auth/login`, { method: 'POST', headers, body, cf }),
    )
    const { access_token } = (await answer.json()) as { access_token: string }
    expect((await get('/sessions', access_token)).body.data[0]).toMatchObject(cf)
  })

  it('are ended one by one: the next request with it is refused, the others go on', async () => {
    const bea = await addPerson(realm, 'bea')
    const [mine, lost] = [(await enter(bea)).body, (await enter(bea)).body]
    expect((await remove(`/sessions/${idOf(lost.access_token)}`, mine.access_token)).status).toBe(204)
    expectProblem(await get('/auth/me', lost.access_token), 401, 'session_ended')
    const body = { refresh_token: lost.refresh_token }
    expectProblem(await call(AT, '/api/v1/auth/refresh-token', { body }), 401, 'refresh_invalid')
    expect(await alive(mine.access_token)).toBe(true)
    expectProblem(await remove(`/sessions/${idOf(lost.access_token)}`, mine.access_token), 404, 'not_found')
  })

  it('are all ended at once, this one too', async () => {
    const cal = await addPerson(realm, 'cal')
    const other = await addPerson(realm, 'dan')
    const tokens = [(await enter(cal)).body.access_token, (await enter(cal)).body.access_token]
    const theirs = (await enter(other)).body.access_token
    expect((await call(AT, '/api/v1/auth/logout-all', { token: tokens[0], method: 'POST' })).status).toBe(204)
    for (const token of tokens) expect(await alive(token)).toBe(false)
    expect(await alive(theirs)).toBe(true)
  })

  it('are all ended by several of them at once, each of which was idle for a while', async () => {
    for (let round = 0; round < 8; round++) {
      const deb = await addPerson(realm, `deb-${round}`)
      const tokens: string[] = []
      for (let i = 0; i < 5; i++) tokens.push((await enter(deb)).body.access_token)
      await realm.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '1 hour' where user_id = ${deb.id}`)
      const answers = await Promise.all(tokens.map((token) => call(AT, '/api/v1/auth/logout-all', { token, method: 'POST' })))
      for (const { status } of answers) expect([204, 401]).toContain(status)
      for (const token of tokens) expect(await alive(token)).toBe(false)
    }
  })

  it('are awake when they only write', async () => {
    const awake = await addPerson(realm, 'awake')
    const token = (await enter(awake)).body.access_token
    await realm.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '6 days' where user_id = ${awake.id}`)
    const asked = await call(AT, '/api/v1/authz/check', { token, body: { checks: [{ role: 'user' }] } })
    expect([asked.status, asked.trips]).toEqual([200, 1])
    const [session] = await realm.asOwner(
      sql`select last_active_at > now() - interval '1 minute' as is_awake from freehold.sessions where user_id = ${awake.id}`,
    )
    expect(session?.is_awake).toBe(true)
  })

  it('that have run out, were idle too long or ended are not listed', async () => {
    const eve = await addPerson(realm, 'eve')
    const tokens = []
    for (let i = 0; i < 4; i++) tokens.push((await enter(eve)).body.access_token)
    const [ended, out, idle, mine] = tokens
    await remove(`/sessions/${idOf(ended)}`, mine)
    await realm.asOwner(
      sql`update freehold.sessions set expires_at = now() where id = ${idOf(out)}`,
      sql`update freehold.sessions set last_active_at = now() - interval '7 days' where id = ${idOf(idle)}`,
    )
    expect(ids(await get('/sessions', mine))).toEqual([idOf(mine)])
    for (const token of [out, idle]) expectProblem(await get('/auth/me', token), 401, 'session_ended')
  })

  it('come in pages', async () => {
    const fay = await addPerson(realm, 'fay')
    let token = ''
    for (let i = 0; i < 4; i++) token = (await enter(fay)).body.access_token
    const page = await get('/sessions?limit=3', token)
    expect(page.body.data).toHaveLength(3)
    const rest = await get(`/sessions?limit=3&cursor=${page.body.next_cursor}`, token)
    expect([rest.body.data.length, rest.body.next_cursor]).toEqual([1, null])
    expect(new Set([...ids(page), ...ids(rest)]).size).toBe(4)
    expectProblem(await get('/sessions?cursor=x.y', token), 400, 'invalid_cursor')
    for (const bad of ['limit=0', 'limit=101', 'limit=x', 'page=2'])
      expectProblem(await get(`/sessions?${bad}`, token), 400, 'invalid_request')
  })
})

describe('at most so many sessions', () => {
  it('live of one person: five, and the oldest goes', async () => {
    const gil = await addPerson(realm, 'gil')
    const tokens: string[] = []
    for (let i = 0; i < 6; i++) tokens.push((await enter(gil)).body.access_token)
    expect(await Promise.all(tokens.map(alive))).toEqual([false, true, true, true, true, true])
    const [row] = await realm.asOwner(sql`select ended_because from freehold.sessions where id = ${idOf(tokens[0] ?? '')}`)
    expect(row).toEqual({ ended_because: 'limit' })
  })

  it('also when twenty log in at once', async () => {
    const hal = await addPerson(realm, 'hal')
    const answers = []
    for (let i = 0; i < 5; i++) answers.push(...(await Promise.all(Array.from({ length: 4 }, () => enter(hal)))))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.sessions where user_id = ${hal.id} and ended_at is null`,
    )
    expect(row).toEqual({ n: 5 })
  })

  it('as the tenant says, and as is said of one person', async () => {
    const ivy = await addPerson(realm, 'ivy')
    const answer = await call(AT, `/api/v1/users/${ivy.id}`, { token: admin, method: 'PATCH', body: { max_sessions: 1 } })
    expect([answer.status, answer.body.max_sessions]).toEqual([200, 1])
    const [first, second] = [(await enter(ivy)).body.access_token, (await enter(ivy)).body.access_token]
    expect([await alive(first), await alive(second)]).toEqual([false, true])
    const own = await call(AT, `/api/v1/users/${ivy.id}`, { token: second, method: 'PATCH', body: { max_sessions: 9 } })
    expectProblem(own, 403, 'forbidden')
    for (const bad of [0, 1001, 'x', 1.5])
      expect(
        pointers(await call(AT, `/api/v1/users/${ivy.id}`, { token: admin, method: 'PATCH', body: { max_sessions: bad } })),
      ).toEqual(['#/max_sessions'])
  })

  it('and the ones that ran out do not count', async () => {
    const jan = await addPerson(realm, 'jan')
    const tokens: string[] = []
    for (let i = 0; i < 5; i++) tokens.push((await enter(jan)).body.access_token)
    await realm.asOwner(sql`update freehold.sessions set expires_at = now() where id = ${idOf(tokens[4] ?? '')}`)
    await enter(jan)
    expect(await alive(tokens[0] ?? '')).toBe(true)
  })
})

describe('the sessions of others', () => {
  it('are seen and ended by who may, as far as they may', async () => {
    const [soil, water] = [await addUnit(realm, 'team', 'soil'), await addUnit(realm, 'team', 'water')]
    await addRole(realm, 'guard', ['session:read', 'session:delete', 'user:read'], 'team')
    const guard = await addMember(realm, 'kim', { roles: ['guard'], unit_id: soil })
    const near = await addMember(realm, 'lou', { unit_id: soil })
    const far = await addMember(realm, 'max', { unit_id: water })
    expect(ids(await get(`/users/${near.id}/sessions`, guard.token))).toEqual([idOf(near.token)])
    expectProblem(await get(`/users/${far.id}/sessions`, guard.token), 404, 'not_found')
    expectProblem(await remove(`/sessions/${idOf(far.token)}`, guard.token), 404, 'not_found')
    expectProblem(await remove(`/users/${far.id}/sessions`, guard.token), 404, 'not_found')
    expect((await remove(`/sessions/${idOf(near.token)}`, guard.token)).status).toBe(204)
    expect([await alive(near.token), await alive(far.token)]).toEqual([false, true])
    expect((await remove(`/users/${far.id}/sessions`, admin)).status).toBe(204)
    expect(await alive(far.token)).toBe(false)
    const [row] = await realm.asOwner(sql`select ended_because from freehold.sessions where id = ${idOf(far.token)}`)
    expect(row).toEqual({ ended_because: 'ended_by_administrator' })
  })

  it('are nobody’s business without the permission, a token, or of another tenant', async () => {
    const [ned, oda] = [await addMember(realm, 'ned'), await addMember(realm, 'oda')]
    const mallory = await tokenOf('where-am-i-next')
    for (const [method, path] of [
      ['GET', `/users/${oda.id}/sessions`],
      ['GET', `/users/${oda.id}/sessions/history`],
      ['DELETE', `/users/${oda.id}/sessions`],
      ['DELETE', `/sessions/${idOf(oda.token)}`],
    ] as const) {
      expectProblem(await call(AT, `/api/v1${path}`, { method }), 401, 'token_missing')
      expectProblem(await call(AT, `/api/v1${path}`, { method, token: mallory }), 401, 'token_wrong_tenant')
      expectProblem(await call(AT, `/api/v1${path}`, { method, token: ned.token }), 404, 'not_found')
    }
    expect(await alive(oda.token)).toBe(true)
    for (const path of ['/sessions/7', '/users/7/sessions']) expectProblem(await remove(path, admin), 400, 'invalid_request')
  })
})

describe('the history of logins', () => {
  it('shows the failures, where they came from, and what ended', async () => {
    const pia = await addPerson(realm, 'pia')
    await enter({ ...pia, password: 'Wrong-1' }, CHROME)
    const { access_token } = (await enter(pia)).body
    await call(AT, '/api/v1/auth/logout', { token: access_token, method: 'POST' })
    const token = (await enter(pia)).body.access_token
    const { body, trips } = await get('/sessions/history', token)
    expect(trips).toBe(1)
    expect(body.data.map((event: { activity_type: string }) => event.activity_type)).toEqual([
      'LOGIN',
      'LOGOUT',
      'LOGIN',
      'LOGIN_FAILED',
    ])
    expect(body.data[3]).toMatchObject({ agent: CHROME, device_name: 'Chrome on Windows', address: '203.0.113.7' })
    expect(body.data.map((event: { reason: string | null }) => event.reason)).toEqual([null, 'logout', null, 'wrong_password'])
    const page = await get('/sessions/history?limit=1', token)
    const next = await get(`/sessions/history?limit=1&cursor=${page.body.next_cursor}`, token)
    expect(next.body.data[0].activity_type).toBe('LOGOUT')
    expect((await get(`/users/${pia.id}/sessions/history`, admin)).body.data).toHaveLength(4)
  })

  it('of one is not that of another', async () => {
    const [qia, ria] = [await addMember(realm, 'qia'), await addMember(realm, 'ria')]
    expect((await get('/sessions/history', qia.token)).body.data).toHaveLength(1)
    expectProblem(await get(`/users/${ria.id}/sessions/history`, qia.token), 404, 'not_found')
  })
})

it('operators have all of this', async () => {
  const platform = await inside('')
  const sam = await addPerson(platform, 'sam', { roles: ['auditor'] })
  const entered = (await call('', '/platform/v1/auth/login', { body: { username: 'sam', password: sam.password } })).body
  expect((await call('', '/platform/v1/sessions', { token: entered.access_token })).body.data).toHaveLength(1)
  const owner = await operatorToken()
  expect((await call('', `/platform/v1/operators/${sam.id}/sessions`, { token: owner })).body.data).toHaveLength(1)
  const out = await call('', '/platform/v1/auth/logout-all', { token: entered.access_token, method: 'POST' })
  expect(out.status, JSON.stringify(out.body)).toBe(204)
  expectProblem(await call('', '/platform/v1/auth/me', { token: entered.access_token }), 401, 'session_ended')
  expect((await call('', '/platform/v1/sessions/history', { token: owner })).body.data.length).toBeGreaterThan(0)
})
