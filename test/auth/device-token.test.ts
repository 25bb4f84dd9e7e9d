/** Threat: a device token that is forged, foreign, old or stolen gives its bearer guesses that are counted apart; or a way to find out who exists. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { nameOf, newJar } from '../support/jar.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'devices'
const LOGIN = '/api/v1/auth/login'
let realm: Inside
let other: Inside
let cy: Person
let dana: Person

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('devices-too')
  realm = await inside(AT)
  other = await inside('devices-too')
  cy = await addPerson(realm, 'cy')
  dana = await addPerson(realm, 'dana')
  await addPerson(other, 'cy')
})

const ask = (person: Person, more: object = {}, at = AT) =>
  call(at, LOGIN, { body: { username: person.username, password: person.password, ...more } })
const tokenFor = async (person: Person, at = AT): Promise<string> => (await ask(person, {}, at)).body.device_token
/** Locks the network of this test out at a person. */
async function lock(person: Person) {
  for (let i = 0; i < 5; i++) expectProblem(await ask(person, { password: 'Wrong-1' }), 401, 'invalid_credentials')
}
const unlock = (person: Person) => realm.asOwner(sql`select access.clear_failures(${person.id})`)
/** All of an answer but what names this one request. */
function face({ status, body, headers, trips }: Answer) {
  const { trace_id, ...rest } = body
  return { status, trips, rest, names: [...headers.keys()].sort() }
}
/** A token as the database itself makes it. */
async function made(person: Person, device: string, ago: string): Promise<string> {
  const [row] = await realm.asOwner(
    sql`select access.device_token(t, ${person.id}, ${device}::uuid, floor(extract(epoch from now() - ${ago}::interval))::bigint) as token from freehold.tenant t`,
  )
  return row?.token
}

it('is a random id, when it was made, and a signature, and counts for thirty days', async () => {
  const token = await tokenFor(cy)
  expect(token).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d{10}\.[0-9a-f]{64}$/)
  const device = crypto.randomUUID()
  await lock(cy)
  const young = await ask(cy, { device_token: await made(cy, device, '29 days 23 hours') })
  expect([young.status, young.body.device_token.split('.')[0]]).toEqual([200, device])
  expectProblem(await ask(cy, { device_token: await made(cy, device, '30 days 1 minute') }), 401, 'invalid_credentials')
  await unlock(cy)
})

describe('is none, and its login a stranger’s, that is answered like one without a token,', () => {
  const flipped = (token: string, at: number) => {
    const old = token.at(at) ?? ''
    const chars = [...token]
    chars[at < 0 ? token.length + at : at] = old === '0' ? '1' : '0'
    return chars.join('')
  }
  it.each<[string, () => Promise<string>]>([
    ['whose signature is another', async () => flipped(await tokenFor(cy), -1)],
    ['whose device is another', async () => flipped(await tokenFor(cy), 0)],
    ['whose date is another', async () => flipped(await tokenFor(cy), 45)],
    ['of another person', () => tokenFor(dana)],
    ['of another tenant, of the person who has the same name there', () => tokenFor(cy, 'devices-too')],
    ['in capitals', async () => (await tokenFor(cy)).toUpperCase()],
    ['with a space', async () => `${await tokenFor(cy)} `],
    ['twice', async () => `${await tokenFor(cy)}${await tokenFor(cy)}`.slice(0, 255)],
    ['of garbage', async () => 'garbage'],
    ['of SQL', async () => "' or true; --"],
    ['of a device that is no id', async () => `${'0'.repeat(36)}.1700000000.${'0'.repeat(64)}`],
    ['of a date that is none', async () => `${crypto.randomUUID()}.9999999999.${'0'.repeat(64)}`],
  ])('one %s', async (_, token) => {
    const device_token = await token()
    await lock(cy)
    const without = face(await ask(cy))
    expect(face(await ask(cy, { device_token }))).toEqual(without)
    expect(face(await ask({ ...cy, username: 'nobody' }, { device_token }))).toEqual(without)
    await unlock(cy)
  })

  it('one of before a change of the password, by its user or by an administrator', async () => {
    const eva = await addPerson(realm, 'eva')
    const { body } = await ask(eva)
    const change = { current_password: eva.password, new_password: 'Marble-Kettle-52' }
    const changed = await call(AT, '/api/v1/auth/password-change', { token: body.access_token, body: change })
    expect(changed.status).toBe(204)
    eva.password = change.new_password
    await lock(eva)
    expectProblem(await ask(eva, { device_token: body.device_token }), 401, 'invalid_credentials')
    await unlock(eva)
    const device_token = await tokenFor(eva)
    const reset = { new_password: 'Copper-Window-17', must_change_password: false }
    const path = `/api/v1/users/${eva.id}/reset-password`
    expect((await call(AT, path, { token: await tokenOf(AT), body: reset })).status).toBe(200)
    eva.password = reset.new_password
    await lock(eva)
    expectProblem(await ask(eva, { device_token }), 401, 'invalid_credentials')
  })

  it('and it gives its bearer no guess that is counted apart', async () => {
    const fin = await addPerson(realm, 'fin')
    for (let i = 0; i < 5; i++) {
      const device_token = `${crypto.randomUUID()}.${Math.floor(Date.now() / 1000)}.${'0'.repeat(64)}`
      expectProblem(await ask(fin, { password: 'Wrong-1', device_token }), 401, 'invalid_credentials')
    }
    expectProblem(await ask(fin), 401, 'invalid_credentials')
    const rows = await realm.asOwner(sql`select 1 from freehold.lockouts where key like ${`device:${fin.id}:%`}`)
    expect(rows).toEqual([])
  })
})

describe('as a field', () => {
  it.each([
    ['over-long', 'x'.repeat(256)],
    ['with a zero byte', 'a\u0000b'],
    ['empty', ''],
    ['a number', 1],
    ['null', null],
    ['a list', ['x']],
    ['an object', {}],
  ])('that is %s is a 400 that names it', async (_, device_token) => {
    const answer = await ask(cy, { device_token })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/device_token'])
    expect(answer.trips).toBe(0)
  })

  it('of the form counts, an empty one is as if left out, and an over-long one is a 400', async () => {
    const gus = await addPerson(realm, 'gus')
    const device_token = await tokenFor(gus)
    const form = { username: 'gus', password: gus.password }
    expect((await call(AT, LOGIN, { form: { ...form, device_token: '' } })).status).toBe(200)
    await lock(gus)
    expect((await call(AT, LOGIN, { form: { ...form, device_token } })).status).toBe(200)
    expectProblem(await call(AT, LOGIN, { form: { ...form, device_token: '' } }), 401, 'invalid_credentials')
    expectProblem(await call(AT, LOGIN, { form: { ...form, device_token: 'x'.repeat(256) } }), 400, 'invalid_request')
  })

  it('is in the answer to a login, and not in that to a refresh', async () => {
    const { body } = await ask(dana)
    const refreshed = await call(AT, '/api/v1/auth/refresh', { body: { refresh_token: body.refresh_token } })
    expect(refreshed.status).toBe(200)
    expect(refreshed.body).not.toHaveProperty('device_token')
  })
})

describe('as a cookie', () => {
  const enter = (jar = newJar(AT), person = cy) =>
    jar.ask(LOGIN, { body: { username: person.username, password: person.password, cookie: true } })

  it('outlives the logout, lets nobody in, and is known at the next login with cookies', async () => {
    const hal = await addPerson(realm, 'hal')
    const jar = newJar(AT)
    const first = await enter(jar, hal)
    expect(first.body).not.toHaveProperty('device_token')
    const name = nameOf('d', hal.id)
    const token = jar.kept.get(name) ?? ''
    expect((await jar.ask('/api/v1/auth/logout', { method: 'POST' })).status).toBe(204)
    expect([...jar.kept.keys()]).toEqual([name])
    expectProblem(await jar.ask('/api/v1/auth/me'), 401, 'token_missing')
    await lock(hal)
    expectProblem(await enter(newJar(AT), hal), 401, 'invalid_credentials')
    const again = await enter(jar, hal)
    expect([again.status, again.trips]).toEqual([200, 2])
    expect(jar.kept.get(name)?.split('.')[0]).toBe(token.split('.')[0])
    expect(again.headers.getSetCookie().find((line) => line.startsWith(name))).toMatch(
      /; Max-Age=2592000; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    )
  })

  it('of the browser does not count where a login asks for tokens', async () => {
    const ivy = await addPerson(realm, 'ivy')
    const jar = newJar(AT)
    await enter(jar, ivy)
    await lock(ivy)
    expectProblem(await jar.ask(LOGIN, { body: { username: 'ivy', password: ivy.password } }), 401, 'invalid_credentials')
  })

  it.each<[string, (token: string) => string]>([
    ['forged', (token) => `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`],
    ['over-long', (token) => `${token}${'0'.repeat(200)}`],
    ['of garbage', () => '%00%ff'],
    ['a zero byte', () => '%00'],
  ])('that is %s counts as none, and the login goes on as a stranger’s', async (_, change) => {
    const jar = newJar(AT)
    await enter(jar)
    const name = nameOf('d', cy.id)
    jar.kept.set(name, change(jar.kept.get(name) ?? ''))
    await lock(cy)
    expectProblem(await enter(jar), 401, 'invalid_credentials')
    await unlock(cy)
    expect((await enter(jar)).status).toBe(200)
  })

  it('of another account on the same browser does not count for this one', async () => {
    const jar = newJar(AT)
    await enter(jar, dana)
    jar.kept.set(nameOf('d', cy.id), jar.kept.get(nameOf('d', dana.id)) ?? '')
    await lock(cy)
    expectProblem(await enter(jar), 401, 'invalid_credentials')
    await unlock(cy)
  })

  it('stays when an account makes room for a ninth, and goes, the oldest first, when sixteen others have one', async () => {
    const jar = newJar(AT)
    const ids = Array.from({ length: 17 }, () => crypto.randomUUID())
    for (const id of ids) jar.kept.set(nameOf('d', id), 'x')
    const gone = (answer: Answer) =>
      answer.headers
        .getSetCookie()
        .filter((line) => line.includes('Max-Age=0'))
        .map((line) => line.split('=')[0])
    const [first = '', second = '', third = ''] = ids
    expect(gone(await enter(jar))).toEqual([nameOf('d', first), nameOf('d', second)])
    expect(gone(await enter(jar))).toEqual([])
    expect(gone(await enter(jar, dana))).toEqual([nameOf('d', third)])
    expect(jar.kept.has(nameOf('d', cy.id))).toBe(true)
  })
})
