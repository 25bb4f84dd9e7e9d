/** Threat: guessing, one after another or all at once; and a stranger who locks somebody out of what they are doing. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const MINUTES = 60_000
let realm: Inside

beforeAll(async () => {
  await copyTenant('lockout')
  realm = await inside('lockout')
})

const enter = (identifier: string, password: string) =>
  call('lockout', '/api/v1/auth/login', { body: { [identifier.includes('@') ? 'email' : 'username']: identifier, password } })

async function fail(times: number, ...identifiers: string[]) {
  for (let i = 0; i < times; i++)
    expectProblem(await enter(identifiers[i % identifiers.length] ?? '', 'Wrong-1'), 401, 'invalid_credentials')
}

/** The lockout of requests without an address, which are one network. */
const keyOf = (person: Person) => `login:${person.id}:unknown`
const guardOf = async (person: Person) =>
  (await realm.asOwner(sql`select * from freehold.lockouts where key = ${keyOf(person)}`))[0]
const tries = (identifier: string) =>
  realm.asOwner(
    sql`select state, count(*)::int as n from freehold.login_attempts where identifier = ${identifier} group by state order by state`,
  )

/** As if these many tries had just failed. */
const failed = (person: Person, failures: number) =>
  realm.asOwner(
    sql`insert into freehold.lockouts (key) values (${`login:${person.id}`}) on conflict do nothing`,
    sql`insert into freehold.lockouts (key, parent, failures, failed_at, locked_until)
      values (${keyOf(person)}, ${`login:${person.id}`}, ${failures}, now(), case when ${failures} >= 5 then now() + interval '30 minutes' end)
      on conflict (key) do update set failures = excluded.failures, failed_at = excluded.failed_at, locked_until = excluded.locked_until`,
  )

/** Lets `minutes` pass for a guard. */
const wait = (key: string, minutes: number) =>
  realm.asOwner(
    sql`update freehold.lockouts set locked_until = locked_until - make_interval(mins => ${minutes}), failed_at = failed_at - make_interval(mins => ${minutes}) where key = ${key}`,
  )

describe('five failures', () => {
  it('lock a person for 30 minutes, and then the right password is refused', async () => {
    const eva = await addPerson(realm, 'eva')
    await fail(5, 'eva')
    expectProblem(await enter('eva', eva.password), 401, 'invalid_credentials')
    const guard = await guardOf(eva)
    const left = new Date(guard?.locked_until).getTime() - Date.now()
    expect(left).toBeGreaterThan(29 * MINUTES)
    expect(left).toBeLessThanOrEqual(30 * MINUTES)
    expect(await tries('eva')).toEqual([
      { state: 'failed', n: 5 },
      { state: 'refused', n: 1 },
    ])
  })

  it('are counted over username and e-mail together', async () => {
    const finn = await addPerson(realm, 'finn')
    await failed(finn, 2)
    await fail(3, 'finn', finn.email, ' FINN ')
    for (const identifier of ['finn', finn.email])
      expectProblem(await enter(identifier, finn.password), 401, 'invalid_credentials')
  })

  it('lock an identifier that is nobody’s the same way', async () => {
    await fail(6, 'noone')
    const guards = await realm.asOwner(
      sql`select key, parent from freehold.lockouts where key like 'unknown:%' and locked_until > now()`,
    )
    expect(guards).toEqual([{ key: expect.stringMatching(/^unknown:[0-9a-f]{64}:unknown$/), parent: expect.any(String) }])
    expect(await tries(guards[0]?.parent.slice(0, 24))).toEqual([
      { state: 'failed', n: 5 },
      { state: 'refused', n: 1 },
    ])
  })

  it('do not lock anybody else', async () => {
    const gus = await addPerson(realm, 'gus')
    expect((await enter('gus', gus.password)).status).toBe(200)
  })

  it('are forgotten when the lock has run out, all of them', async () => {
    const hana = await addPerson(realm, 'hana')
    await failed(hana, 5)
    await wait(keyOf(hana), 29)
    expectProblem(await enter('hana', hana.password), 401, 'invalid_credentials')
    await wait(keyOf(hana), 2)
    await fail(4, 'hana')
    expect((await enter('hana', hana.password)).status).toBe(200)
  })

  it('are not lengthened by tries while locked', async () => {
    const ivo = await addPerson(realm, 'ivo')
    await failed(ivo, 5)
    const before = await guardOf(ivo)
    await fail(1, 'ivo')
    expect((await guardOf(ivo))?.locked_until).toEqual(before?.locked_until)
  })
})

describe('fewer failures', () => {
  it('are forgotten after a success', async () => {
    const jon = await addPerson(realm, 'jon')
    await failed(jon, 3)
    await fail(1, 'jon')
    expect(await guardOf(jon)).toMatchObject({ failures: 4, locked_until: null })
    expect((await enter('jon', jon.password)).status).toBe(200)
    expect(await guardOf(jon)).toBeUndefined()
  })

  it('are forgotten after half an hour', async () => {
    const kim = await addPerson(realm, 'kim')
    await failed(kim, 4)
    await wait(keyOf(kim), 31)
    await fail(1, 'kim')
    expect(await guardOf(kim)).toMatchObject({ failures: 1, locked_until: null })
  })

  it('count also when the try never came back', async () => {
    const lea = await addPerson(realm, 'lea')
    await failed(lea, 4)
    await realm.asOwner(
      sql`insert into freehold.login_attempts (id, key, guard, user_id, identifier, hash_parameters, state, created_at)
        values (gen_random_uuid(), ${`login:${lea.id}`}, ${keyOf(lea)}, ${lea.id}, 'lea', '', 'pending', now() - interval '31 seconds')`,
    )
    expectProblem(await enter('lea', lea.password), 401, 'invalid_credentials')
    expect((await guardOf(lea))?.failures).toBe(5)
  })
})

describe('at once', () => {
  const DOOR = 'http://lockout.freehold.test/api/v1/auth/login'
  const together = (count: number, bodyOf: (i: number) => unknown) =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        knock(DOOR, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(bodyOf(i)) }),
      ),
    )

  it('30 wrong passwords are 5 comparisons', async () => {
    const mia = await addPerson(realm, 'mia', { fullCost: true })
    const answers = await together(30, (i) => ({
      ...(i % 2 ? { username: 'mia' } : { email: mia.email }),
      password: `Wrong-${i}`,
    }))
    for (const answer of answers) expectProblem(answer, 401, 'invalid_credentials')
    const states = await realm.asOwner(
      sql`select state, count(*)::int as n from freehold.login_attempts where user_id = ${mia.id} group by state order by state`,
    )
    expect(states).toEqual([
      { state: 'failed', n: 5 },
      { state: 'refused', n: 25 },
    ])
    expectProblem(await enter('mia', mia.password), 401, 'invalid_credentials')
  })

  it('20 right logins of one person all succeed', async () => {
    const ned = await addPerson(realm, 'ned', { fullCost: true })
    const answers = await together(20, () => ({ username: 'ned', password: ned.password }))
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200))
    expect(new Set(answers.map((answer) => answer.body.refresh_token)).size).toBe(20)
    expect(await tries('ned')).toEqual([{ state: 'succeeded', n: 20 }])
  })

  it('four wrong ones do not keep the right one out', async () => {
    const ole = await addPerson(realm, 'ole')
    const answers = await together(5, (i) => ({ username: 'ole', password: i === 4 ? ole.password : 'Wrong-1' }))
    expect(answers.map((answer) => answer.status)).toEqual([401, 401, 401, 401, 200])
  })
})

describe('a lock', () => {
  it('does not end what its person is doing: session, refresh and password change go on', async () => {
    const pia = await addPerson(realm, 'pia')
    const { body } = await enter('pia', pia.password)
    await failed(pia, 5)
    expectProblem(await enter('pia', pia.password), 401, 'invalid_credentials')
    expect((await call('lockout', '/api/v1/auth/me', { token: body.access_token })).status).toBe(200)
    const renewed = await call('lockout', '/api/v1/auth/refresh', { body: { refresh_token: body.refresh_token } })
    expect(renewed.status).toBe(200)
    const change = { current_password: pia.password, new_password: 'Marble-Kettle-52' }
    expect(
      (await call('lockout', '/api/v1/auth/password-change', { token: renewed.body.access_token, body: change })).status,
    ).toBe(204)
  })
})
