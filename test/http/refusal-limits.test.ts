/**
 * Threat: whoever invents keys, tokens or names of tenants makes us ask a database for each, and a client without limits takes the
 * connections of all. Asked with the limits of production.
 */
import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { newKey } from '../../src/kernel/api-key.ts'
import type { Env } from '../../src/kernel/env.ts'
import { newToken, tokenHash } from '../../src/kernel/token.ts'
import { master } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { askWith, limiters, limitOf, many, newAddress } from '../support/limiters.ts'
import { operatorToken, wanted } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const LIMITERS = limiters()
const AT = 'refusing'
const MOST = limitOf('FAILURES')
/** How many `many` asks at once. */
const AT_ONCE = 5
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(`${AT}-next`)
  realm = await inside(AT)
  token = await tokenOf(AT)
})
afterEach(() => {
  vi.useRealTimers()
})

const address = () => newAddress('198.18')
const ask = (from: string, headers: Record<string, string>, path = '/api/v1/auth/me', at = AT, init: RequestInit = {}) =>
  askWith(LIMITERS, `http://${at ? `${at}.` : ''}freehold.test${path}`, {
    ...init,
    headers: { 'CF-Connecting-IP': from, 'Content-Type': 'application/json', ...headers },
  })
const bearing = (credential: string) => ({ Authorization: `Bearer ${credential}` })
/** A token that another key signed, or that names a key of nobody. */
const forged = (i: number) => {
  const [head = '', body = '', signature = ''] = token.split('.')
  const other = i % 2 ? head : btoa(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: `none-${i}` })).replace(/=+$/, '')
  return `${other}.${body}.${signature.slice(1, 30)}${String(i).padStart(4, 'x')}${signature.slice(34)}A`
}
/** A key of bo that works, or one that was revoked or has expired. */
async function ownKey(change = '') {
  const { key, prefix } = newKey()
  await realm.asOwner(
    sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions)
        select gen_random_uuid(), u.id, 'own', ${prefix}, ${await tokenHash(key)}::bytea, '{user:read}' from freehold.users u where u.username = 'bo'`,
    ...(change ? [sql.raw(`update freehold.api_keys set ${change} where prefix = '${prefix}'`)] : []),
  )
  return key
}
const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status)
const WHOAMI = '/api/v1/auth/whoami'

describe('a network that invents', () => {
  it.each<[string, (from: string, i: number) => ReturnType<typeof ask>, number]>([
    ['API keys', (from) => ask(from, { 'X-API-Key': newKey().key }, WHOAMI), 1],
    ['access tokens', (from, i) => ask(from, bearing(forged(i))), 0],
    [
      'refresh tokens',
      (from) =>
        ask(from, {}, '/api/v1/auth/refresh', AT, { method: 'POST', body: JSON.stringify({ refresh_token: newToken() }) }),
      1,
    ],
  ])(
    '%s meets a 429: of 120 in a minute half are refused so, at no cost, and each other costs one trip',
    async (_, one, trips) => {
      const from = address()
      const answers = await many(2 * MOST, (i) => one(from, i))
      const refused = answers.filter(({ status }) => status === 429)
      expect(refused).toHaveLength(MOST)
      for (const answer of answers) if (answer.status !== 429) expect(answer).toMatchObject({ status: 401, trips })
      // Those that were under way when the limit was reached failed before they were refused.
      expect(refused.filter((answer) => answer.trips > 0).length).toBeLessThanOrEqual(AT_ONCE)
      for (const { body, headers } of refused) {
        expect(body.code).toBe('rate_limited')
        expect(Number(headers.get('Retry-After'))).toBeGreaterThan(0)
      }
      // That kind of credential alone, in that tenant, from there, for a minute.
      expect((await ask(from, bearing(token))).status).toBe(200)
      expect((await one(address(), 1000)).status).toBe(401)
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
      expect((await one(from, 2000)).status).toBe(401)
    },
  )

  it('120 keys at the same moment is told of 60 that they are nobody’s, and of no more', async () => {
    const from = address()
    const answers = await Promise.all(Array.from({ length: 2 * MOST }, () => ask(from, { 'X-API-Key': newKey().key }, WHOAMI)))
    expect(statuses(answers).sort()).toEqual([...Array(MOST).fill(401), ...Array(MOST).fill(429)])
  })

  it('keys is refused keys, and no tokens; a key that was admitted here goes on, and so does the next tenant', async () => {
    const [from, key, other] = [address(), await ownKey(), await ownKey()]
    expect((await ask(from, { 'X-API-Key': key }, WHOAMI)).status).toBe(200)
    await many(MOST + 1, () => ask(from, { 'X-API-Key': newKey().key }, WHOAMI))
    expect(await ask(from, { 'X-API-Key': other }, WHOAMI)).toMatchObject({ status: 429, trips: 0 })
    expect((await ask(from, { 'X-API-Key': key }, WHOAMI)).status).toBe(200)
    expect((await ask(from, bearing(token))).status).toBe(200)
    expect((await ask(from, bearing(forged(1)))).status).toBe(401)
    expect((await ask(from, { 'X-API-Key': newKey().key }, WHOAMI, `${AT}-next`)).status).toBe(401)
  })

  it('tokens goes on with those that are valid', async () => {
    const from = address()
    await many(MOST + 1, (i) => ask(from, bearing(forged(i))))
    expect((await ask(from, bearing(forged(7)))).status).toBe(429)
    expect(statuses(await many(20, () => ask(from, bearing(token))))).toEqual(Array(20).fill(200))
    // One that this isolate never saw, too.
    expect((await ask(from, bearing(await tokenOf(AT)))).status).toBe(200)
  })

  it('is refused before its body is read', async () => {
    const from = address()
    await many(MOST + 1, () => ask(from, { 'X-API-Key': newKey().key }, WHOAMI))
    const init = { method: 'POST', body: '{}' }
    const answer = await ask(from, { 'X-API-Key': newKey().key }, '/api/v1/users', AT, init)
    expect(answer).toMatchObject({ status: 429, read: false, trips: 0 })
  })

  it('keys of the platform, too', async () => {
    const from = address()
    const path = '/platform/v1/auth/whoami'
    await many(MOST + 1, () => ask(from, { 'X-API-Key': newKey().key }, path, ''))
    expect((await ask(from, { 'X-API-Key': newKey().key }, path, '')).status).toBe(429)
    expect((await ask(from, bearing(await operatorToken()), '/platform/v1/auth/me', '')).status).toBe(200)
  })
})

describe('is no failure of the network:', () => {
  it.each<[string, () => Promise<Record<string, string>>, string, number]>([
    [
      'an expired token',
      async () => {
        vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 })
        return bearing(token)
      },
      'token_expired',
      0,
    ],
    [
      'a session that has ended',
      async () => {
        const ended = await tokenOf(AT)
        const { sid } = JSON.parse(atob(String(ended.split('.')[1]).replaceAll('-', '+').replaceAll('_', '/')))
        await realm.asOwner(sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${sid}`)
        return bearing(ended)
      },
      'session_ended',
      1,
    ],
    ['a key that was revoked', async () => ({ 'X-API-Key': await ownKey('revoked_at = now()') }), 'token_invalid', 1],
    [
      'a key that has expired',
      async () => ({ 'X-API-Key': await ownKey("expires_at = now() - interval '1 day'") }),
      'token_invalid',
      1,
    ],
    ['a key that is mistyped', async () => ({ 'X-API-Key': `${newKey().key.slice(0, -1)}?` }), 'token_invalid', 0],
  ])('%s', async (_, shown, code, trips) => {
    const [from, headers] = [address(), await shown()]
    const answers = await many(MOST + 10, () => ask(from, headers, WHOAMI))
    for (const answer of answers) expect([answer.body.code, answer.trips]).toEqual([code, trips])
  })

  it('a missing permission', async () => {
    const [from, key] = [address(), await ownKey("permissions = '{unit:read}'")]
    const answers = await many(MOST + 10, () => ask(from, { 'X-API-Key': key }, '/api/v1/users'))
    expect(statuses(answers)).toEqual(Array(MOST + 10).fill(403))
  })
})

describe('a user, or a key,', () => {
  it('asks 600 times a minute and no more, and the 601st is refused before its body is read; on both planes', async () => {
    expect(limitOf('PRINCIPALS')).toBe(600)
    for (const [at, path, headers] of [
      [AT, '/api/v1/auth/me', bearing(await tokenOf(AT))],
      [AT, WHOAMI, { 'X-API-Key': await ownKey() }],
      ['', '/platform/v1/auth/me', bearing(await operatorToken())],
    ] as const) {
      const limits = { PRINCIPALS: LIMITERS.PRINCIPALS }
      const url = `http://${at ? `${at}.` : ''}freehold.test`
      // Counted apart from what the other tests asked.
      const counts = new Map<string, number>()
      const limit = async ({ key = '' }) => {
        counts.set(key, (counts.get(key) ?? 597) + 1)
        return { success: (counts.get(key) ?? 0) <= limitOf('PRINCIPALS') }
      }
      limits.PRINCIPALS = { limit }
      const one = (from: string) => askWith(limits, url + path, { headers: { ...headers, 'CF-Connecting-IP': from } })
      // From whatever address, because it is the user who is counted.
      for (let i = 0; i < 3; i++) expect((await one(address())).status).toBe(200)
      const refused = await Promise.all(Array.from({ length: 20 }, () => one(address())))
      for (const answer of refused) expect(answer).toMatchObject({ status: 429, trips: 0, body: { code: 'rate_limited' } })
      expect(refused[0]?.headers.get('Retry-After')).toBe('60')
      const posted = await askWith(limits, `${url}${at ? '/api/v1/units' : '/platform/v1/tenants'}`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: '{}',
      })
      expect(posted).toMatchObject({ status: 429, read: false, trips: 0 })
      expect([...counts.keys()]).toHaveLength(1)
    }
  })

  it('is one user, with all their tokens, in one realm; another user goes on', async () => {
    const keys: string[] = []
    const PRINCIPALS = { limit: async ({ key = '' }) => ({ success: keys.push(key) > 0 }) }
    const one = (headers: Record<string, string>, at = AT) =>
      askWith({ PRINCIPALS }, `http://${at}.freehold.test/api/v1/auth/whoami`, { headers })
    await one(bearing(await tokenOf(AT)))
    await one(bearing(await tokenOf(AT)))
    expect(new Set(keys).size).toBe(1)
    const key = await ownKey()
    await one({ 'X-API-Key': key })
    await one(bearing(await tokenOf(`${AT}-next`)), `${AT}-next`)
    expect(new Set(keys).size).toBe(3)
    // Neither a token that is not valid nor a public route is anybody's.
    await one(bearing(forged(3)))
    await askWith({ PRINCIPALS }, `http://${AT}.freehold.test/.well-known/jwks.json`)
    expect(keys).toHaveLength(4)
    // Nothing that lets somebody in is given to the binding.
    expect(keys.join()).not.toContain(key)
  })
})

describe('a name that nobody has', () => {
  let names = 0
  const name = () => `${AT}-nobody-${names++}`
  const JWKS = '/.well-known/jwks.json'

  it('is asked of the master once in two seconds, however it is named', async () => {
    const claim = (tenant: string) =>
      bearing(`${btoa('{"alg":"ES256"}').replace(/=+$/, '')}.${btoa(JSON.stringify({ tenant })).replace(/=+$/, '')}.x`)
    for (const one of [
      (who: string) => ask(address(), {}, JWKS, who),
      (who: string) => ask(address(), { 'X-Tenant': who }, JWKS, ''),
      (who: string) => ask(address(), claim(who), '/api/v1/auth/me', ''),
    ]) {
      const who = name()
      expect(await one(who)).toMatchObject({ status: 404, master: 1, body: { code: 'tenant_not_found' } })
      for (const answer of await many(20, () => one(who))) expect(answer).toMatchObject({ status: 404, master: 0 })
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2_100 })
      expect(await one(who)).toMatchObject({ status: 404, master: 1 })
      vi.useRealTimers()
    }
  })

  it('that is no label costs nothing', async () => {
    for (const who of ['-', 'a_b', 'ä', 'x'.repeat(64), 'a.b', "';--"])
      expect(await ask(address(), { 'X-Tenant': encodeURI(who) }, JWKS, '')).toMatchObject({ status: 404, master: 0 })
    expect(await ask(address(), {}, JWKS, 'a.b')).toMatchObject({ status: 404, master: 0 })
  })

  it('is asked for 60 times a minute by a network and no more: a 429 costs no query, and tenants that exist go on', async () => {
    const from = address()
    const answers = await many(2 * MOST, () => ask(from, {}, JWKS, name()))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(MOST)
    for (const answer of refused) expect(answer).toMatchObject({ body: { code: 'rate_limited' } })
    expect(refused.filter(({ master }) => master > 0).length).toBeLessThanOrEqual(AT_ONCE)
    expect((await ask(from, bearing(token))).status).toBe(200)
    // From KV, too.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect(await ask(from, {}, JWKS)).toMatchObject({ status: 200, master: 0 })
    expect((await ask(address(), {}, JWKS, name())).status).toBe(404)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
    expect((await ask(from, {}, JWKS, name())).status).toBe(404)
  })

  it('that is reserved is asked of KV and the master once in a minute', async () => {
    const who = 'webmail'
    expect(await ask(address(), {}, JWKS, who)).toMatchObject({ status: 404, master: 1 })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 30_000 })
    expect(await ask(address(), {}, JWKS, who)).toMatchObject({ status: 404, master: 0 })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31_000 })
    expect(await ask(address(), {}, JWKS, who)).toMatchObject({ status: 404, master: 1 })
  })

  it('counts once for a page, though it is looked up for a redirect and for the tenant', async () => {
    const from = address()
    const answers = await many(MOST + AT_ONCE, () => ask(from, {}, '/login', name()))
    expect(answers.filter(({ status }) => status === 404)).toHaveLength(MOST)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(AT_ONCE)
  })

  it('is found at once when it was given here: by a creation, and by a restoration', async () => {
    const who = 'refusing-made'
    const owner = await operatorToken()
    const post = (path: string, body: object = {}, method = 'POST') =>
      askWith({}, `http://freehold.test/platform/v1/tenants${path}`, {
        method,
        headers: { ...bearing(owner), 'Content-Type': 'application/json' },
        ...(method === 'POST' && { body: JSON.stringify(body) }),
      })
    expect((await ask(address(), {}, JWKS, who)).status).toBe(404)
    const made = await post('', wanted(who))
    expect(made.status).toBe(202)
    expect((await ask(address(), {}, JWKS, who)).body.code).not.toBe('tenant_not_found')
    await vi.waitUntil(async () => (await post(`/${made.body.id}`, {}, 'GET')).body.status === 'active', {
      timeout: 30_000,
      interval: 200,
    })
    expect((await post(`/${made.body.id}`, {}, 'DELETE')).status).toBe(204)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect((await ask(address(), {}, JWKS, who)).status).toBe(404)
    expect((await post(`/${made.body.id}/restore`)).status).toBe(200)
    expect((await ask(address(), {}, JWKS, who)).status).toBe(200)
  })
})

describe('/readyz', () => {
  const later = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
  /** Counts how often the registry's KV is read, which each real question does once. */
  function counting(get: () => Promise<null> = async () => null) {
    const asked = { times: 0 }
    const TENANTS = {
      get: () => {
        asked.times++
        return get()
      },
    }
    const bindings = { ...env, TENANTS } as unknown as Env
    return { asked, one: () => askReady(bindings) }
  }
  /** With the same settings each time, as in an isolate. */
  async function askReady(bindings: Env) {
    const context = createExecutionContext()
    const answer = await app.fetch(new Request('http://freehold.test/readyz'), bindings, context)
    const { code } = (await answer.json()) as { code?: string }
    return { status: answer.status, code }
  }

  it('asks once for twenty at once, and again after a second', async () => {
    const { asked, one } = counting()
    const answers = await Promise.all(Array.from({ length: 20 }, one))
    expect(answers).toEqual(Array(20).fill({ status: 200, code: undefined }))
    expect(asked.times).toBe(1)
    await one()
    expect(asked.times).toBe(1)
    later(1_100)
    await one()
    expect(asked.times).toBe(2)
  })

  it('says that something is away for a second, to twenty at once, with one question', async () => {
    const { asked, one } = counting(() => Promise.reject(new Error('away')))
    const answers = await Promise.all(Array.from({ length: 20 }, one))
    expect(answers).toEqual(Array(20).fill({ status: 503, code: 'database_unavailable' }))
    expect(asked.times).toBe(1)
    later(1_100)
    await one()
    expect(asked.times).toBe(2)
  })

  it('is asked by the next, after a while, where the one who asked never came back', async () => {
    let hangs = true
    const { asked, one } = counting(() => (hangs ? new Promise<null>(() => {}) : Promise.resolve(null)))
    void one()
    await vi.waitUntil(() => asked.times === 1, 60_000)
    const second = one()
    await scheduler.wait(100)
    expect(asked.times).toBe(1)
    hangs = false
    later(5_100)
    expect(await second).toEqual({ status: 200, code: undefined })
    expect(asked.times).toBe(2)
  })
})

it('the master knows none of these names', async () => {
  expect(await master(sql`select 1 from platform.tenants where subdomain like 'refusing-nobody%'`)).toEqual([])
})
