/** Threat: two settings that contradict each other, of which the weaker one counts and nobody sees it. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'at-odds'
const FIRST = {
  idle_days: 7,
  idle_minutes: null,
  session_days: 30,
  password_days: 90,
  password_warning_days: 14,
  password_min_length: 8,
  password_unique: 5,
}
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
})

const patch = (body: object, headers = {}) => call(AT, '/api/v1/settings', { token, method: 'PATCH', body, headers })
const read = async () => {
  const { body } = await call(AT, '/api/v1/settings', { token })
  return Object.fromEntries(Object.keys(FIRST).map((name) => [name, body[name]]))
}
/** Past the rule, as a database is that was set so before there was one. */
const plant = (idle_days: number, session_days: number) =>
  realm.asOwner(
    sql`alter table freehold.tenant disable trigger before_tenant`,
    sql`update freehold.tenant set idle_days = ${idle_days}, session_days = ${session_days}`,
    sql`alter table freehold.tenant enable trigger before_tenant`,
  )
afterEach(async () => {
  expect((await patch(FIRST)).status).toBe(200)
})

describe('settings that contradict each other are refused', () => {
  it.each<[string, object, object, string, string]>([
    [
      'a session that is shorter than its idle time',
      {},
      { session_days: 1 },
      'session_days',
      'must be at least 7 while idle_days is 7',
    ],
    [
      'an idle time that is longer than a session',
      {},
      { idle_days: 31 },
      'idle_days',
      'must be at most 30 while session_days is 30',
    ],
    [
      'the same in minutes',
      { session_days: 7 },
      { idle_minutes: 7 * 1440 + 1 },
      'idle_minutes',
      'must be at most 10080 while session_days is 7',
    ],
    [
      'a session that is shorter than its idle time in minutes',
      { idle_minutes: 1441 },
      { session_days: 1 },
      'session_days',
      'must be at least 2 while idle_minutes is 1441',
    ],
    [
      'minutes that are taken away from over days that are too many',
      { idle_days: 7, idle_minutes: 15, session_days: 1 },
      { idle_minutes: null },
      'idle_days',
      'must be at most 1 while session_days is 1',
    ],
    [
      'a warning that comes before the password does',
      {},
      { password_warning_days: 91 },
      'password_warning_days',
      'must be at most 90 while password_days is 90',
    ],
    [
      'an age below its warning',
      {},
      { password_days: 13 },
      'password_days',
      'must be at least 14 while password_warning_days is 14',
    ],
    [
      'more different characters than a password needs to have',
      {},
      { password_unique: 9 },
      'password_unique',
      'must be at most 8 while password_min_length is 8',
    ],
    [
      'a length below its different characters',
      { password_min_length: 20, password_unique: 20 },
      { password_min_length: 19 },
      'password_min_length',
      'must be at least 20 while password_unique is 20',
    ],
    [
      'both at once, which are wrong together',
      {},
      { session_days: 2, idle_days: 3 },
      'idle_days',
      'must be at most 2 while session_days is 2',
    ],
  ])('%s', async (_, before, wrong, field, said) => {
    expect((await patch(before)).status).toBe(200)
    const was = await read()
    const answer = await patch(wrong)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([`#/${field}`])
    expect(answer.body.errors[0].detail).toMatch(new RegExp(`^${said}: to set (more|less), change both in one request$`))
    expect(await read()).toEqual(was)
  })

  it('all of them at once, in both languages', async () => {
    const wrong = { session_days: 1, password_warning_days: 365, password_unique: 32 }
    const answer = await patch(wrong)
    expect(pointers(answer)).toEqual(['#/password_unique', '#/password_warning_days', '#/session_days'])
    const spanish = await patch(wrong, { 'Accept-Language': 'es' })
    expect(pointers(spanish)).toEqual(pointers(answer))
    for (const { detail } of spanish.body.errors)
      expect(detail).toMatch(/^debe ser como (máximo|mínimo) \d+ mientras \w+ sea \d+: /)
    expect(await read()).toEqual(FIRST)
  })

  it('also of two requests at once, of which each is right by itself', async () => {
    for (let round = 0; round < 8; round++) {
      await patch({ idle_days: 5, session_days: 20 })
      const answers = await Promise.all([patch({ idle_days: 20 }), patch({ session_days: 5 })])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
      const { idle_days, session_days } = await read()
      expect(Number(idle_days)).toBeLessThanOrEqual(Number(session_days))
    }
  })

  it('by the database, whoever asks it', async () => {
    const change = realm.asOwner(sql`update freehold.tenant set session_days = 1`)
    await expect(change).rejects.toMatchObject({ code: 'FH400', hint: 'session_days' })
  })
})

describe('settings that do not contradict each other are taken', () => {
  it.each<[string, object]>([
    ['two that change together', { session_days: 1, idle_days: 1 }],
    ['an idle time that is as long as a session', { session_days: 1, idle_minutes: 1440 }],
    ['a warning of any length where passwords do not age', { password_days: 0, password_warning_days: 365 }],
    ['as many different characters as there are', { password_min_length: 32, password_unique: 32 }],
    [
      'an access token that would outlive its session, because it does not',
      { session_days: 1, idle_days: 1, access_minutes: 10_080 },
    ],
  ])('%s', async (_, right) => {
    const answer = await patch(right)
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(answer.body).toMatchObject(right)
    await patch({ access_minutes: 15 })
  })

  it('what contradicted itself before does not hold up another change, until one of the two is changed', async () => {
    await plant(9, 3)
    expect((await patch({ lock_minutes: 31 })).status).toBe(200)
    expect((await patch({ ...(await read()), lock_minutes: 30 })).status).toBe(200)
    expect(pointers(await patch({ session_days: 4 }))).toEqual(['#/session_days'])
    expect(pointers(await patch({ idle_days: 8 }))).toEqual(['#/idle_days'])
    expect((await patch({ idle_days: 3 })).status).toBe(200)
  })
})

describe('the idle time', () => {
  it('in minutes takes the place of that in days, and both are read', async () => {
    expect((await patch({ idle_minutes: 15 })).body).toMatchObject({ idle_minutes: 15, idle_days: 7 })
    expect(await read()).toMatchObject({ idle_minutes: 15, idle_days: 7 })
  })

  it('in days, set alone, is what counts again, also where the number is what it was', async () => {
    await patch({ idle_minutes: 15 })
    expect((await patch({ idle_days: 7 })).body).toMatchObject({ idle_minutes: null, idle_days: 7 })
    expect((await patch({ idle_days: 2, idle_minutes: 20 })).body).toMatchObject({ idle_minutes: 20, idle_days: 2 })
    expect((await patch({ session_days: 29 })).body).toMatchObject({ idle_minutes: 20, idle_days: 2 })
  })
})
