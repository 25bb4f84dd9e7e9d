/** Threat: settings of risk that say nothing; a rehearsal that tells where somebody was, or takes the tenant's compute. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { set } from './cast.ts'

const AT = 'risk-settings'
const NOTHING = {
  new_device: 0,
  new_country: 0,
  new_network: 0,
  impossible_travel: 0,
  failures: 0,
  unusual_hour: 0,
  foreign_token: 0,
  many_accounts: 0,
  breached_password: 0,
}
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('risk-settings-too')
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const patch = (body: unknown) => call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body })
const rehearse = (body: unknown, token = admin, at = AT) => call(at, '/api/v1/settings/risk/rehearse', { token, body })

describe('settings of risk', () => {
  it('are read, and changed one by one', async () => {
    const before = (await call(AT, '/api/v1/settings', { token: admin })).body
    expect(before).toMatchObject({
      risk_weights: { new_device: 20, new_country: 20, new_network: 10, impossible_travel: 40, failures: 20, unusual_hour: 10 },
      risk_suspicious: 50,
      risk_stop: 80,
      risk_action: 'step_up',
      risk_breached: false,
      risk_days: 90,
    })
    const changed = await set(AT, admin, { risk_weights: { new_country: 35 }, risk_suspicious: 40 })
    expect(changed.risk_weights).toEqual({ ...before.risk_weights, new_country: 35 })
    await set(AT, admin, { risk_weights: { new_country: 20 }, risk_suspicious: 50 })
  })

  it.each<[string, object, string[]]>([
    ['a negative weight', { risk_weights: { failures: -1 } }, ['#/risk_weights/failures']],
    ['a weight above 100', { risk_weights: { failures: 101 } }, ['#/risk_weights/failures']],
    ['half a point', { risk_weights: { failures: 0.5 } }, ['#/risk_weights/failures']],
    ['a weight that is a text', { risk_weights: { failures: '1' } }, ['#/risk_weights/failures']],
    ['a weight that is null', { risk_weights: { failures: null } }, ['#/risk_weights/failures']],
    ['a sign that nobody knows', { risk_weights: { moon: 1 } }, ['#/risk_weights/moon']],
    ['weights that are a list', { risk_weights: [1] }, ['#/risk_weights']],
    ['weights that are null', { risk_weights: null }, ['#/risk_weights']],
    ['weights that sum to nothing', { risk_weights: NOTHING }, ['#/risk_weights']],
    ['a threshold of nothing', { risk_suspicious: 0 }, ['#/risk_suspicious']],
    ['a threshold above 100', { risk_stop: 101 }, ['#/risk_stop']],
    ['thresholds that cross', { risk_stop: 49 }, ['#/risk_stop']],
    ['thresholds that cross, by the first', { risk_suspicious: 81 }, ['#/risk_suspicious']],
    ['an action that nobody knows', { risk_action: 'pray' }, ['#/risk_action']],
    ['too few days', { risk_days: 29 }, ['#/risk_days']],
  ])('refuse %s, and say where', async (_, body, where) => {
    const answer = await patch(body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(where)
  })

  it('say in Spanish what is wrong with them', async () => {
    const answer = await call(AT, '/api/v1/settings', {
      token: admin,
      method: 'PATCH',
      body: { risk_weights: NOTHING },
      headers: { 'Accept-Language': 'es' },
    })
    expect(answer.body.errors[0].detail).toMatch(/no pueden sumar cero/)
  })
})

describe('a rehearsal', () => {
  const people: { id: string }[] = []

  beforeAll(async () => {
    for (const name of ['ann', 'bea', 'cal']) people.push(await addPerson(realm, `${name}-rehearsed`))
    const [ann, bea, cal] = people
    const row = (who: { id: string } | undefined, strengths: string, outcome: string, days: number) =>
      sql`insert into freehold.risk_attempts (id, user_id, kind, strengths, score, outcome, created_at)
        select gen_random_uuid(), ${who?.id}, 'login', ${strengths}::integer[],
          access.risk_score(${strengths}::integer[], access.risk_weights(t.risk_weights)), ${outcome}, now() - make_interval(days => ${days})
        from freehold.tenant t`
    await realm.asOwner(
      row(ann, '{100,100,100,0,0,0,0,0,0}', 'allowed', 1),
      row(ann, '{0,0,0,0,0,0,0,0,0}', 'allowed', 2),
      row(bea, '{100,100,100,100,0,0,0,0,0}', 'challenged', 3),
      row(bea, '{100,100,100,100,0,0,0,0,0}', 'passed', 4),
      // Of a release that knew fewer signs.
      row(cal, '{0,0,0,100}', 'allowed', 5),
      row(cal, '{100,100,100,100,100,100,100,100,100}', 'refused', 31),
    )
  })

  it('says in one round trip whom the settings stop now, and whom others would', async () => {
    const answer = await rehearse({ weights: { impossible_travel: 90 }, thresholds: { suspicious: 45, stop: 50 } })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    const { before, after, weights, thresholds, attempts, is_cut } = answer.body
    const counts = (side: any) =>
      Object.fromEntries(Object.entries<any>(side).map(([name, group]) => [name, [group.attempts, group.people]]))
    expect({ attempts: attempts >= 5, is_cut, thresholds }).toEqual({
      attempts: true,
      is_cut: false,
      thresholds: { suspicious: 45, stop: 50 },
    })
    expect(weights).toMatchObject({ impossible_travel: 90, new_device: 20 })
    expect(counts(before)).toEqual({ suspicious: [3, 2], stopped: [2, 1], annoyed: [1, 1] })
    expect(counts(after)).toEqual({ suspicious: [4, 3], stopped: [4, 3], annoyed: [3, 3] })
    const [first] = after.stopped.first
    expect(first).toEqual({
      person: expect.stringMatching(/^[0-9a-f]{16}$/),
      user_id: people[1]?.id,
      attempts: 2,
      highest_score: 100,
      reasons: ['impossible_travel', 'new_country', 'new_device', 'new_network'],
    })
  })

  it('changes nothing', async () => {
    const settings = async () => (await call(AT, '/api/v1/settings', { token: admin })).body
    const before = await settings()
    await rehearse({ weights: { new_device: 100 } })
    expect(await settings()).toEqual(before)
  })

  it('looks at 100,000 attempts at most, the newest, and says that it was cut', async () => {
    const there = await inside('risk-settings-too')
    const who = await addPerson(there, 'many-rehearsed')
    await there.asOwner(
      sql`insert into freehold.risk_attempts (id, user_id, kind, strengths, score, outcome, created_at)
        select gen_random_uuid(), ${who.id}, 'login', array[100 * (n % 2), 100, 100, 100, 0, 0, 0, 0, 0], 70, 'allowed', now() - make_interval(secs => n)
        from generate_series(1, 100005) n`,
    )
    const answer = await rehearse({ weights: { new_device: 10 } }, await tokenOf('risk-settings-too'), 'risk-settings-too')
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(answer.body).toMatchObject({ attempts: 100_000, is_cut: true })
    expect(answer.body.before.stopped).toMatchObject({ attempts: 50_000, people: 1 })
    await there.asOwner(sql`delete from freehold.risk_attempts where user_id = ${who.id}`)
  })

  it.each<[string, unknown, string[]]>([
    ['negative weights', { weights: { failures: -1 } }, ['#/weights/failures']],
    ['weights that sum to nothing', { weights: NOTHING }, ['#/weights']],
    ['a sign that nobody knows', { weights: { moon: 1 } }, ['#/weights/moon']],
    ['thresholds that cross', { thresholds: { suspicious: 90 } }, ['#/thresholds/stop']],
    ['a threshold that is a text', { thresholds: { stop: 'x' } }, ['#/thresholds/stop']],
    ['another field', { days: 1 }, ['#/days']],
  ])('refuses %s', async (_, body, where) => {
    const answer = await rehearse(body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(where)
  })

  it('is for whoever may change settings, and names nobody to who may not read users', async () => {
    const reader = await addPerson(realm, 'reader-rehearsed')
    expectProblem(await rehearse({}, await tokenOf(AT, reader.username)), 403, 'forbidden')
    const made = await call(AT, '/api/v1/roles', {
      token: admin,
      body: { name: 'tuner', permissions: [{ permission: 'setting:update', scope: 'all' }] },
    })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    const tuner = await addPerson(realm, 'tuner-rehearsed', { roles: ['user', 'tuner'] })
    const answer = await rehearse({ thresholds: { suspicious: 50, stop: 50 } }, await tokenOf(AT, tuner.username))
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    const first = answer.body.after.stopped.first
    expect(first.map(({ user_id }: { user_id: string | null }) => user_id)).toEqual(first.map(() => null))
    expect(new Set(first.map(({ person }: { person: string }) => person)).size).toBe(2)
    expect(JSON.stringify(answer.body)).not.toContain(people[0]?.id)
  })

  it('of another tenant has none of it', async () => {
    const answer = await rehearse({}, await tokenOf('risk-settings-too'), 'risk-settings-too')
    expect([answer.status, answer.body.before.suspicious.attempts]).toEqual([200, 0])
    expectProblem(await rehearse({}, admin, 'risk-settings-too'), 401, 'token_wrong_tenant')
  })
})

it('logins are kept for risk_days, and no longer', async () => {
  const who = await addPerson(realm, 'old-risk')
  await realm.asOwner(
    sql`insert into freehold.risk_attempts (id, user_id, kind, outcome, created_at)
      select gen_random_uuid(), ${who.id}, 'login', 'allowed', now() - make_interval(days => n) from unnest(array[29, 31, 89, 91]) n`,
  )
  const left = async () => {
    await realm.asOwner(sql`select access.purge(1000)`)
    const rows = await realm.asOwner(
      sql`select extract(day from now() - created_at)::integer as days from freehold.risk_attempts where user_id = ${who.id} order by 1`,
    )
    return rows.map(({ days }) => days)
  }
  expect(await left()).toEqual([29, 31, 89])
  await set(AT, admin, { risk_days: 30 })
  expect(await left()).toEqual([29])
})
