/** Threat: a stranger learns from the answer, its cost or its headers who exists, who is locked, who left. */
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { REAL_ITERATIONS } from '../support/cost.ts'
import { addPerson, type Inside, inside, takePassword } from '../support/inside.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const RIGHT = 'Violet-Anchor-38'
const WRONG = 'Violet-Anchor-39'
const real = crypto.subtle.deriveBits
let derivations = 0
let realm: Inside

beforeAll(async () => {
  await copyTenant('sameness')
  realm = await inside('sameness')
  for (const username of ['known', 'locked', 'gone', 'keyless', 'older'])
    await addPerson(realm, username, { password: RIGHT, fullCost: true })
  await addPerson(realm, 'roleless', { password: RIGHT, roles: [], fullCost: true })
  for (const username of ['ended', 'retired']) await addPerson(realm, username, { password: RIGHT, fullCost: true })
  await realm.asOwner(
    sql`update freehold.users set is_active = false where username = 'gone'`,
    sql`delete from freehold.passwords where user_id = (select id from freehold.users where username = 'keyless')`,
    sql`update freehold.user_roles set starts_at = now() - interval '2 days', ends_at = now() - interval '1 day' where user_id = (select id from freehold.users where username = 'ended')`,
    sql`insert into freehold.roles (id, name, is_active) values (gen_random_uuid(), 'closed', false)`,
    sql`update freehold.user_roles set role_id = (select id from freehold.roles where name = 'closed') where user_id = (select id from freehold.users where username = 'retired')`,
  )
  await takePassword(realm, 'keyless')
  Object.defineProperty(crypto.subtle, 'deriveBits', {
    configurable: true,
    value: (...args: Parameters<typeof real>) => {
      derivations++
      return real.apply(crypto.subtle, args)
    },
  })
})
afterAll(() => {
  Object.defineProperty(crypto.subtle, 'deriveBits', { configurable: true, value: real })
})

/** At the cost of production, unless another is set. */
async function tried(
  username: string,
  password: string,
  iterations = REAL_ITERATIONS,
): Promise<{ answer: Answer; derived: number }> {
  const before = derivations
  const answer = await call('sameness', '/api/v1/auth/login', {
    body: { username, password },
    settings: { PASSWORD_HASH_ITERATIONS: String(iterations) },
  })
  return { answer, derived: derivations - before }
}

/** All of an answer but what names this one request. */
function face({ status, body, headers, trips }: Answer) {
  const { trace_id, ...rest } = body
  const shown = Object.fromEntries([...headers].filter(([name]) => name !== 'x-trace-id'))
  return { status, trips, rest, shown, order: Object.keys(body) }
}

describe('one answer and one cost', () => {
  let wrong: { answer: Answer; derived: number }
  beforeAll(async () => {
    for (const name of ['locked', 'nobody-locked']) for (let i = 0; i < 5; i++) await tried(name, WRONG)
    wrong = await tried('known', WRONG)
  })

  it('a wrong password is refused after two round trips and six derivations', () => {
    expectProblem(wrong.answer, 401, 'invalid_credentials')
    expect(wrong.answer.trips).toBe(2)
    expect(wrong.derived).toBe(6)
  })

  it.each([
    ['a person who is not there', 'nobody', RIGHT],
    ['an e-mail that is not there', 'nobody@people.test', RIGHT],
    ['a locked person with the wrong password', 'locked', WRONG],
    ['a locked person with the right password', 'locked', RIGHT],
    ['a locked person by e-mail', 'locked@people.test', RIGHT],
    ['an identifier that is nobody’s and locked', 'nobody-locked', RIGHT],
    ['an inactive person with the right password', 'gone', RIGHT],
    ['an inactive person with the wrong password', 'gone', WRONG],
    ['a person who has no password', 'keyless', RIGHT],
    ['a person without a role and the wrong password', 'roleless', WRONG],
  ])('%s looks and costs the same as a wrong password', async (_, username, password) => {
    const { answer, derived } = await tried(username, password)
    expect(face(answer)).toEqual(face(wrong.answer))
    expect(derived).toBe(wrong.derived)
  })

  it('a recipe for nobody is as long as a real one and stays the same', async () => {
    const recipes = await realm.asOwner(
      sql`select distinct key, hash_parameters from freehold.login_attempts where user_id is null or identifier = 'known'`,
    )
    expect(recipes.length).toBeGreaterThanOrEqual(4)
    expect(new Set(recipes.map(({ key }) => key)).size).toBe(recipes.length)
    for (const { hash_parameters } of recipes)
      expect(hash_parameters).toMatch(/^\$pbkdf2-sha256-chain\$r=6,i=100000\$[A-Za-z0-9+/]{22}$/)
  })

  it.each([
    ['never had a role', 'roleless'],
    ['whose role has ended', 'ended'],
    ['whose role was switched off', 'retired'],
  ])('who %s and has the right password is told user_inactive, at the same cost', async (_, username) => {
    const { answer, derived } = await tried(username, RIGHT)
    expectProblem(answer, 403, 'user_inactive')
    expect(answer.trips).toBe(wrong.answer.trips)
    expect(derived).toBe(wrong.derived)
    const [row] = await realm.asOwner(
      sql`select count(*)::int as open from freehold.sessions s join freehold.users u on u.id = s.user_id where u.username = ${username}`,
    )
    expect(row).toEqual({ open: 0 })
  })

  it('who was hashed at a lower cost than new passwords still costs what nobody does', async () => {
    for (const [iterations, calls] of [
      [1_200_000, 12],
      [650_000, 7],
    ] as const) {
      const [known, nobody] = [await tried('known', WRONG, iterations), await tried('nobody-else', WRONG, iterations)]
      expect([known.derived, nobody.derived]).toEqual([calls, calls])
      expect(face(known.answer)).toEqual(face(nobody.answer))
    }
  })

  it('so does who logs in then, whose hash is replaced, and who has logged in', async () => {
    const costs = []
    for (const password of [RIGHT, RIGHT, WRONG]) costs.push((await tried('older', password, 650_000)).derived)
    expect(costs).toEqual([7, 7, 7])
  })

  it('a right password costs what a wrong one does', async () => {
    const { answer, derived } = await tried('known', RIGHT)
    expect({ status: answer.status, trips: answer.trips, derived }).toEqual({ status: 200, trips: 2, derived: 6 })
  })
})
