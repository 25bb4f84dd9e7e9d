/** What shows only with other settings: the wall in front of the hashing, production, a single tenant, a master that is away. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { knockElsewhere, PRODUCTION } from '../support/elsewhere.ts'
import { type Inside, inside } from '../support/inside.ts'
import { ADMIN } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant('elsewhere')
  realm = await inside('elsewhere')
  token = await tokenOf('elsewhere')
})

const entering = (address?: string, body: unknown = ADMIN) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json', ...(address && { 'CF-Connecting-IP': address }) },
  body: JSON.stringify(body),
})

/** A limiter that notes what it was asked, and lets through as many as `room`. */
function limiter(room: number) {
  const keys: string[] = []
  return { keys, ATTEMPTS: { limit: async ({ key }: { key: string }) => ({ success: keys.push(key) <= room }) } }
}

describe('the wall in front of a login', () => {
  const DOOR = 'http://elsewhere.freehold.test/api/v1/auth/login'

  it('answers 429 without a round trip, without hashing, and says when to come back', async () => {
    const { ATTEMPTS } = limiter(0)
    const tries = () => realm.asOwner(sql`select count(*)::int as n from freehold.login_attempts`)
    const before = await tries()
    const answer = await knockElsewhere({ ATTEMPTS }, DOOR, entering('203.0.113.9'))
    expectProblem(answer, 429, 'rate_limited')
    expect(answer.headers.get('Retry-After')).toBe('60')
    expect(answer.headers.get('Server-Timing')).toContain('db;desc="0"')
    expect(await tries()).toEqual(before)
  })

  it('stands before a password change too, and counts all tenants, the platform and all routes together', async () => {
    const { keys, ATTEMPTS } = limiter(0)
    const body = { current_password: ADMIN.password, new_password: 'Marble-Kettle-52' }
    const { method, headers, ...rest } = entering('203.0.113.9', body)
    const bearing = { method, headers: { ...headers, Authorization: `Bearer ${token}` }, ...rest }
    const answer = await knockElsewhere({ ATTEMPTS }, 'http://elsewhere.freehold.test/api/v1/auth/password-change', bearing)
    expectProblem(answer, 429, 'rate_limited')
    await knockElsewhere({ ATTEMPTS }, DOOR, entering('203.0.113.9'))
    await knockElsewhere({ ATTEMPTS }, 'http://freehold.test/platform/v1/auth/login', entering('203.0.113.9'))
    expect(keys).toEqual(Array(3).fill('203.0.113.9'))
  })

  it.each<[string, string, string, boolean]>([
    ['two IPv4 addresses', '203.0.113.9', '203.0.113.10', false],
    ['two addresses of one /64', '2001:db8:1:2:a:b:c:d', '2001:db8:1:2::1', true],
    ['two addresses of one /64, the shortest way', '2001:db8::1', '2001:db8::ffff:0:0:1', true],
    ['two /64 of one /48', '2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['two addresses of one /64, written differently', '2001:db8::1:0:0:0:1', '2001:db8:0:1::1', true],
    ['one address, whatever the person', '203.0.113.9', '203.0.113.9', true],
  ])('counts %s, %s and %s, together: %s', async (_, one, two, together) => {
    const { keys, ATTEMPTS } = limiter(0)
    await knockElsewhere({ ATTEMPTS }, DOOR, entering(one))
    await knockElsewhere({ ATTEMPTS }, DOOR, entering(two, { username: 'another', password: 'x' }))
    expect(keys).toHaveLength(2)
    expect(keys[0] === keys[1]).toBe(together)
  })
})

describe('in production', () => {
  it.each(['https://elsewhere.localhost', 'https://localhost', 'https://127.0.0.1'])('%s is a foreign host', async (origin) =>
    expectProblem(
      await knockElsewhere(PRODUCTION, `${origin}/api/v1/auth/me`, { headers: { 'X-Tenant': 'elsewhere' } }),
      404,
      'not_found',
    ),
  )
})

describe('with DEFAULT_TENANT', () => {
  it('who names nobody is let into that one, on the base domain alone', async () => {
    const settings = { DEFAULT_TENANT: 'elsewhere' }
    expect((await knockElsewhere(settings, 'http://freehold.test/api/v1/auth/login', entering())).status).toBe(200)
    expectProblem(
      await knockElsewhere(settings, 'http://nowhere-else.freehold.test/api/v1/auth/login', entering()),
      404,
      'tenant_not_found',
    )
    expectProblem(await knockElsewhere(settings, 'http://evil.test/api/v1/auth/login', entering()), 404, 'not_found')
  })
})

it('a failure of our own is 500, carries a trace id, and tells nothing of itself', async () => {
  const ATTEMPTS = { limit: () => Promise.reject(new TypeError('Sesame-Secret is not a function')) }
  const answer = await knockElsewhere({ ATTEMPTS }, 'http://elsewhere.freehold.test/api/v1/auth/login', entering())
  expectProblem(answer, 500, 'internal_error')
  expect(answer.text).not.toContain('Sesame')
  expect(answer.headers.get('Cache-Control')).toBe('no-store')
})

describe('with the master away', () => {
  const settings = {
    MASTER_DATABASE_URL: 'postgresql://somebody:Sesame-Secret@nohost.test/nothing',
    MASTER_READER_URL: 'postgresql://reader:Sesame-Secret@nohost.test/nothing',
  }

  it('a name that is in no cache is 503, says when to come back, and tells nothing of the master', async () => {
    const answer = await knockElsewhere(settings, 'http://never-asked.freehold.test/api/v1/auth/me')
    expectProblem(answer, 503, 'database_unavailable')
    expect(answer.headers.get('Retry-After')).toMatch(/^\d+$/)
    expect(answer.text).not.toMatch(/Sesame|nohost|somebody/)
  })

  it('a tenant that is known goes on', async () => {
    const answer = await knockElsewhere(settings, 'http://elsewhere.freehold.test/api/v1/auth/me', {
      headers: { Authorization: `Bearer ${token}` },
    })
    expect(answer.status).toBe(200)
  })
})
