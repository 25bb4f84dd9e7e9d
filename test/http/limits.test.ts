/**
 * Threat: an office behind one address that cannot log in, and a network that guesses as fast as it likes. Asked with the limits of
 * production: the counters here count as Cloudflare's do, and no minute passes.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { askWith, limiters, limitOf, many, newAddress } from '../support/limiters.ts'
import { ADMIN } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const LIMITERS = limiters()
const AT = 'limited'
const DOWN = '/api/v1/auth/'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('limited-next')
  realm = await inside(AT)
  await many(40, (i) => addPerson(realm, `office-${i}`))
})

const ask = (address: string, path: string, body: object, at = AT) =>
  askWith(LIMITERS, `http://${at}.freehold.test${DOWN}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'CF-Connecting-IP': address },
    body: JSON.stringify(body),
  })

let guesses = 0
/** Of people that there are, but for every tenth: what is nobody's costs as much as in production. Each is guessed at less often than locks. */
const guessed = (n: number) => (n % 10 ? `office-${n % 40}` : `nobody-${n}@acme.test`)
const GUESSES: Record<string, () => [path: string, body: object, status: number]> = {
  login: () => ['login', { username: guessed(guesses++), password: 'Wrong-Anchor-38' }, 401],
  'password-reset': () => [
    'password-reset/confirm',
    { token: `x-${guesses++}`.padEnd(43, 'x'), new_password: 'Violet-Anchor-38' },
    400,
  ],
  verify: () => ['verify-email', { token: `x-${guesses++}`.padEnd(43, 'x') }, 400],
  refresh: () => ['refresh-token', { refresh_token: `x-${guesses++}`.padEnd(43, 'x') }, 401],
}

/** Fails so often that the network is refused: the last is told so, after it failed. */
async function exhaust(address: string, name: string) {
  const answers = await many(limitOf('FAILURES') + 1, async () => {
    const [path, body, status] = GUESSES[name]?.() ?? ['', {}, 0]
    return [(await ask(address, path, body)).status, status]
  })
  expect(answers.filter(([got]) => got === 429)).toHaveLength(1)
  for (const [got, wanted] of answers) if (got !== 429) expect(got).toBe(wanted)
}

describe('an office behind one address', () => {
  it('logs in: 40 people within a minute', async () => {
    const address = newAddress()
    const answers = await many(40, (i) => ask(address, 'login', { username: `office-${i}`, password: 'Violet-Anchor-38' }))
    expect(answers.map(({ status }) => status)).toEqual(Array(40).fill(200))
  })
})

describe('a network', () => {
  it('makes 600 attempts a minute and no more, in all tenants and at all routes together, and IPv6 counts by /64', async () => {
    const of = (i: number) => `2001:db8:7:1::${i.toString(16)}`
    const attempt = (i: number) =>
      ask(of(i), i % 2 ? 'password-reset' : 'verify-email/resend', { email: 'x@acme.test' }, i % 3 ? AT : 'limited-next')
    const some = await many(limitOf('ATTEMPTS'), attempt, 25)
    expect(some.map(({ status }) => status)).toEqual(Array(600).fill(202))
    const refused = await ask(of(7), 'login', ADMIN)
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' }, read: false })
    expect(refused.headers.get('Retry-After')).toBe('60')
    expect(refused.headers.get('RateLimit')).toBe('"attempts";r=0;t=60')
    expect(refused.headers.get('RateLimit-Policy')).toMatch(/^"attempts";q=\d+;w=60$/)
    expect((await ask('2001:db8:7:2::1', 'login', ADMIN)).status).toBe(200)
  })

  it.each(Object.keys(GUESSES))('that fails 60 times a minute (%s) is refused before its body is read', async (name) => {
    const address = newAddress()
    await exhaust(address, name)
    const [path, body] = name === 'login' ? ['login', ADMIN] : (GUESSES[name]?.() ?? ['', {}])
    const refused = await Promise.all(Array.from({ length: 20 }, () => ask(address, path, body)))
    for (const answer of refused) expect(answer).toMatchObject({ status: 429, body: { code: 'rate_limited' }, read: false })
    const seconds = Number(refused[0]?.headers.get('Retry-After'))
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(60)
    expect(refused[0]?.headers.get('RateLimit')).toBe(`"failures";r=0;t=${seconds}`)
  })

  it('that tries names of APIs with a right password is refused like one that guesses passwords', async () => {
    await realm.asOwner(sql`update freehold.tenant set password_grant = true`)
    const address = newAddress()
    const form = { grant_type: 'password', username: ADMIN.email, password: ADMIN.password }
    const token = (more: Record<string, string>) =>
      askWith(LIMITERS, `http://${AT}.freehold.test/oauth/token`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'CF-Connecting-IP': address },
        body: new URLSearchParams({ ...form, ...more }).toString(),
      })
    const answers = await many(limitOf('FAILURES') + 1, (i) => token({ resource: `urn:example:guess-${i}` }))
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(1)
    expect(answers[0]).toMatchObject({ status: 400, body: { error: 'invalid_target' } })
    expect(await token({})).toMatchObject({ status: 429, body: { error: 'temporarily_unavailable' } })
  })

  it('that is refused is refused at that route of that tenant alone, and for a minute', async () => {
    const address = newAddress()
    await exhaust(address, 'login')
    expect((await ask(address, 'login', ADMIN)).status).toBe(429)
    expect((await ask(newAddress(), 'login', ADMIN)).status).toBe(200)
    expect((await ask(address, 'login', ADMIN, 'limited-next')).status).toBe(200)
    expect((await ask(address, 'password-reset', { email: 'x@acme.test' })).status).toBe(202)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
    try {
      expect((await ask(address, 'login', ADMIN)).status).toBe(200)
    } finally {
      vi.useRealTimers()
    }
  })

  it('that sends what is no password and no token has not failed', async () => {
    const address = newAddress()
    await many(limitOf('FAILURES') + 5, () => ask(address, 'login', { username: 'bo' }))
    expect((await ask(address, 'login', ADMIN)).status).toBe(200)
  })
})
