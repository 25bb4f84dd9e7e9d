/** Threat: sessions that nobody uses any more stay open for a thief; or a login ends the session of somebody else. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { type Jar, nameOf, newJar, originOf } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'replacing'
let realm: Inside
let cy: Person
let dana: Person

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  cy = await addPerson(realm, 'cy')
  dana = await addPerson(realm, 'dana')
})

const ME = '/api/v1/auth/me'
const LOGOUT = '/api/v1/auth/logout'
async function enter(person: Person, jar: Jar = newJar(AT)): Promise<Jar> {
  const body = { username: person.username, password: person.password, cookie: true }
  const answer = await jar.ask('/api/v1/auth/login', { body })
  expect([answer.status, answer.trips]).toEqual([200, 2])
  return jar
}
const twinOf = (jar: Jar) => {
  const twin = newJar(AT)
  for (const [name, value] of jar.kept) twin.kept.set(name, value)
  return twin
}
const as = (person: Person) => ({ headers: { 'X-Account': person.id } })
const openOf = async (person: Person) =>
  (
    await realm.asOwner(sql`select count(*)::int as n from freehold.sessions where user_id = ${person.id} and ended_at is null`)
  )[0]?.n

describe('a second login of an account in one browser', () => {
  it('ends the session whose cookies it replaces, in the same round trips, and the history says so', async () => {
    const eva = await addPerson(realm, 'eva')
    const jar = await enter(eva)
    const before = twinOf(jar)
    await enter(eva, jar)
    expectProblem(await before.ask(ME), 401, 'session_ended')
    expect((await jar.ask(ME)).status).toBe(200)
    expect(await openOf(eva)).toBe(1)
    const { body } = await jar.ask('/api/v1/sessions/history')
    expect(body.data.map((entry: any) => [entry.activity_type, entry.reason])).toContainEqual(['LOGOUT', 'replaced'])
  })

  it('ends it also where the refresh token was exchanged before, and where only that is left of the cookies', async () => {
    const fay = await addPerson(realm, 'fay')
    const jar = await enter(fay)
    const stale = twinOf(jar)
    expect((await jar.ask('/api/v1/auth/refresh', { body: {}, only: 'r' })).status).toBe(200)
    stale.kept.delete(nameOf('a', fay.id))
    await enter(fay, stale)
    expectProblem(await jar.ask(ME), 401, 'session_ended')
  })

  it('leaves the sessions of other accounts of the browser, and those of other browsers', async () => {
    const [elsewhere, jar] = [await enter(cy), await enter(cy)]
    await enter(dana, jar)
    await enter(cy, jar)
    expect((await jar.ask(ME, as(dana))).body.username).toBe('dana')
    expect((await elsewhere.ask(ME)).status).toBe(200)
  })

  it('leaves them where it asks for tokens', async () => {
    const jar = await enter(cy)
    const answer = await jar.ask('/api/v1/auth/login', { body: { username: 'cy', password: cy.password } })
    expect(answer.body.token_type).toBe('Bearer')
    expect((await jar.ask(ME)).status).toBe(200)
  })

  it('that fails ends nothing', async () => {
    const jar = await enter(cy)
    const body = { username: 'cy', password: 'Wrong-1', cookie: true }
    expectProblem(await jar.ask('/api/v1/auth/login', { body }), 401, 'invalid_credentials')
    expect((await jar.ask(ME)).status).toBe(200)
  })

  it.each<[string, (victim: Jar, own: Jar) => string | undefined]>([
    ['the refresh token of somebody else', (victim) => victim.kept.get(nameOf('r', dana.id))],
    ['their access token, as a refresh token', (victim) => victim.kept.get(nameOf('a', dana.id))],
    ['garbage', () => 'garbage'],
    ['what is no text', () => '%00%ff'],
  ])('ends nothing with %s in its cookie', async (_, cookie) => {
    const victim = await enter(dana)
    const [own, forged] = [await enter(cy), newJar(AT)]
    forged.kept.set(nameOf('r', cy.id), cookie(victim, own) ?? '')
    await enter(cy, forged)
    expect((await victim.ask(ME)).status).toBe(200)
    expect((await own.ask(ME)).status).toBe(200)
  })

  it('ends it once where twenty log in at once, and all of them get in', async () => {
    const gus = await addPerson(realm, 'gus')
    await realm.asOwner(sql`update freehold.users set max_sessions = 50 where id = ${gus.id}`)
    const jar = await enter(gus)
    const asked = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Origin: originOf(AT), Cookie: jar.header() },
      body: JSON.stringify({ username: 'gus', password: gus.password, cookie: true }),
    }
    const answers = await Promise.all(Array.from({ length: 20 }, () => knock(`${originOf(AT)}/api/v1/auth/login`, asked)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    const rows = await realm.asOwner(
      sql`select ended_because, count(*)::int as n from freehold.sessions where user_id = ${gus.id} group by 1 order by 1`,
    )
    expect(rows).toEqual([
      { ended_because: 'replaced', n: 1 },
      { ended_because: null, n: 20 },
    ])
  })
})

describe('Clear-Site-Data', () => {
  const SAID = '"cache", "storage"'
  it.each([LOGOUT, '/api/v1/auth/logout-all'])(
    'empties cache and storage at POST %s with cookies, and never cookies: those of other accounts and the device stay',
    async (path) => {
      const jar = await enter(cy)
      await enter(dana, jar)
      const answer = await jar.ask(path, { method: 'POST', ...as(cy) })
      expect([answer.status, answer.headers.get('Clear-Site-Data')]).toEqual([204, SAID])
      expect((await jar.ask(ME)).body.username).toBe('dana')
      expect(jar.kept.has(nameOf('d', cy.id))).toBe(true)
    },
  )

  it('is sent too when the session had ended before', async () => {
    const jar = await enter(cy)
    const twin = twinOf(jar)
    await twin.ask(LOGOUT, { method: 'POST' })
    const answer = await jar.ask(LOGOUT, { method: 'POST' })
    expectProblem(answer, 401, 'session_ended')
    expect(answer.headers.get('Clear-Site-Data')).toBe(SAID)
  })

  it('is not sent at a logout with a token, nor anywhere else', async () => {
    const { body } = await call(AT, '/api/v1/auth/login', { body: { username: 'cy', password: cy.password } })
    const out = await call(AT, LOGOUT, { method: 'POST', token: body.access_token })
    expect([out.status, out.headers.get('Clear-Site-Data')]).toEqual([204, null])
    const jar = await enter(cy)
    for (const answer of [await jar.ask(ME), await jar.ask('/api/v1/auth/refresh', { body: {}, only: 'r' })])
      expect(answer.headers.get('Clear-Site-Data')).toBeNull()
  })
})
