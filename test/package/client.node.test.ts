/** What the client does where the network, a proxy or a clock is not as it should be. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createClient, type Kept, type Options, ProblemError } from '../../scripts/package/client/client.ts'
import { freePort } from '../dev/running.ts'
import { answering, type Reply } from '../support/node/answering.ts'

const stops: (() => void)[] = []
afterEach(() => {
  vi.useRealTimers()
  for (const stop of stops.splice(0)) stop()
})

type Paths = {
  '/thing/{id}': {
    get: {
      parameters: { path: { id: string } }
      responses: { 200: { content: { 'application/json': { ok: boolean } } } }
    }
  }
  '/thing': { get: { parameters: object; responses: { 200: { content: { 'application/json': { ok: boolean } } } } } }
}
const HTML = { headers: { 'Content-Type': 'text/html' }, body: '<h1>Bad gateway</h1>' }
const OK = { body: '{"ok":true}' }
const TOKENS: Kept = { access_token: 'a.b.c', refresh_token: 'r1' }
const problem = (status: number, code: string, headers = {}): Reply => ({
  status,
  headers: { 'Content-Type': 'application/problem+json', ...headers },
  body: JSON.stringify({ type: 'about:blank', title: 'No', status, code }),
})
const fresh = (n: number, expires_in = 900): Reply => ({
  body: JSON.stringify({ access_token: `a.b.${n}`, refresh_token: `r${n}`, expires_in, token_type: 'Bearer' }),
})

async function clientOf(reply: Parameters<typeof answering>[0], more: Partial<Options> = {}) {
  const server = await answering(reply)
  stops.push(server.stop)
  return { client: createClient<Paths>({ url: server.url, ...more }), asked: server.asked, stop: server.stop }
}
const failure = async (call: Promise<unknown>) => {
  const error = await call.catch((reason) => reason)
  expect(error).toBeInstanceOf(ProblemError)
  const { code, status } = error as ProblemError
  return { code, status }
}

describe('a call', () => {
  it('that nobody answers is unreachable', async () => {
    const client = createClient<Paths>({ url: `http://127.0.0.1:${await freePort()}` })
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'unreachable', status: 0 })
  })

  it('that is answered too late is unreachable, too', async () => {
    const { client } = await clientOf(() => new Promise(() => undefined), { timeout_ms: 50 })
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'unreachable', status: 0 })
  })

  it.each<[string, Reply, number]>([
    ['500 with HTML', { status: 500, ...HTML }, 500],
    ['200 with HTML', HTML, 200],
    ['503 with nothing', { status: 503, body: '' }, 503],
    ['a redirect', { status: 302, headers: { Location: 'http://127.0.0.1:9/stolen' }, body: '' }, 302],
    ['JSON that is no problem', { status: 502, body: '{"message":"no"}' }, 502],
  ])('that is answered with %s is an unexpected answer', async (_, reply, status) => {
    const { client, asked } = await clientOf(() => reply, { api_key: 'fh_key' })
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'unexpected_answer', status })
    expect(asked).toHaveLength(1)
  })

  it('that is answered with half of a document is an unexpected answer', async () => {
    const { client } = await clientOf(() => ({ body: '{"ok":' }))
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'unexpected_answer', status: 0 })
  })

  it.each(['', '.', '..'])('with the path parameter %j is refused, and not sent to another path', async (id) => {
    const { client, asked } = await clientOf(() => OK)
    expect(await failure(client.GET('/thing/{id}', { params: { path: { id } } }))).toEqual({ code: 'invalid_request', status: 0 })
    expect(asked).toEqual([])
    for (const one of ['../x', '...', '%2e', 'a.b']) await client.GET('/thing/{id}', { params: { path: { id: one } } })
    expect(asked.map(({ path }) => path)).toEqual(['/thing/..%2Fx', '/thing/...', '/thing/%252e', '/thing/a.b'])
  })

  it('that is limited says how long to wait', async () => {
    const { client } = await clientOf(() => problem(429, 'rate_limited', { 'Retry-After': '7' }))
    await expect(client.GET('/thing')).rejects.toMatchObject({ code: 'rate_limited', status: 429, retry_after: 7 })
  })

  it('that its caller ends fails with the reason of the caller', async () => {
    const { client } = await clientOf(() => new Promise(() => undefined))
    const reason = new Error('enough')
    await expect(client.GET('/thing', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('a session', () => {
  const asFor = (token: string): Parameters<typeof answering>[0] => {
    return ({ path, headers }) => {
      if (path.endsWith('/refresh-token')) return fresh(2)
      return headers.authorization === `Bearer ${token}` ? OK : problem(401, 'token_expired')
    }
  }

  it.each([-5, 5])('is refreshed as late as elsewhere where the clock is %i minutes off', async (minutes) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + minutes * 60_000 })
    const { client, asked } = await clientOf(({ path }) => (path.endsWith('/login') ? fresh(1) : OK))
    await client.logIn({ username: 'cy', password: 'p' })
    // The clock is put right in the middle of the session.
    vi.useRealTimers()
    for (let i = 0; i < 3; i++) await client.GET('/thing')
    expect(asked.map(({ path }) => path)).toEqual(['/api/v1/auth/login', '/thing', '/thing', '/thing'])
  })

  it('whose token is about to expire is refreshed first, once for twenty calls', async () => {
    const replies = [fresh(1, 5), fresh(2)]
    const { client, asked } = await clientOf(({ path }) => (path.includes('/auth/') ? (replies.shift() ?? {}) : OK))
    await client.logIn({ username: 'cy', password: 'p' })
    await Promise.all(Array.from({ length: 20 }, () => client.GET('/thing')))
    const things = asked.filter(({ path }) => path === '/thing')
    expect(things.map(({ headers }) => headers.authorization)).toEqual(Array(20).fill('Bearer a.b.2'))
    expect(asked.filter(({ path }) => path.endsWith('/refresh-token'))).toHaveLength(1)
  })

  it('goes on after a refresh that nobody answered', async () => {
    let isAway = true
    const { client } = await clientOf(
      (one) => (one.path.endsWith('/refresh-token') && isAway ? { status: 502, ...HTML } : asFor('a.b.2')(one)),
      { tokens: TOKENS },
    )
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'unexpected_answer', status: 502 })
    expect(client.tokens).toEqual(TOKENS)
    isAway = false
    expect((await client.GET('/thing')).data).toEqual({ ok: true })
  })

  it('is not refreshed again for a token that is new and refused', async () => {
    const { client, asked } = await clientOf(asFor('never'), { tokens: TOKENS })
    expect(await failure(client.GET('/thing'))).toEqual({ code: 'token_expired', status: 401 })
    expect(asked.map(({ path }) => path)).toEqual(['/thing', '/api/v1/auth/refresh-token', '/thing'])
  })

  it('and an API key are not given together', () => {
    expect(() => createClient({ url: 'https://ids.example.com', api_key: 'fh_key', tokens: TOKENS })).toThrow(TypeError)
  })

  it('of an operator is refreshed on the plane of the platform', async () => {
    const { client, asked } = await clientOf(asFor('a.b.2'), { tokens: TOKENS, plane: 'platform' })
    await client.GET('/thing')
    expect(asked[1]?.path).toBe('/platform/v1/auth/refresh-token')
  })

  it('names the tenant with each request, where the address does not', async () => {
    const { client, asked } = await clientOf(asFor('a.b.2'), { tokens: TOKENS, tenant: 'acme' })
    await client.GET('/thing')
    expect(asked.map(({ headers }) => headers['x-tenant'])).toEqual(['acme', 'acme', 'acme'])
  })
})

describe('somebody else who logs in', () => {
  /** A client of the session r1, whose exchange is answered when the test says so, and a login as r7. */
  async function exchanging() {
    const exchange = Promise.withResolvers<Reply>()
    const { client, asked } = await clientOf(
      ({ path, headers }) => {
        if (path.endsWith('/login')) return fresh(7)
        if (path.endsWith('/refresh-token')) return exchange.promise
        return headers.authorization === 'Bearer a.b.c' ? problem(401, 'token_expired') : OK
      },
      { tokens: TOKENS },
    )
    const calling = failure(client.GET('/thing'))
    await vi.waitFor(() => expect(asked.at(-1)?.path).toMatch(/refresh-token$/))
    const sent = () => asked.filter(({ path }) => path === '/thing').map(({ headers }) => headers.authorization)
    return { client, calling, exchange, sent }
  }

  it.each<[string, Reply]>([
    ['succeeds', fresh(2)],
    ['is refused', problem(401, 'refresh_invalid')],
  ])('is not who a call was for that waited for an exchange, which %s', async (_, reply) => {
    const { client, calling, exchange, sent } = await exchanging()
    await client.logIn({ username: 'bo', password: 'p' })
    exchange.resolve(reply)
    expect(await calling).toEqual({ code: 'session_changed', status: 0 })
    expect(sent()).toEqual(['Bearer a.b.c'])
    expect(client.tokens).toEqual({ access_token: 'a.b.7', refresh_token: 'r7' })
    expect((await client.GET('/thing')).data).toEqual({ ok: true })
    expect(sent()).toEqual(['Bearer a.b.c', 'Bearer a.b.7'])
  })

  it('is not who a call was for that was told meanwhile that its token had expired', async () => {
    const answer = Promise.withResolvers<Reply>()
    const { client, asked } = await clientOf(({ path }) => (path.endsWith('/login') ? fresh(7) : answer.promise), {
      tokens: TOKENS,
    })
    const calling = failure(client.GET('/thing'))
    await client.logIn({ username: 'bo', password: 'p' })
    answer.resolve(problem(401, 'token_expired'))
    expect(await calling).toEqual({ code: 'session_changed', status: 0 })
    expect(asked.filter(({ path }) => path === '/thing')).toHaveLength(1)
  })
})

describe('a logout', () => {
  it('with an expired access token is sent again with a new one, and then the session is over here, too', async () => {
    const told: unknown[] = []
    const { client, asked } = await clientOf(
      ({ path, headers }) => {
        if (path.endsWith('/refresh-token')) return fresh(2)
        return headers.authorization === 'Bearer a.b.2' ? { status: 204, body: '' } : problem(401, 'token_expired')
      },
      { tokens: TOKENS, onTokens: (tokens) => told.push(tokens?.refresh_token ?? null) },
    )
    await client.logOut()
    expect(asked.map(({ path }) => path.replace('/api/v1/auth/', ''))).toEqual(['logout', 'refresh-token', 'logout'])
    expect(client.tokens).toBeNull()
    expect(told).toEqual(['r2', null])
    await client.logOut()
    expect(asked).toHaveLength(3)
  })

  it('that nobody answers leaves the tokens, so that it can be tried again', async () => {
    const replies: Reply[] = [{ status: 502, ...HTML }, problem(503, 'database_unavailable'), { status: 204, body: '' }]
    const { client, asked } = await clientOf(() => replies.shift() ?? {}, { tokens: TOKENS })
    expect(await failure(client.logOut())).toEqual({ code: 'unexpected_answer', status: 502 })
    expect(await failure(client.logOut())).toEqual({ code: 'database_unavailable', status: 503 })
    expect(client.tokens).toEqual(TOKENS)
    await client.logOut()
    expect([client.tokens, asked.length]).toEqual([null, 3])
  })

  it.each(['session_ended', 'refresh_invalid', 'refresh_reused'])('of a session that is over (%s) succeeds', async (code) => {
    const told: unknown[] = []
    const { client } = await clientOf(
      ({ path }) => problem(401, code === 'session_ended' || path.endsWith('/refresh-token') ? code : 'token_expired'),
      { tokens: TOKENS, onTokens: (tokens) => told.push(tokens) },
    )
    await client.logOut()
    expect([client.tokens, told]).toEqual([null, [null]])
  })

  it('that is answered after somebody else logged in does not end their session', async () => {
    const answer = Promise.withResolvers<Reply>()
    const { client } = await clientOf(({ path }) => (path.endsWith('/login') ? fresh(7) : answer.promise), { tokens: TOKENS })
    const ending = client.logOut()
    await client.logIn({ username: 'bo', password: 'p' })
    answer.resolve({ status: 204, body: '' })
    await ending
    expect(client.tokens?.refresh_token).toBe('r7')
  })
})
