/** Threat: a page of somebody else acts with the cookies of who looks at it, or a cookie counts for more than its account on its host. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { addPerson, forge, type Inside, inside, type Person } from '../support/inside.ts'
import { type Jar, nameOf, newJar, originOf, readCookie } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { ADMIN, type Answer, call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const PASSWORD = 'Violet-Anchor-38'
let realm: Inside
let cy: Person
let dana: Person

beforeAll(async () => {
  await copyTenant('jar')
  await copyTenant('jarless')
  realm = await inside('jar')
  cy = await addPerson(realm, 'cy')
  dana = await addPerson(realm, 'dana')
})

const LOGIN = '/api/v1/auth/login'
const ME = '/api/v1/auth/me'
const REFRESH = '/api/v1/auth/refresh-token'
const LOGOUT = '/api/v1/auth/logout'
const as = (person: Person) => ({ username: person.username, password: PASSWORD, cookie: true })

async function enter(person: Person, jar: Jar = newJar('jar')): Promise<{ jar: Jar; answer: Answer }> {
  const answer = await jar.ask(LOGIN, { body: as(person) })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return { jar, answer }
}
const set = (answer: Answer) => answer.headers.getSetCookie().map(readCookie)
const whose = async (jar: Jar, headers = {}) => (await jar.ask(ME, { headers })).body.username
const sidOf = (jar: Jar, person: Person): string => {
  const [, payload = ''] = (jar.kept.get(nameOf('a', person.id)) ?? '').split('.')
  return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))).sid
}
/** The answer takes back the cookies of this account, and sets nothing else. */
const expectTakenBack = (answer: Answer, account: string) =>
  expect(set(answer).map(({ name, value, maxAge }) => [name, value, maxAge])).toEqual([
    [nameOf('a', account), '', 0],
    [nameOf('r', account), '', 0],
  ])
const expectNothingSet = (answer: Answer) => expect(answer.headers.getSetCookie()).toEqual([])

describe('a login with cookie: true', () => {
  it('takes two round trips and answers with no token, but three cookies of this host that no script reads', async () => {
    const { answer } = await enter(cy)
    expect(answer.trips).toBe(2)
    expect(Object.keys(answer.body).sort()).toEqual([
      'account',
      'expires_in',
      'must_change_password',
      'password_expires_at',
      'password_expires_soon',
      'token_type',
    ])
    expect(answer.body).toMatchObject({ token_type: 'Cookie', expires_in: 900, account: cy.id, must_change_password: false })
    const cookies = set(answer)
    expect(cookies.map(({ name }) => name)).toEqual([nameOf('a', cy.id), nameOf('r', cy.id), nameOf('d', cy.id)])
    for (const { attributes } of cookies)
      expect(attributes.map((text) => text.replace(/\d+/, 'N')).sort()).toEqual([
        'HttpOnly',
        'Max-Age=N',
        'Path=/',
        'SameSite=Strict',
        'Secure',
      ])
    const [access, refresh, device] = cookies
    expect(access?.maxAge).toBe(900)
    expect(refresh?.value).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(refresh?.maxAge).toBeGreaterThan(30 * 86_400 - 60)
    expect(refresh?.maxAge).toBeLessThanOrEqual(30 * 86_400)
    expect(device?.maxAge).toBe(30 * 86_400)
    expectDiscreet(answer, PASSWORD, access?.value ?? '?', refresh?.value ?? '?', device?.value ?? '?')
  })

  it('through the form with cookie=true does the same, and with cookie=false gives tokens', async () => {
    const form = { username: 'cy', password: PASSWORD }
    const answer = await newJar('jar').ask(LOGIN, { form: { ...form, cookie: 'true' } })
    expect(answer.body).toMatchObject({ token_type: 'Cookie', account: cy.id })
    expect(set(answer)).toHaveLength(3)
    const other = await newJar('jar').ask(LOGIN, { form: { ...form, cookie: 'false' } })
    expect(other.body).toMatchObject({ token_type: 'Bearer' })
    expectNothingSet(other)
  })

  it('fits into what a browser keeps, however much the person may', async () => {
    const answer = await newJar('jar').ask(LOGIN, { body: { ...ADMIN, cookie: true } })
    expect(answer.headers.getSetCookie()).toHaveLength(3)
    for (const line of answer.headers.getSetCookie()) expect(line.length).toBeLessThan(1_500)
  })

  it('gives the refresh token the life of the session that the tenant decided on', async () => {
    const { access_token: token } = await login('jarless')
    const body = { session_days: 1, idle_days: 1 }
    expect((await call('jarless', '/api/v1/settings', { method: 'PATCH', token, body })).status).toBe(200)
    const answer = await newJar('jarless').ask(LOGIN, { body: { ...ADMIN, cookie: true } })
    expect(set(answer)[1]?.maxAge).toBeLessThanOrEqual(86_400)
    expect(set(answer)[1]?.maxAge).toBeGreaterThan(86_400 - 60)
  })

  it('on the base domain is told where cookies count, and no password is looked at', async () => {
    const headers = { 'X-Tenant': 'jar', Origin: originOf('jar') }
    const answer = await call('', LOGIN, { body: as(cy), headers })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/cookie'])
    expect(answer.body.errors[0].detail).toContain(originOf('jar'))
    expect(answer.trips).toBe(0)
    expectNothingSet(answer)
  })

  it.each([
    ['no page', null],
    ['a sibling tenant’s page', originOf('jarless')],
    ['the platform’s page', originOf('')],
    ['another port', `${originOf('jar')}:8080`],
    ['another scheme', originOf('jar').replace('http', 'https')],
    ['a longer name', `${originOf('jar')}.evil.test`],
    ['a page without an origin', 'null'],
    ['an empty origin', ''],
    ['two origins', `${originOf('jar')}, https://evil.test`],
  ])('from %s is refused before the password is looked at', async (_, origin) => {
    const answer = await newJar('jar').ask(LOGIN, { body: as(cy), origin })
    expectProblem(answer, 403, 'forbidden')
    expect(answer.trips).toBe(0)
    expectNothingSet(answer)
  })

  it('that fails sets nothing', async () => {
    const answer = await newJar('jar').ask(LOGIN, { body: { ...as(cy), password: 'x' } })
    expectProblem(answer, 401, 'invalid_credentials')
    expectNothingSet(answer)
  })

  it.each([['yes'], [1], [null], [{}]])('cookie may not be %j', async (cookie) => {
    const answer = await newJar('jar').ask(LOGIN, { body: { ...as(cy), cookie } })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/cookie'])
  })
})

describe('a request with cookies', () => {
  it('is let in, in one round trip', async () => {
    const { jar } = await enter(cy)
    const answer = await jar.ask(ME)
    expect([answer.status, answer.body.sub, answer.trips]).toEqual([200, cy.id, 1])
    expectNothingSet(answer)
    const headers = { Cookie: jar.header() }
    expect((await knock(`${originOf('jar')}${ME}`, { method: 'HEAD', headers })).status).toBe(200)
  })

  it.each([['none'], ['same-origin']])('that reads and that the browser calls %s is let in', async (site) => {
    const { jar } = await enter(cy)
    expect((await jar.ask(ME, { headers: { 'Sec-Fetch-Site': site } })).status).toBe(200)
  })

  it.each<[string, { origin?: string; headers?: Record<string, string> }]>([
    ['names a sibling’s page', { origin: originOf('jarless') }],
    ['names no origin that there is', { origin: 'null' }],
    ['the browser calls same-site: a sibling’s image', { headers: { 'Sec-Fetch-Site': 'same-site' } }],
    ['the browser calls cross-site', { headers: { 'Sec-Fetch-Site': 'cross-site' } }],
  ])('that reads and %s is refused', async (_, ask) => {
    const { jar } = await enter(cy)
    const answer = await jar.ask(ME, ask)
    expectProblem(answer, 403, 'forbidden')
    expect(answer.body.detail).toContain(originOf('jar'))
    expect(answer.trips).toBe(0)
  })

  it.each([
    ['no page', null],
    ['a sibling’s page', originOf('jarless')],
    ['no origin that there is', 'null'],
  ])('that changes something and names %s is refused, and nothing changes', async (_, origin) => {
    const { jar } = await enter(cy)
    for (const path of [LOGOUT, '/api/v1/auth/logout-all', REFRESH]) {
      const answer = await jar.ask(path, { method: 'POST', origin, ...(path === REFRESH && { body: {} }) })
      expectProblem(answer, 403, 'forbidden', path)
      expectNothingSet(answer)
    }
    const headers = { 'Sec-Fetch-Site': 'same-origin' }
    expectProblem(await jar.ask('/api/v1/units', { body: {}, origin, headers }), 403, 'forbidden')
    expect(await whose(jar)).toBe('cy')
  })

  it('is recorded when it is refused', async () => {
    const { jar } = await enter(cy)
    const trace = crypto.randomUUID().replaceAll('-', '')
    const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01`, 'CF-Connecting-IP': '203.0.113.60' }
    await jar.ask(ME, { origin: originOf('jarless'), headers })
    await expect
      .poll(() => realm.asOwner(sql`select activity_type from freehold.audit_log where trace_id = ${trace}`))
      .toEqual([{ activity_type: 'ACCESS_REFUSED' }])
  })

  it('on the base domain has no credential, whatever X-Tenant says', async () => {
    const { jar } = await enter(cy)
    const Cookie = jar.header()
    expectProblem(await call('', ME, { headers: { 'X-Tenant': 'jar', Cookie } }), 401, 'token_missing')
  })

  it('of another tenant, under a name of ours, is refused as a token would be', async () => {
    const { jar } = await enter(cy)
    const foreign = newJar('jarless')
    for (const [name, value] of jar.kept) foreign.kept.set(name, value)
    expectProblem(await foreign.ask(ME), 401, 'token_wrong_tenant')
    const refresh = await foreign.ask(REFRESH, { body: {}, only: 'r' })
    expectProblem(refresh, 401, 'refresh_invalid')
    expectTakenBack(refresh, cy.id)
    expect(await whose(jar)).toBe('cy')
  })

  it('whose name says another account than its token is refused', async () => {
    const { jar } = await enter(cy)
    const mixed = newJar('jar')
    for (const kind of ['a', 'r'] as const) mixed.kept.set(nameOf(kind, dana.id), jar.kept.get(nameOf(kind, cy.id)) ?? '')
    expectProblem(await mixed.ask(ME), 401, 'token_invalid')
    expectProblem(await mixed.ask(REFRESH, { body: {}, only: 'r' }), 401, 'refresh_invalid')
    expect(mixed.kept.size).toBe(0)
  })

  it.each([
    ['garbage', 'garbage'],
    ['three parts of garbage', 'a.b.c'],
    ['percent signs', '%00%ff%'],
    ['a very long value', 'x'.repeat(8_000)],
  ])('of %s is refused', async (_, value) => {
    const jar = newJar('jar')
    jar.kept.set(nameOf('a', cy.id), value)
    expectProblem(await jar.ask(ME), 401, 'token_invalid')
  })

  it.each([
    ['other names', 'session=1; __Host-fh_x_1=2; __Host-fh_a_=3; fh_a=4'],
    ['our names without an account', '__Host-fh_a_../../etc=1; __Host-fh_a_0D9C1A52-7c1e-4b39-9d0d-3c8f3f0b8a11=2'],
    ['no names', '; ;=;====; ,;"'],
    ['an empty one', `${nameOf('a', '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11')}=`],
  ])('with cookies of %s has no credential, and they do not disturb one that has', async (_, Cookie) => {
    expectProblem(await call('jar', ME, { headers: { Cookie } }), 401, 'token_missing')
    const { jar } = await enter(cy)
    const mine = jar.header()
    expect((await call('jar', ME, { headers: { Cookie: `${Cookie}; ${mine}` } })).status).toBe(200)
  })

  it('with more cookies than can be is refused, but not where they do not count', async () => {
    const Cookie = `a=${'x'.repeat(70_000)}`
    expectProblem(await call('jar', ME, { headers: { Cookie } }), 400, 'invalid_request')
    const { access_token: token } = await login('jar')
    expect((await call('jar', ME, { token, headers: { Cookie } })).status).toBe(200)
  })

  it('that has expired, or whose access token the browser has dropped, is told to refresh', async () => {
    const { jar } = await enter(cy)
    expectProblem(await jar.ask(ME, { only: 'r' }), 401, 'token_expired')
    const past = Math.floor(Date.now() / 1000) - 60
    const old = await forge(realm, { sub: cy.id, sid: sidOf(jar, cy) }, { claims: { iat: past - 900, exp: past } })
    jar.kept.set(nameOf('a', cy.id), old)
    expectProblem(await jar.ask(ME), 401, 'token_expired')
  })

  it('whose session was ended elsewhere is refused at once', async () => {
    const { jar } = await enter(cy)
    await realm.asOwner(sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${sidOf(jar, cy)}`)
    expectProblem(await jar.ask(ME), 401, 'session_ended')
  })
})

describe('beside another credential', () => {
  it('a token that was sent on purpose counts, and the cookies do not, nor where the page is from', async () => {
    const { jar } = await enter(cy)
    const { access_token: token } = await login('jar', { body: { username: 'dana', password: PASSWORD } })
    const answer = await jar.ask(ME, { token, origin: originOf('jarless') })
    expect([answer.status, answer.body.username]).toEqual([200, 'dana'])
    const out = await jar.ask(LOGOUT, { token, method: 'POST', origin: null })
    expect(out.status).toBe(204)
    expectNothingSet(out)
    expect(await whose(jar)).toBe('cy')
  })

  it('a token that is not valid is not replaced by the cookies', async () => {
    const { jar } = await enter(cy)
    expectProblem(await jar.ask(ME, { token: 'garbage' }), 401, 'token_invalid')
    expectProblem(await jar.ask(ME, { headers: { Authorization: 'Bearer' } }), 401, 'token_missing')
  })

  it('X-Account contradicts it', async () => {
    const { jar } = await enter(cy)
    const { access_token: token } = await login('jar')
    const headers = { 'X-Account': cy.id }
    expectProblem(await jar.ask(ME, { token, headers }), 400, 'credentials_ambiguous')
    expectProblem(await jar.ask(ME, { headers: { ...headers, 'X-API-Key': 'fh_x' } }), 400, 'credentials_ambiguous')
    expectProblem(await jar.ask(REFRESH, { body: { refresh_token: 'x' }, headers }), 400, 'credentials_ambiguous')
  })

  it('a refresh token in the body counts, and the cookies stay as they are', async () => {
    const { jar } = await enter(cy)
    const { refresh_token } = await login('jar')
    const answer = await jar.ask(REFRESH, { body: { refresh_token } })
    expect(answer.body).toMatchObject({ token_type: 'Bearer' })
    expectNothingSet(answer)
  })
})

describe('several accounts in one browser', () => {
  it('stand beside each other; X-Account says who is meant, and without it nobody is guessed', async () => {
    const { jar } = await enter(cy)
    await enter(dana, jar)
    expect(jar.kept.size).toBe(6)
    const answer = await jar.ask(ME)
    expectProblem(answer, 400, 'credentials_ambiguous')
    expect(answer.body.detail).toContain('X-Account')
    expectProblem(await jar.ask(REFRESH, { body: {} }), 400, 'credentials_ambiguous')
    expect(await whose(jar, { 'X-Account': cy.id })).toBe('cy')
    expect(await whose(jar, { 'X-Account': dana.id.toUpperCase() })).toBe('dana')
  })

  it.each([['0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'], ['cy'], [''], ['x'.repeat(5_000)]])(
    'X-Account %j means nobody who is here',
    async (account) => {
      const { jar } = await enter(cy)
      expectProblem(await jar.ask(ME, { headers: { 'X-Account': account } }), 401, 'token_missing')
      expectNothingSet(await jar.ask(REFRESH, { body: {}, headers: { 'X-Account': account } }))
    },
  )

  it('a logout takes back the cookies of its own account and no others; all sessions of one end without the other', async () => {
    for (const path of [LOGOUT, '/api/v1/auth/logout-all']) {
      const { jar } = await enter(cy)
      await enter(dana, jar)
      const answer = await jar.ask(path, { method: 'POST', headers: { 'X-Account': cy.id } })
      expect([answer.status, answer.trips]).toEqual([204, 1])
      expectTakenBack(answer, cy.id)
      expect(await whose(jar)).toBe('dana')
    }
  })

  it('a ninth makes room: who was not active of late goes first, then who came first', async () => {
    const ids = Array.from({ length: 8 }, () => crypto.randomUUID())
    const jar = newJar('jar')
    for (const [i, id] of ids.entries()) {
      if (i !== 3) jar.kept.set(nameOf('a', id), 'x')
      jar.kept.set(nameOf('r', id), 'x')
    }
    const gone = (answer: Answer) =>
      set(answer)
        .filter(({ maxAge }) => maxAge === 0)
        .map(({ name }) => name)
    const [first = '', , , idle = ''] = ids
    expect(gone((await enter(cy, jar)).answer)).toEqual([nameOf('a', idle), nameOf('r', idle)])
    expect(gone((await enter(dana, jar)).answer)).toEqual([nameOf('a', first), nameOf('r', first)])
    expect(gone((await enter(dana, jar)).answer)).toEqual([])
    expect(jar.kept.size).toBe(18)
  })
})

describe('a refresh by cookie', () => {
  it('takes one round trip and gives new cookies and no token; the session’s end stays', async () => {
    const { jar } = await enter(cy)
    const before = new Map(jar.kept)
    const answer = await jar.ask(REFRESH, { body: {}, only: 'r' })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body).toMatchObject({ token_type: 'Cookie', account: cy.id, expires_in: 900 })
    expect([...before.keys()].sort()).toEqual([nameOf('a', cy.id), nameOf('d', cy.id), nameOf('r', cy.id)])
    expect([...jar.kept.keys()].sort()).toEqual([...before.keys()].sort())
    for (const [name, value] of jar.kept) expect(value === before.get(name), name).toBe(name === nameOf('d', cy.id))
    expectDiscreet(answer, ...jar.kept.values())
    expect(set(answer)[1]?.maxAge).toBeLessThanOrEqual(30 * 86_400)
    expect(await whose(jar)).toBe('cy')
    expect((await jar.ask('/api/v1/auth/refresh', { body: {}, only: 'r' })).status).toBe(200)
  })

  it('of twenty tabs at once gives all the same refresh token, and the chain goes on', async () => {
    const { jar } = await enter(cy)
    const answers = await Promise.all(Array.from({ length: 20 }, () => jar.ask(REFRESH, { body: {}, only: 'r' })))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(new Set(answers.map((answer) => set(answer)[1]?.value)).size).toBe(1)
    expect((await jar.ask(REFRESH, { body: {}, only: 'r' })).status).toBe(200)
    expect(await whose(jar)).toBe('cy')
  })

  it('right after another gives no newer cookies, in one round trip', async () => {
    const { jar, answer: entered } = await enter(cy)
    const answer = await jar.ask(REFRESH, { body: {} })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expectNothingSet(answer)
    const { expires_in: left, ...same } = answer.body
    const { expires_in: given, ...first } = entered.body
    expect(same).toEqual(first)
    expect(left).toBeGreaterThan(given - 30)
    expect(left).toBeLessThanOrEqual(given)
  })

  it('some seconds later does', async () => {
    const { jar } = await enter(cy)
    const now = Math.floor(Date.now() / 1000)
    const claims = { iat: now - 11, must_change_password: false, password_expires_at: null, password_expires_soon: false }
    jar.kept.set(nameOf('a', cy.id), await forge(realm, { sub: cy.id, sid: sidOf(jar, cy) }, { claims }))
    expect(set(await jar.ask(REFRESH, { body: {} }))).toHaveLength(2)
  })

  it('right after another, but of a session that has ended meanwhile, is refused and takes the cookies back', async () => {
    const { jar } = await enter(cy)
    await realm.asOwner(sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${sidOf(jar, cy)}`)
    const answer = await jar.ask(REFRESH, { body: {} })
    expectProblem(answer, 401, 'session_ended')
    expectTakenBack(answer, cy.id)
  })

  it('with a refresh token that was used on another device ends the session and takes the cookies back, of this account alone', async () => {
    const { jar } = await enter(cy)
    await enter(dana, jar)
    const thief = newJar('jar')
    for (const [name, value] of jar.kept) thief.kept.set(name, value)
    const headers = { 'X-Account': cy.id }
    expect((await thief.ask(REFRESH, { body: {}, only: 'r', headers: { ...headers, 'User-Agent': 'thief/1' } })).status).toBe(200)
    const answer = await jar.ask(REFRESH, { body: {}, only: 'r', headers })
    expectProblem(answer, 401, 'refresh_reused')
    expectTakenBack(answer, cy.id)
    expectProblem(await thief.ask(ME, { headers }), 401, 'session_ended')
    expect(await whose(jar)).toBe('dana')
  })

  it('of a session that has ended takes the cookies back', async () => {
    const { jar } = await enter(cy)
    const late = newJar('jar')
    for (const [name, value] of jar.kept) late.kept.set(name, value)
    await jar.ask(LOGOUT, { method: 'POST' })
    expect([...jar.kept.keys()]).toEqual([nameOf('d', cy.id)])
    const answer = await late.ask(REFRESH, { body: {}, only: 'r' })
    expectProblem(answer, 401, 'refresh_invalid')
    expectTakenBack(answer, cy.id)
  })

  it('without a refresh token in the cookies, or without any, says so', async () => {
    const { jar } = await enter(cy)
    const now = Math.floor(Date.now() / 1000)
    jar.kept.set(nameOf('a', cy.id), await forge(realm, { sub: cy.id, sid: sidOf(jar, cy) }, { claims: { iat: now - 60 } }))
    expectProblem(await jar.ask(REFRESH, { body: {}, only: 'a' }), 401, 'refresh_invalid')
    const answer = await newJar('jar').ask(REFRESH, { body: {} })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/refresh_token'])
  })
})

describe('with cookies', () => {
  it('a password is changed: this session goes on, the others end, and the next refresh knows of it', async () => {
    const eve = await addPerson(realm, 'eve')
    await realm.asOwner(sql`update freehold.users set must_change_password = true where id = ${eve.id}`)
    const other = (await enter(eve)).jar
    const { jar, answer: entered } = await enter(eve)
    expect(entered.body.must_change_password).toBe(true)
    const body = { current_password: PASSWORD, new_password: 'Amber-Lantern-47' }
    const answer = await jar.ask('/api/v1/auth/password-change', { body })
    expect([answer.status, answer.trips]).toEqual([204, 2])
    expectNothingSet(answer)
    expectProblem(await other.ask(ME), 401, 'session_ended')
    expect((await jar.ask(REFRESH, { body: {} })).body).toMatchObject({ must_change_password: false })
  })

  it('a logout of a session that ended before takes the cookies back all the same', async () => {
    const { jar } = await enter(cy)
    const twin = newJar('jar')
    for (const [name, value] of jar.kept) twin.kept.set(name, value)
    await twin.ask(LOGOUT, { method: 'POST' })
    const answer = await jar.ask(LOGOUT, { method: 'POST' })
    expectProblem(answer, 401, 'session_ended')
    expectTakenBack(answer, cy.id)
  })

  it('an operator logs in on the platform’s host, and there alone', async () => {
    const { email, password } = inject('operator')
    const jar = newJar('')
    const entered = await jar.ask('/platform/v1/auth/login', { body: { email, password, cookie: true } })
    expect(entered.body).toMatchObject({ token_type: 'Cookie' })
    expect((await jar.ask('/platform/v1/auth/me')).body.email).toBe(email)
    expectProblem(await jar.ask('/platform/v1/auth/me', { origin: originOf('jar') }), 403, 'forbidden')
    expectProblem(await jar.ask(ME, { headers: { 'X-Tenant': 'jar' } }), 401, 'token_missing')
    expect((await jar.ask('/platform/v1/auth/refresh', { body: {}, only: 'r' })).status).toBe(200)
    expect((await jar.ask('/platform/v1/auth/logout', { method: 'POST' })).status).toBe(204)
    expect([...jar.kept.keys()]).toEqual([expect.stringContaining('__Host-fh_d_')])
  })
})
