/**
 * Logins of imported users, whose hashes another system made. Threat: such a hash costs seconds, so that a stranger who sends wrong
 * passwords keeps everybody else waiting; and what is done against that tells who was imported.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fromForeign } from '../../src/passwords/foreign-hash.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { type Heard, knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

/** A published vector (test/passwords/foreign-hash.test.ts), of the least cost. */
const [PASSWORD, HASH] = ['Kk4DQuMMfZL9o', '$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm']
const AT = 'foreigners'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(`${AT}-next`)
  realm = await inside(AT)
})

/** Lets the minute pass in which ten hashes of other systems may be computed. */
const aMinuteLater = (at = realm) =>
  at.asOwner(sql`update freehold.login_attempts set created_at = created_at - interval '1 minute'`)
beforeEach(() => aMinuteLater())

/** Somebody who was imported with a hash and has not logged in. */
async function imported(username: string, hash: string = HASH, at = realm): Promise<Person> {
  const person = await addPerson(at, username)
  const taken = fromForeign(hash)
  if (!('stored' in taken)) throw new Error(JSON.stringify(taken))
  await at.asOwner(sql`update freehold.passwords set password_hash = ${taken.stored} where user_id = ${person.id}`)
  return { ...person, password: PASSWORD }
}
const many = (name: string, count: number) => Promise.all(Array.from({ length: count }, (_, i) => imported(`${name}-${i}`)))

const enter = (username: string, password: string) => call(AT, '/api/v1/auth/login', { body: { username, password } })
const together = (asked: [string, string][]): Promise<Heard[]> =>
  Promise.all(
    asked.map(([username, password]) =>
      knock(`http://${AT}.freehold.test/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ username, password }),
      }),
    ),
  )

/** The attempts of a user, or of one who is not there, oldest first: how each ended, and whether a hash of another system was computed for it. */
const attemptsOf = async (identifier: string) =>
  (
    await realm.asOwner(
      sql`select state, access.is_foreign(hash_parameters) as is_foreign from freehold.login_attempts where identifier = ${identifier} or (${identifier} = '' and user_id is null) order by created_at`,
    )
  ).map(({ state, is_foreign }) => `${state}${is_foreign ? ' foreign' : ''}`)
const failuresOf = async ({ id }: Person) =>
  (await realm.asOwner(sql`select failures from freehold.lockouts where key = ${`login:${id}`}`))[0]?.failures ?? 0

/** Computes as many hashes of other systems as there may be in a minute. */
const useUp = async (name: string) => {
  const people = await many(name, 10)
  const answers = await together(people.map(({ username }) => [username, 'Wrong-1']))
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(401))
}
/** All of an answer but what names this one request. */
const face = ({ status, body, headers }: { status: number; body: any; headers: Headers }) => {
  const { trace_id, ...rest } = body
  return { status, rest, names: [...headers.keys()].sort() }
}

describe('a hash of another system is computed for an attempt that can succeed', () => {
  it('and so not for tries 6 and 7 of somebody who is locked, which cost what those of an unknown identifier cost', async () => {
    await imported('eva')
    const real = crypto.subtle.deriveBits
    let derived = 0
    Object.defineProperty(crypto.subtle, 'deriveBits', {
      configurable: true,
      value: (...given: Parameters<typeof real>) => {
        derived++
        return real.apply(crypto.subtle, given)
      },
    })
    const costs: Record<string, number[]> = { eva: [], noone: [] }
    try {
      for (const username of ['eva', 'noone'])
        for (let i = 0; i < 7; i++) {
          const before = derived
          expectProblem(await enter(username, 'Wrong-1'), 401, 'invalid_credentials')
          costs[username]?.push(derived - before)
        }
    } finally {
      Object.defineProperty(crypto.subtle, 'deriveBits', { configurable: true, value: real })
    }
    expect(await attemptsOf('eva')).toEqual([...Array(5).fill('failed foreign'), 'refused', 'refused'])
    expect(await attemptsOf('')).toEqual([...Array(5).fill('failed'), 'refused', 'refused'])
    expect(costs.eva?.slice(5)).toEqual(costs.noone?.slice(5))
  })

  it('and so not for somebody who is not active', async () => {
    const { id } = await imported('gone')
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${id}`)
    expectProblem(await enter('gone', PASSWORD), 401, 'invalid_credentials')
    expect(await attemptsOf('gone')).toEqual(['failed'])
  })
})

describe('ten are computed for a tenant in a minute', () => {
  it('the eleventh is told to wait, though its password is right, is not counted as a failure, and gets in later', async () => {
    await useUp('ten')
    const late = await imported('late')
    const answer = await enter('late', PASSWORD)
    expectProblem(answer, 429, 'rate_limited')
    expect(answer.body.detail).toBe('The credentials are not valid, or too many imported users log in at once.')
    const seconds = Number(answer.headers.get('Retry-After'))
    expect(seconds).toBeGreaterThan(30)
    expect(seconds).toBeLessThanOrEqual(60)
    for (let i = 0; i < 6; i++) await enter('late', 'Wrong-1')
    expect(await attemptsOf('late')).toEqual(Array(7).fill('deferred'))
    expect(await failuresOf(late)).toBe(0)
    const [entry] = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'LOGIN_FAILED' and l.trace_id = ${answer.body.trace_id}`,
    )
    expect(entry?.after).toEqual({ reason: 'rate_limited' })
    await aMinuteLater()
    expect((await enter('late', PASSWORD)).status).toBe(200)
  })

  it('and whoever fails in such a minute is answered alike: imported or not, known or not, locked or not', async () => {
    await useUp('same')
    await imported('same-imported')
    const locked = await addPerson(realm, 'same-locked')
    await addPerson(realm, 'same-own')
    await realm.asOwner(
      sql`insert into freehold.lockouts (key, failures, failed_at, locked_until) values (${`login:${locked.id}`}, 5, now(), now() + interval '30 minutes')`,
    )
    const answers = []
    for (const [username, password] of [
      ['same-imported', PASSWORD],
      ['same-imported', 'Wrong-1'],
      ['same-locked', locked.password],
      ['same-own', 'Wrong-1'],
      ['same-nobody', 'Wrong-1'],
    ] as const)
      answers.push(face(await enter(username, password)))
    expect(answers[0]?.status).toBe(429)
    for (const answer of answers) expect(answer).toEqual(answers[0])
  })

  it('and whoever has a password of ours logs in in such a minute, and is counted when they fail', async () => {
    await useUp('own')
    const own = await addPerson(realm, 'own-user')
    expectProblem(await enter('own-user', 'Wrong-1'), 429, 'rate_limited')
    expect(await failuresOf(own)).toBe(1)
    expect((await enter('own-user', own.password)).status).toBe(200)
  })

  it('also when twenty people log in at once: ten get in, the others when the minute is over', async () => {
    const people = await many('crowd', 20)
    const asked = people.map(({ username }): [string, string] => [username, PASSWORD])
    const answers = await together(asked)
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(10).fill(200), ...Array(10).fill(429)])
    await aMinuteLater()
    const left = asked.filter((_, i) => answers[i]?.status === 429)
    expect((await together(left)).map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect((await together(asked)).map(({ status }) => status)).toEqual(Array(20).fill(200))
  })

  it('also when one guesser tries twenty passwords of each of four people at once', async () => {
    const people = await many('prey', 4)
    await together(
      people.flatMap(({ username }) => Array.from({ length: 20 }, (_, i): [string, string] => [username, `Wrong-${i}`])),
    )
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.login_attempts where access.is_foreign(hash_parameters) and created_at > now() - interval '50 seconds'`,
    )
    expect(row?.n).toBeLessThanOrEqual(10)
  })

  it('and another tenant has ten of its own', async () => {
    await useUp('home')
    const next = await inside(`${AT}-next`)
    await imported('guest', HASH, next)
    const body = { username: 'guest', password: PASSWORD }
    expect((await call(`${AT}-next`, '/api/v1/auth/login', { body })).status).toBe(200)
  })
})

describe('changes of a password and of an address', () => {
  it('compare a hash of another system as logins do, and wait as they do', async () => {
    const ann = await imported('ann')
    const token = await tokenOf(AT, 'ann')
    const change = (path: string, body: object) => call(AT, `/api/v1/auth/${path}`, { token, body })
    const [password, address] = [{ new_password: 'Quiet-Harbour-77' }, { new_email: 'ann@new.test' }]
    expect((await change('email-change', { ...address, current_password: PASSWORD })).status).toBe(202)
    await aMinuteLater()
    await useUp('change')
    for (const [path, body] of [
      ['password-change', password],
      ['email-change', address],
    ] as const) {
      const answer = await change(path, { ...body, current_password: PASSWORD })
      expectProblem(answer, 429, 'rate_limited')
      expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(30)
    }
    const [guard] = await realm.asOwner(sql`select failures from freehold.lockouts where key = ${`change:${ann.id}`}`)
    expect(guard?.failures).toBe(0)
    await aMinuteLater()
    expect((await change('password-change', { ...password, current_password: PASSWORD })).status).toBe(204)
  })
})

/** That others are answered meanwhile: foreign-login.node.test.ts. */
describe('while an isolate computes two of them', () => {
  it('who finds it busy for too long is told to come again, and not counted as a failure', async () => {
    const { inSlices } = await import('../../src/passwords/slices.ts')
    const person = await imported('patient')
    let is_over = false
    const busy = Array.from({ length: 2 }, () =>
      inSlices(async (endSlice) => {
        while (!is_over) await endSlice()
      }),
    )
    const answer = await enter('patient', PASSWORD)
    is_over = true
    await Promise.all(busy)
    expectProblem(answer, 429, 'rate_limited')
    expect(answer.headers.get('Retry-After')).toBe('10')
    expect(await attemptsOf('patient')).toEqual(['deferred foreign'])
    expect(await failuresOf(person)).toBe(0)
    expect((await enter('patient', PASSWORD)).status).toBe(200)
  })
})
