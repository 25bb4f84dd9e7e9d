/** Threat: a refresh token that was stolen, copied or kept. Whoever holds an old link of the chain ends it for both. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

let realm: Inside

beforeAll(async () => {
  await copyTenant('chain')
  await copyTenant('unchained')
  realm = await inside('chain')
  await addPerson(realm, 'cy')
})

const enter = () => login('chain', { body: { username: 'cy', password: 'Violet-Anchor-38' } })

const exchange = (refresh_token: string, agent = 'cy/1.0', at = 'chain') =>
  call(at, '/api/v1/auth/refresh-token', { body: { refresh_token }, headers: { 'User-Agent': agent } })
const me = (token: string) => call('chain', '/api/v1/auth/me', { token })
const sessionOf = async (token: string): Promise<string> =>
  (await call('chain', '/api/v1/auth/whoami', { token })).body.session.id
const endOf = async (session: string) =>
  (await realm.asOwner(sql`select ended_because from freehold.sessions where id = ${session}`))[0]?.ended_because

/** A login whose token was exchanged some seconds ago; nothing was done with the successor. */
async function exchangedAgo(seconds: number) {
  const first = await enter()
  const second = (await exchange(first.refresh_token)).body
  const session = await sessionOf(second.access_token)
  await realm.asOwner(
    sql`update freehold.refresh_tokens set used_at = used_at - make_interval(secs => ${seconds}) where session_id = ${session} and used_at is not null`,
  )
  return { first, second }
}

async function expectFamilyEnded(access: string, ...refresh: string[]) {
  expectProblem(await me(access), 401, 'session_ended')
  for (const token of refresh) expectProblem(await exchange(token), 401, 'refresh_invalid')
}

describe('a refresh token', () => {
  it('is exchanged in one round trip for a new pair, and both new ones work', async () => {
    const first = await enter()
    const second = await exchange(first.refresh_token)
    expect(second.status).toBe(200)
    const { device_token, ...tokens } = first
    expect(Object.keys(second.body).sort()).toEqual(Object.keys(tokens).sort())
    expect(second.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, must_change_password: false })
    expect(second.body.refresh_token).not.toBe(first.refresh_token)
    expect(second.trips).toBe(1)
    expectDiscreet(second)
    expect((await me(second.body.access_token)).status).toBe(200)
    expect((await me(first.access_token)).status).toBe(200)
    expect(await sessionOf(second.body.access_token)).toBe(await sessionOf(first.access_token))
    const third = await exchange(second.body.refresh_token)
    expect(third.status).toBe(200)
    expect((await exchange(third.body.refresh_token)).status).toBe(200)
  })

  it('has the short path too', async () => {
    const { refresh_token } = await enter()
    expect((await call('chain', '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
  })

  it('moves to another device when it is used there first', async () => {
    const { refresh_token } = await enter()
    expect((await exchange(refresh_token, 'elsewhere/1')).status).toBe(200)
  })

  it('is kept as a hash only, as are all its successors', async () => {
    const first = await enter()
    const tokens = [first.refresh_token, (await exchange(first.refresh_token)).body.refresh_token]
    const rows = await realm.asOwner(
      sql`select r::text as line, encode(token_hash, 'hex') as hash, encode(successor_hash, 'hex') as next from freehold.refresh_tokens r`,
    )
    const all = JSON.stringify(rows)
    for (const token of tokens) {
      expect(all).not.toContain(token)
      const bytes = Uint8Array.from(atob(token.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
      expect(all).not.toContain([...bytes].map((b) => b.toString(16).padStart(2, '0')).join(''))
    }
    const digests = await Promise.all(
      tokens.map(async (token) => new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)))),
    )
    const hex = digests.map((digest) => [...digest].map((b) => b.toString(16).padStart(2, '0')).join(''))
    expect(rows.find((row) => row.hash === hex[0])?.next).toBe(hex[1])
  })
})

describe('many tabs at once', () => {
  it('get the same successor, each with an access token that works, and the chain goes on', async () => {
    const { refresh_token } = await enter()
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(refresh_token)))
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200))
    const successors = new Set(answers.map((answer) => answer.body.refresh_token))
    expect(successors.size).toBe(1)
    for (const answer of answers) expect((await me(answer.body.access_token)).status).toBe(200)
    const [successor = ''] = successors
    expect((await exchange(successor)).status).toBe(200)
  })
})

describe('a replay', () => {
  it('after the successor was used ends the session', async () => {
    const first = await enter()
    const second = (await exchange(first.refresh_token)).body
    const third = (await exchange(second.refresh_token)).body
    const session = await sessionOf(third.access_token)
    expectProblem(await exchange(first.refresh_token), 401, 'refresh_reused')
    expect(await endOf(session)).toBe('refresh_reused')
    await expectFamilyEnded(third.access_token, first.refresh_token, second.refresh_token, third.refresh_token)
  })

  it('from another device ends the session', async () => {
    const first = await enter()
    const second = (await exchange(first.refresh_token)).body
    expectProblem(await exchange(first.refresh_token, 'thief/1'), 401, 'refresh_reused')
    await expectFamilyEnded(second.access_token, second.refresh_token)
  })

  it('by its owner, after a thief was first, ends the session for the thief', async () => {
    const first = await enter()
    const stolen = (await exchange(first.refresh_token, 'thief/1')).body
    expectProblem(await exchange(first.refresh_token), 401, 'refresh_reused')
    await expectFamilyEnded(stolen.access_token, stolen.refresh_token)
  })

  it('later than a minute ends the session', async () => {
    const { first, second } = await exchangedAgo(61)
    const session = await sessionOf(second.access_token)
    expectProblem(await exchange(first.refresh_token), 401, 'refresh_reused')
    expect(await endOf(session)).toBe('refresh_reused')
    await expectFamilyEnded(second.access_token, second.refresh_token)
  })

  it('within a minute, whose answer was lost, gives the same successor, and the chain goes on', async () => {
    const { first, second } = await exchangedAgo(59)
    const again = await exchange(first.refresh_token)
    expect(again.status).toBe(200)
    expect(again.body.refresh_token).toBe(second.refresh_token)
    expect((await me(again.body.access_token)).status).toBe(200)
    expect((await exchange(again.body.refresh_token)).status).toBe(200)
  })

  it('within a minute by twenty at once gives all of them the same successor', async () => {
    const { first, second } = await exchangedAgo(59)
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(first.refresh_token)))
    expect(new Set(answers.map((answer) => answer.body.refresh_token))).toEqual(new Set([second.refresh_token]))
    expect((await exchange(second.refresh_token)).status).toBe(200)
  })

  it('within a minute from another device ends the session', async () => {
    const { first, second } = await exchangedAgo(59)
    expectProblem(await exchange(first.refresh_token, 'thief/1'), 401, 'refresh_reused')
    await expectFamilyEnded(second.access_token, second.refresh_token)
  })

  it('within a minute, after the successor was used, ends the session', async () => {
    const { first, second } = await exchangedAgo(59)
    const third = (await exchange(second.refresh_token)).body
    expectProblem(await exchange(first.refresh_token), 401, 'refresh_reused')
    await expectFamilyEnded(third.access_token, second.refresh_token, third.refresh_token)
  })

  it('by twenty at once, later than a minute, ends the session once and gives nobody anything', async () => {
    const { first, second } = await exchangedAgo(61)
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(first.refresh_token)))
    expect(answers.filter((answer) => answer.status !== 401)).toEqual([])
    await expectFamilyEnded(second.access_token, second.refresh_token)
  })

  it('ends no other session of the person', async () => {
    const other = await enter()
    const first = await enter()
    await exchange(first.refresh_token)
    expectProblem(await exchange(first.refresh_token, 'thief/1'), 401, 'refresh_reused')
    expect((await me(other.access_token)).status).toBe(200)
    expect((await exchange(other.refresh_token)).status).toBe(200)
  })
})

describe('refresh_invalid:', () => {
  it('after the logout', async () => {
    const { access_token, refresh_token } = await enter()
    expect((await call('chain', '/api/v1/auth/logout', { token: access_token, method: 'POST' })).status).toBe(204)
    expectProblem(await exchange(refresh_token), 401, 'refresh_invalid')
  })

  it('whichever of a logout and a refresh is first, nothing is left afterwards', async () => {
    for (let round = 0; round < 5; round++) {
      const { access_token, refresh_token } = await enter()
      const [, raced] = await Promise.all([
        call('chain', '/api/v1/auth/logout', { token: access_token, method: 'POST' }),
        exchange(refresh_token),
      ])
      expectProblem(await me(access_token), 401, 'session_ended')
      if (raced.status === 200) await expectFamilyEnded(raced.body.access_token, raced.body.refresh_token)
    }
  })

  it('a token of another tenant, or of the platform', async () => {
    const { refresh_token } = await login('unchained')
    expectProblem(await exchange(refresh_token), 401, 'refresh_invalid')
    const { email, password } = inject('operator')
    const operator = await call('', '/platform/v1/auth/login', { body: { email, password } })
    expectProblem(await exchange(operator.body.refresh_token), 401, 'refresh_invalid')
    expectProblem(await call('', '/platform/v1/auth/refresh', { body: { refresh_token } }), 401, 'refresh_invalid')
    expect((await exchange(refresh_token, 'cy/1.0', 'unchained')).status).toBe(200)
  })

  it.each(['garbage', 'a'.repeat(43), 'x'.repeat(512), ' ', '\u0000', '💥'])('%j', async (token) =>
    expectProblem(await exchange(token), 401, 'refresh_invalid'),
  )

  it('an access token', async () => {
    const { access_token } = await enter()
    const answer = await exchange(access_token)
    expectProblem(answer, answer.status, answer.status === 400 ? 'invalid_request' : 'refresh_invalid')
  })

  it('the hash of a token', async () => {
    const [row] = await realm.asOwner(
      sql`select encode(token_hash, 'hex') as hash from freehold.refresh_tokens where used_at is null limit 1`,
    )
    for (const shown of [row?.hash, `\\x${row?.hash}`]) expectProblem(await exchange(shown), 401, 'refresh_invalid')
  })

  it.each([
    [
      'a token past its end',
      sql`update freehold.refresh_tokens set expires_at = now() - interval '1 second' where session_id = `,
    ],
    ['a session idle for 8 days', sql`update freehold.sessions set last_active_at = now() - interval '8 days' where id = `],
    ['a session past its end', sql`update freehold.sessions set expires_at = now() - interval '1 second' where id = `],
  ])('%s', async (_, change) => {
    const { access_token, refresh_token } = await enter()
    const session = await sessionOf(access_token)
    await realm.asOwner(sql`${change}${session}`)
    expectProblem(await exchange(refresh_token), 401, 'refresh_invalid')
    expect(await endOf(session)).toBeNull()
  })

  it('does not live longer by being exchanged: the session’s end stays', async () => {
    const { access_token, refresh_token } = await enter()
    const session = await sessionOf(access_token)
    await realm.asOwner(sql`update freehold.sessions set expires_at = now() + interval '1 hour' where id = ${session}`)
    await exchange(refresh_token)
    const [row] = await realm.asOwner(
      sql`select max(r.expires_at) <= s.expires_at + interval '30 days' as bound, s.expires_at < now() + interval '2 hours' as kept
        from freehold.sessions s join freehold.refresh_tokens r on r.session_id = s.id and r.used_at is null where s.id = ${session} group by s.expires_at`,
    )
    expect(row).toEqual({ bound: true, kept: true })
  })
})

describe('a refresh is refused', () => {
  it('to who was deactivated, or lost every role', async () => {
    for (const [name, change] of [
      ['gone', sql`update freehold.users set is_active = false where username = 'gone'`],
      [
        'bare',
        sql`update freehold.user_roles set ends_at = now() where user_id = (select id from freehold.users where username = 'bare')`,
      ],
    ] as const) {
      const person = await addPerson(realm, name)
      const { refresh_token } = await login('chain', { body: { username: name, password: person.password } })
      await realm.asOwner(change)
      expectProblem(await exchange(refresh_token), 403, 'user_inactive')
    }
  })

  it.each<[string, unknown, string]>([
    ['an over-long token', { refresh_token: 'x'.repeat(513) }, '#/refresh_token'],
    ['an empty token', { refresh_token: '' }, '#/refresh_token'],
    ['no token', {}, '#/refresh_token'],
    ['null', { refresh_token: null }, '#/refresh_token'],
    ['a list of tokens', { refresh_token: ['a'] }, '#/refresh_token'],
    ['an unknown field', { refresh_token: 'a', scope: 'x' }, '#/scope'],
  ])('with %s', async (_, body, pointer) => {
    const answer = await call('chain', '/api/v1/auth/refresh-token', { body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})
