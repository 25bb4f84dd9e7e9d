/** Threat: a resource server that lets in who it should not, or asks the service as often as a stranger wants. */
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { Hono } from 'hono'
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type Caller,
  createVerifier,
  forExpress,
  forHono,
  Refusal,
  type VerifierOptions,
} from '../../scripts/package/verify/verify.ts'

const PLATFORM = 'https://ids.example.com'
const ISSUER = 'https://acme.ids.example.com'
const now = () => Math.floor(Date.now() / 1000)

type Pair = { kid: string; jwk: JWK; privateKey: CryptoKey; publicKey: CryptoKey }
let pair: Pair
let served: JWK[]
let isAway: boolean
let asked: string[]
let decided: (body: { checks: object[] }, headers: Headers) => Response | Promise<Response>

const newPair = async (kid: string): Promise<Pair> => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { kid, publicKey, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } }
}
beforeEach(async () => {
  pair = await newPair('k1')
  served = [pair.jwk]
  isAway = false
  asked = []
  decided = () => Response.json({ results: [{ allowed: true, scope: 'all', because: [] }] })
})
afterEach(() => void vi.restoreAllMocks())

/** The service: its keys, and what it says of permissions. */
const service: VerifierOptions['fetch'] = async (url, init) => {
  asked.push(url)
  if (isAway) throw new TypeError('fetch failed')
  if (url.endsWith('/jwks.json')) return Response.json({ keys: served })
  return decided(JSON.parse(String(init.body)), new Headers(init.headers))
}
const verifier = (more: Partial<VerifierOptions> = {}) =>
  createVerifier({ platform: PLATFORM, tenant: 'acme', fetch: service, ...more })

const CLAIMS = { sub: 'u1', tid: 't1', sid: 's1', username: 'cy', roles: ['user'], permissions: ['document:read'] }
const token = (claims: JWTPayload = {}, { by = pair, header = {} }: { by?: Pair; header?: object } = {}) =>
  new SignJWT({ iss: ISSUER, aud: ISSUER, iat: now(), exp: now() + 900, ...CLAIMS, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: by.kid, ...header })
    .sign(by.privateKey)
const bearing = (text: string) => new Request('https://api.example.com/', { headers: { Authorization: `Bearer ${text}` } })
const refusal = async (call: Promise<unknown>) => {
  const error = await call.catch((reason) => reason)
  expect(error).toBeInstanceOf(Refusal)
  return (error as Refusal).code
}
const later = (ms: number) => vi.spyOn(performance, 'now').mockReturnValue(performance.now() + ms)

it('a token of the tenant says who asks', async () => {
  const caller = await verifier().verify(bearing(await token()))
  expect(caller).toMatchObject({ sub: 'u1', tenant: 'acme', tenant_id: 't1', username: 'cy', permissions: ['document:read'] })
})

describe('refused is a token', () => {
  it.each<[string, string, () => Promise<string> | string]>([
    [
      'of another tenant',
      'token_wrong_tenant',
      () => token({ iss: 'https://other.ids.example.com', aud: 'https://other.ids.example.com' }),
    ],
    ['of another platform', 'token_wrong_tenant', () => token({ iss: 'https://acme.evil.example' })],
    ['for another API', 'token_wrong_audience', () => token({ aud: 'https://payroll.example.com' })],
    ['without an audience', 'token_wrong_audience', () => token({ aud: undefined as unknown as string })],
    ['that expired', 'token_expired', () => token({ exp: now() - 11 })],
    ['that is not valid yet', 'token_invalid', () => token({ nbf: now() + 60 })],
    ['without an end', 'token_invalid', () => token({ exp: undefined as unknown as number })],
    ['of another kind', 'token_invalid', () => token({}, { header: { typ: 'JWT' } })],
    ['with a key that nobody has', 'token_invalid', async () => token({}, { by: await newPair('k9') })],
    ['signed by somebody else under the name of a key', 'token_invalid', async () => token({}, { by: await newPair('k1') })],
    [
      'that is not signed',
      'token_invalid',
      () => new UnsecuredJWT({ iss: ISSUER, aud: ISSUER, exp: now() + 900, ...CLAIMS }).encode(),
    ],
    [
      'signed with the public key as a secret',
      'token_invalid',
      async () =>
        new SignJWT({ iss: ISSUER, aud: ISSUER, iat: now(), exp: now() + 900, ...CLAIMS })
          .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: 'k1' })
          .sign(new TextEncoder().encode(await exportSPKI(pair.publicKey))),
    ],
    ['that is none', 'token_invalid', () => 'a.b.c'],
  ])('%s', async (_, code, made) => expect(await refusal(verifier().verify(bearing(await made())))).toBe(code))

  it('that is missing, or an API key', async () => {
    expect(await refusal(verifier().verify({ headers: {} }))).toBe('token_missing')
    expect(await refusal(verifier().verify({ headers: { authorization: 'Basic YTpi' } }))).toBe('token_invalid')
    expect(await refusal(verifier().verify(bearing('fh_12345678_secret')))).toBe('token_invalid')
  })

  it.each([null, '', 'evil.example/', 'a.b', 'ACME'])('for a request of the tenant %j', async (tenant) => {
    expect(await refusal(verifier({ tenant: () => tenant }).verify(bearing(await token())))).toBe('token_wrong_tenant')
    expect(asked).toEqual([])
  })
})

it('a registered audience is the one that counts', async () => {
  const audience = 'https://api.example.com'
  await expect(verifier({ audience }).verify(bearing(await token({ aud: audience })))).resolves.toMatchObject({ sub: 'u1' })
  expect(await refusal(verifier({ audience }).verify(bearing(await token())))).toBe('token_wrong_audience')
})

describe('the keys', () => {
  it('are asked for once, for twenty requests at once and those after them', async () => {
    const one = verifier()
    const text = await token()
    await Promise.all(Array.from({ length: 20 }, () => one.verify(bearing(text))))
    await one.verify(bearing(text))
    expect(asked).toEqual([`${ISSUER}/.well-known/jwks.json`])
  })

  it('are those of the tenant that a request is for', async () => {
    const one = verifier({ tenant: ({ headers }) => (headers as Headers).get('X-Tenant') })
    await refusal(
      one.verify(
        new Request('https://api.example.com', { headers: { Authorization: `Bearer ${await token()}`, 'X-Tenant': 'other' } }),
      ),
    )
    expect(asked).toEqual(['https://other.ids.example.com/.well-known/jwks.json'])
  })

  it('are read again for a new one, half a minute after the last time', async () => {
    const one = verifier()
    await one.verify(bearing(await token()))
    const next = await newPair('k2')
    served = [pair.jwk, next.jwk]
    later(31_000)
    await one.verify(bearing(await token({}, { by: next })))
    expect(asked).toHaveLength(2)
  })

  it('are asked for once only by a stranger who makes twenty keys up', async () => {
    const one = verifier()
    for (let i = 0; i < 20; i++) await refusal(one.verify(bearing(await token({}, { by: { ...pair, kid: `made-up-${i}` } }))))
    expect(asked).toHaveLength(1)
  })

  it('that are away are unavailable, not a wrong token, and are asked for once', async () => {
    isAway = true
    const one = verifier()
    for (let i = 0; i < 5; i++) expect(await refusal(one.verify(bearing(await token())))).toBe('unavailable')
    expect(asked).toHaveLength(1)
    isAway = false
    later(31_000)
    await one.verify(bearing(await token()))
  })

  it('that were read before count for an hour while the service is away, and no longer', async () => {
    const one = verifier()
    await one.verify(bearing(await token()))
    isAway = true
    later(59 * 60_000)
    await one.verify(bearing(await token()))
    later(2 * 60_000)
    expect(await refusal(one.verify(bearing(await token())))).toBe('unavailable')
  })

  it('that were taken back do not count after ten minutes', async () => {
    const one = verifier()
    await one.verify(bearing(await token()))
    served = [(await newPair('k2')).jwk]
    later(10 * 60_000 + 1_000)
    expect(await refusal(one.verify(bearing(await token())))).toBe('token_invalid')
  })
})

describe('made-up tenants', () => {
  const named = ({ headers }: { headers: unknown }) => (headers as Headers).get('X-Tenant')
  const of = (tenant: string, text: string) =>
    new Request('https://api.example.com', { headers: { Authorization: `Bearer ${text}`, 'X-Tenant': tenant } })
  const timesAsked = (tenant: string) =>
    asked.filter((url) => url === `https://${tenant}.ids.example.com/.well-known/jwks.json`).length
  const only: VerifierOptions['fetch'] = async (url, init) =>
    /made-up/.test(url) ? new Response('', { status: 404 }) : service(url, init)

  it('do not take the keys of tenants away that are in use, and of these the one that was not used for longest goes first', async () => {
    const one = verifier({ tenant: named, fetch: only })
    const text = await token()
    const real = Array.from({ length: 498 }, (_, i) => `real-${i}`)
    await one.verify(of('acme', text))
    for (const tenant of real) await refusal(one.verify(of(tenant, text)))
    for (let i = 0; i < 300; i++) expect(await refusal(one.verify(of(`made-up-${i}`, text)))).toBe('unavailable')
    await one.verify(of('acme', text))
    for (const tenant of real) await refusal(one.verify(of(tenant, text)))
    expect(new Set(['acme', ...real].map(timesAsked))).toEqual(new Set([1]))
    await one.verify(of('acme', text))
    for (const tenant of ['real-498', 'real-499']) await refusal(one.verify(of(tenant, text)))
    for (const tenant of ['acme', 'real-1', 'real-0']) await one.verify(of(tenant, text)).catch(() => null)
    expect(['acme', 'real-1', 'real-0'].map(timesAsked)).toEqual([1, 1, 2])
  })

  it('are asked for ten at once, the others are unavailable, and known tenants go on', async () => {
    const answer = Promise.withResolvers<void>()
    const slow: VerifierOptions['fetch'] = async (url, init) => {
      if (!url.startsWith(ISSUER)) await answer.promise
      return service(url, init)
    }
    const one = verifier({ tenant: named, fetch: slow })
    const text = await token()
    await one.verify(of('acme', text))
    const waiting = Array.from({ length: 30 }, (_, i) => refusal(one.verify(of(`made-up-${i}`, text))))
    const early = await Promise.all(waiting.slice(10))
    expect(new Set(early)).toEqual(new Set(['unavailable']))
    await one.verify(of('acme', text))
    answer.resolve()
    expect(new Set(await Promise.all(waiting.slice(0, 10)))).toEqual(new Set(['token_wrong_tenant']))
    expect(asked).toHaveLength(11)
    expect(await refusal(one.verify(of('made-up-29', text))), 'which was refused, not remembered').toBe('token_wrong_tenant')
  })
})

describe('a permission', () => {
  it('is read from the token, without asking', async () => {
    const one = verifier()
    const caller = await one.requirePermission(bearing(await token()), 'document:read')
    expect(caller.sub).toBe('u1')
    expect(await refusal(one.requirePermission(caller, 'document:approve'))).toBe('forbidden')
    expect(asked).toHaveLength(1)
  })

  it.each([
    ['has only a part of them', { permissions_truncated: true }],
    ['has none', { permissions: undefined }],
  ])('is asked for where the token %s', async (_, claims) => {
    const sent: object[] = []
    decided = (body, headers) => {
      sent.push({ ...body, by: headers.get('Authorization')?.slice(0, 7) })
      return Response.json({ results: [{ allowed: true, scope: 'own', because: [] }] })
    }
    await verifier().requirePermission(bearing(await token(claims)), 'document:approve')
    expect(sent).toEqual([{ checks: [{ permission: 'document:approve' }], by: 'Bearer ' }])
  })

  it('is asked for about a thing, with a key of the API’s own where it has one', async () => {
    const sent: unknown[] = []
    decided = (body, headers) => {
      sent.push(body.checks, headers.get('X-API-Key'), headers.get('Authorization'))
      return Response.json({ results: [{ allowed: false, scope: 'own', because: [] }] })
    }
    const resource = { owner_id: 'u2' }
    const asking = verifier({ api_key: 'fh_key' }).requirePermission(bearing(await token()), 'document:read', { resource })
    expect(await refusal(asking)).toBe('forbidden')
    expect(sent).toEqual([[{ permission: 'document:read', user_id: 'u1', resource }], 'fh_key', null])
  })

  it.each<[string, () => Response, string]>([
    ['that the session ended', () => Response.json({ code: 'session_ended' }, { status: 401 }), 'token_invalid'],
    ['that the user may do nothing', () => Response.json({ code: 'user_inactive' }, { status: 403 }), 'forbidden'],
    ['nothing that is understood', () => new Response('<h1>no</h1>', { status: 500 }), 'unavailable'],
    ['something else', () => Response.json({ results: [] }), 'unavailable'],
  ])('is not held where the service says %s', async (_, answer, code) => {
    decided = answer
    const one = verifier()
    expect(await refusal(one.requirePermission(bearing(await token()), 'document:read', { online: true }))).toBe(code)
  })

  it('is not held by who only looks as if they had been verified, here or elsewhere', async () => {
    const elsewhere = await verifier().verify(bearing(await token()))
    const shaped = { ...elsewhere, headers: {} }
    expect(await refusal(verifier().requirePermission(shaped, 'document:read'))).toBe('token_missing')
    const other = verifier({ tenant: 'other' }).requirePermission(
      { ...elsewhere, headers: { authorization: `Bearer ${elsewhere.token}` } },
      'document:read',
    )
    expect(await refusal(other)).toBe('token_wrong_tenant')
  })

  it('is not held where the service does not answer', async () => {
    const one = verifier()
    const caller = await one.verify(bearing(await token()))
    isAway = true
    expect(await refusal(one.requirePermission(caller, 'document:read', { online: true }))).toBe('unavailable')
  })
})

describe('as middleware', () => {
  const one = () => verifier()
  const hono = () =>
    new Hono<{ Variables: { caller: Caller } }>()
      .use(forHono(one()))
      .get('/', (c) => c.json(c.get('caller').sub))
      .get('/approve', forHono(one(), { permission: 'document:approve' }), (c) => c.text('approved'))
  /** What Express answers, asked through a socket. */
  const throughExpress = async (path: string, headers: Record<string, string>) => {
    // It has no types of its own.
    const app = createRequire(import.meta.url)('express')()
    app.use(forExpress(one()))
    app.get('/', (request: { caller?: Caller }, response: any) => response.json(request.caller?.sub))
    app.get('/approve', forExpress(one(), { permission: 'document:approve' }), (_: unknown, response: any) =>
      response.send('approved'),
    )
    const server = createServer(app)
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { headers })
    const text = await answer.text()
    server.close()
    server.closeAllConnections()
    return new Response(text, answer)
  }
  it.each<[string, (path: string, headers: Record<string, string>) => Response | Promise<Response>]>([
    ['Hono', (path, headers) => hono().request(path, { headers })],
    ['Express', throughExpress],
  ])('of %s it lets in, refuses with a problem, and says what is needed', async (_, request) => {
    const Authorization = `Bearer ${await token()}`
    expect(await (await request('/', { Authorization })).json()).toBe('u1')
    const missing = await request('/', {})
    expect([missing.status, missing.headers.get('WWW-Authenticate')]).toEqual([401, 'Bearer'])
    expect(missing.headers.get('Content-Type')).toMatch(/^application\/problem\+json/)
    expect(await missing.json()).toMatchObject({ status: 401, code: 'token_missing' })
    const forbidden = await request('/approve', { Authorization })
    expect(forbidden.status).toBe(403)
    expect(forbidden.headers.get('WWW-Authenticate')).toMatch(/error="insufficient_scope".*scope="document:approve"/)
    isAway = true
    const away = await request('/', { Authorization })
    expect([away.status, away.headers.get('Retry-After')]).toEqual([503, '5'])
  })
})
