/** Threat: a stranger keeps somebody out with wrong passwords, or guesses for ever from ever new networks. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { type Heard, knock } from '../support/knock.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'strangers'
const WRONG = 'Wrong-1'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

type From = { ip?: string; device?: string }
const ask = (username: string, password: string, { ip, device }: From = {}, at = AT, plane = '/api/v1') =>
  call(at, `${plane}/auth/login`, {
    headers: ip === undefined ? {} : { 'CF-Connecting-IP': ip },
    body: { username, password, ...(device !== undefined && { device_token: device }) },
  })

async function fail(times: number, username: string, from: From | ((i: number) => From) = {}, at = AT, plane = '/api/v1') {
  for (let i = 0; i < times; i++)
    expectProblem(await ask(username, WRONG, typeof from === 'function' ? from(i) : from, at, plane), 401, 'invalid_credentials')
}

/** The device token of a login that goes well. */
async function deviceOf(person: Person, from: From = {}): Promise<string> {
  const answer = await ask(person.username, person.password, from)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body.device_token
}
/** Requests at once, which may wait for each other. */
const together = (times: number, username: string, password: string, from: (i: number) => From, at = AT) =>
  Promise.all(
    Array.from({ length: times }, (_, i) => {
      const { ip, device } = from(i)
      return knock(`http://${at}.freehold.test/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(ip !== undefined && { 'CF-Connecting-IP': ip }) },
        body: JSON.stringify({ username, password, ...(device !== undefined && { device_token: device }) }),
      })
    }),
  )
const idOf = (token: string) => token.split('.')[0]
const isOut = (answer: Answer | Heard) => expectProblem(answer, 401, 'invalid_credentials')
const isIn = (answer: Answer) => expect(answer.status, JSON.stringify(answer.body)).toBe(200)
const lockoutsOf = (person: Person) =>
  realm.asOwner(
    sql`select key, failures, locked_until > now() as is_locked from freehold.lockouts where ${`login:${person.id}`} in (key, parent) order by key`,
  )
const HERE = '198.51.100.7'
const THERE = '203.0.113.9'
/** Each in a network of its own. */
const anywhere = (i: number) => ({ ip: `192.0.2.${i}` })

describe('five wrong passwords of a stranger', () => {
  it('lock their network out, and no other; a device that logged in before is let in from there, too', async () => {
    const ada = await addPerson(realm, 'ada')
    const device = await deviceOf(ada, { ip: HERE })
    await fail(5, 'ada', { ip: THERE })
    isOut(await ask('ada', ada.password, { ip: THERE }))
    isIn(await ask('ada', ada.password, { ip: HERE }))
    const answer = await ask('ada', ada.password, { ip: THERE, device })
    isIn(answer)
    expect(answer.trips).toBe(2)
    isOut(await ask('ada', ada.password, { ip: THERE }))
  })

  it.each([
    ['of the same /64', '2001:db8:1:2::1', '2001:0DB8:1:2:ffff::9', 401],
    ['of another /64', '2001:db8:1:2::1', '2001:db8:1:3::1', 200],
    ['of an IPv4 address and the same mapped into IPv6', '203.0.113.20', '::ffff:203.0.113.20', 401],
    ['of two IPv4 addresses', '203.0.113.21', '203.0.113.22', 200],
    ['of what is no address', 'nonsense', '', 401],
  ])('from addresses %s', async (name, one, other, status) => {
    const username = `net-${name.replace(/\W+/g, '-').toLowerCase()}`
    const person = await addPerson(realm, username)
    await fail(5, username, { ip: one })
    expect((await ask(username, person.password, { ip: other })).status).toBe(status)
  })

  it('are told to their person, once while several networks are locked', async () => {
    const bo = await addPerson(realm, 'bob')
    await fail(5, 'bob', { ip: HERE })
    await fail(5, 'bob', { ip: THERE })
    expect(await sentTo(realm, bo.email)).toEqual(['account_locked'])
    const [mail] = await realm.asOwner(sql`select data from freehold.mails where user_id = ${bo.id}`)
    expect(mail?.data).toEqual({ network: HERE, until: expect.any(String) })
  })
})

describe('wrong passwords from many networks at one person', () => {
  it('are fifty within half an hour; then strangers are refused everywhere, and known devices go on', async () => {
    const cy = await addPerson(realm, 'cyd')
    const device = await deviceOf(cy)
    await fail(49, 'cyd', (i) => anywhere(i))
    isIn(await ask('cyd', cy.password, { ip: THERE }))
    await fail(1, 'cyd', { ip: HERE })
    for (const ip of [HERE, THERE, '203.0.113.77']) isOut(await ask('cyd', cy.password, { ip }))
    isIn(await ask('cyd', cy.password, { ip: THERE, device }))
    isOut(await ask('cyd', cy.password, { ip: THERE }))
    expect(await sentTo(realm, cy.email)).toEqual(['account_locked'])
    const all = (await lockoutsOf(cy)).find(({ key }) => key === `login:${cy.id}`)
    expect(all).toMatchObject({ failures: 50, is_locked: true })
  })

  it('are forgotten half an hour after the first of them, though there was one every minute', async () => {
    const dee = await addPerson(realm, 'dee')
    await fail(2, 'dee', (i) => anywhere(i))
    await realm.asOwner(
      sql`update freehold.lockouts set failures = 49, failed_at = failed_at - interval '31 minutes' where key = ${`login:${dee.id}`}`,
    )
    await fail(1, 'dee', anywhere(7))
    expect((await lockoutsOf(dee))[0]).toMatchObject({ failures: 1 })
    isIn(await ask('dee', dee.password, { ip: HERE }))
  })

  it('are not forgiven by a login of a stranger that goes well, which clears its own network alone', async () => {
    const eva = await addPerson(realm, 'eva')
    await fail(3, 'eva', { ip: HERE })
    await fail(2, 'eva', { ip: THERE })
    isIn(await ask('eva', eva.password, { ip: HERE }))
    expect(await lockoutsOf(eva)).toEqual([
      { key: `login:${eva.id}`, failures: 5, is_locked: null },
      { key: `login:${eva.id}:${THERE}`, failures: 2, is_locked: null },
    ])
  })

  it('are as few at once: thirty from thirty networks are ten comparisons where one is too many of a network', async () => {
    await copyTenant('strangers-at-once')
    const there = await inside('strangers-at-once')
    const { id } = await addPerson(there, 'fay')
    await there.asOwner(sql`update freehold.tenant set max_failures = 1`)
    const answers = await together(30, 'fay', WRONG, anywhere, 'strangers-at-once')
    for (const answer of answers) isOut(answer)
    const states = await there.asOwner(
      sql`select state, count(*)::int as n from freehold.login_attempts where user_id = ${id} group by state order by state`,
    )
    expect(states).toEqual([
      { state: 'failed', n: 10 },
      { state: 'refused', n: 20 },
    ])
  })
})

it('an identifier that nobody has has the same rows and the same answers as one that somebody has, in one network and in many', async () => {
  await copyTenant('strangers-alike')
  const there = await inside('strangers-alike')
  await addPerson(there, 'gil')
  await there.asOwner(sql`update freehold.tenant set max_failures = 1`)
  const face = ({ status, body, trips }: Answer) => {
    const { trace_id, ...rest } = body
    return { status, trips, rest }
  }
  const answers: Record<string, unknown[]> = { gil: [], 'gil-who': [] }
  for (const username of ['gil', 'gil-who'])
    for (let i = 0; i < 13; i++) answers[username]?.push(face(await ask(username, WRONG, anywhere(i % 11), 'strangers-alike')))
  expect(answers.gil).toEqual(answers['gil-who'])
  const rows = await there.asOwner(
    sql`select g.key like 'unknown:%' as is_nobody, g.parent is null as is_all, g.failures, g.locked_until > now() as is_locked, count(*)::int as n
      from freehold.lockouts g group by 1, 2, 3, 4 order by 2 desc`,
  )
  const of = (is_nobody: boolean) => rows.filter((row) => row.is_nobody === is_nobody).map(({ is_nobody: _, ...rest }) => rest)
  expect(of(true)).toEqual([
    { is_all: true, failures: 10, is_locked: true, n: 1 },
    { is_all: false, failures: 1, is_locked: true, n: 10 },
  ])
  expect(of(false)).toEqual(of(true))
})

describe('a device that logged in before', () => {
  it('has five failures of its own, wherever it is; then it is locked, and strangers and other devices are not', async () => {
    const hal = await addPerson(realm, 'hal')
    const [device, other] = [await deviceOf(hal), await deviceOf(hal)]
    expect(idOf(device)).not.toBe(idOf(other))
    await fail(5, 'hal', (i) => ({ device, ...anywhere(i) }))
    isOut(await ask('hal', hal.password, { device, ip: HERE }))
    isIn(await ask('hal', hal.password, { device: other, ip: HERE }))
    isIn(await ask('hal', hal.password, { ip: HERE }))
    expect(await sentTo(realm, hal.email)).toEqual(['device_locked'])
    const [own] = await realm.asOwner(
      sql`select failures, locked_until > now() as is_locked from freehold.lockouts where key = ${`device:${hal.id}:${idOf(device)}`}`,
    )
    expect(own).toEqual({ failures: 5, is_locked: true })
  })

  it('keeps its id from login to login, and a success forgives its failures alone', async () => {
    const ida = await addPerson(realm, 'ida')
    const device = await deviceOf(ida)
    await fail(4, 'ida', { device })
    await fail(4, 'ida')
    const again = await ask('ida', ida.password, { device })
    expect(idOf(again.body.device_token)).toBe(idOf(device))
    expect((await lockoutsOf(ida)).map(({ failures }) => failures)).toEqual([4, 4])
    await fail(4, 'ida', { device: again.body.device_token })
    isIn(await ask('ida', ida.password, { device }))
  })

  it('logs in twenty times at once with one token', async () => {
    const joy = await addPerson(realm, 'joy')
    const device = await deviceOf(joy)
    await fail(5, 'joy')
    const answers = await together(20, 'joy', joy.password, () => ({ device }))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(new Set(answers.map(({ body }) => idOf(body.device_token)))).toEqual(new Set([idOf(device)]))
  })

  it('guesses five times at once with one token, and no more', async () => {
    const kai = await addPerson(realm, 'kai')
    const device = await deviceOf(kai)
    const answers = await together(20, 'kai', WRONG, (i) => ({ device, ...anywhere(i) }))
    for (const answer of answers) isOut(answer)
    const states = await realm.asOwner(
      sql`select state, count(*)::int as n from freehold.login_attempts where user_id = ${kai.id} group by state order by state`,
    )
    expect(states).toEqual([
      { state: 'failed', n: 5 },
      { state: 'refused', n: 15 },
      { state: 'succeeded', n: 1 },
    ])
    isIn(await ask('kai', kai.password))
  })
})

describe('all lockouts of a person are cleared', () => {
  /** Locks a device and a network of a person, and all strangers. */
  async function lockedOut(username: string) {
    const person = await addPerson(realm, username)
    const device = await deviceOf(person)
    await fail(5, username, { device })
    await fail(5, username)
    await realm.asOwner(
      sql`update freehold.lockouts set failures = 50, locked_until = now() + interval '30 minutes' where key = ${`login:${person.id}`}`,
    )
    for (const from of [{ device }, {}, { ip: THERE }]) isOut(await ask(username, person.password, from))
    return { person, device }
  }

  it('by an administrator who unlocks them', async () => {
    const { person, device } = await lockedOut('lea')
    const token = await tokenOf(AT)
    expect((await call(AT, `/api/v1/users/${person.id}/unlock`, { method: 'POST', token })).status).toBe(204)
    expect((await lockoutsOf(person)).map(({ key }) => key)).toEqual([`login:${person.id}`])
    for (const from of [{ device }, {}, { ip: THERE }]) isIn(await ask('lea', person.password, from))
  })

  it('by a reset of their password', async () => {
    const { person } = await lockedOut('mia')
    const token = await tokenOf(AT)
    const password = 'Copper-Window-17'
    const body = { new_password: password, must_change_password: false }
    expect((await call(AT, `/api/v1/users/${person.id}/reset-password`, { token, body })).status).toBe(200)
    for (const from of [{}, { ip: THERE }]) isIn(await ask('mia', password, from))
  })
})

it('an operator whom strangers of their own network lock out logs in with their device', async () => {
  const platform = await inside('')
  const nia = await addPerson(platform, 'nia', { roles: ['auditor'] })
  const enter = (from: From) => ask('nia', nia.password, from, '', '/platform/v1')
  const { body } = await enter({ ip: HERE })
  await fail(5, 'nia', { ip: HERE }, '', '/platform/v1')
  isOut(await enter({ ip: HERE }))
  isIn(await enter({ ip: HERE, device: body.device_token }))
  expect(inject('operator').email).not.toBe(nia.email)
})

it('a change of the password has failures of its own, which no stranger reaches', async () => {
  const oda = await addPerson(realm, 'oda')
  const { body } = await ask('oda', oda.password)
  await fail(5, 'oda')
  const change = { current_password: oda.password, new_password: 'Marble-Kettle-52' }
  expect((await call(AT, '/api/v1/auth/password-change', { token: body.access_token, body: change })).status).toBe(204)
})

it('a limit that is lowered below the failures there were locks out, of a network, a device and all strangers alike', async () => {
  const at = 'strangers-lowered'
  await copyTenant(at)
  const there = await inside(at)
  const [hal, ida] = [await addPerson(there, 'hal'), await addPerson(there, 'ida')]
  const { body } = await ask('hal', hal.password, { ip: THERE }, at)
  const device = body.device_token
  await fail(3, 'hal', { ip: HERE }, at)
  await fail(3, 'hal', { device }, at)
  await fail(20, 'ida', anywhere, at)
  await there.asOwner(sql`update freehold.tenant set max_failures = 2`)
  for (const answer of [
    await ask('hal', hal.password, { ip: HERE }, at),
    await ask('hal', hal.password, { device }, at),
    await ask('ida', ida.password, { ip: THERE }, at),
  ]) {
    isOut(answer)
    expect(answer.trips).toBe(2)
  }
  isIn(await ask('hal', hal.password, { ip: THERE }, at))
})
