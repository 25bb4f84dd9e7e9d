/** Threat: a page of a foreign origin reads what a tenant answers, or logs its visitor in as somebody else. */
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { SignedEntry } from '../../src/tenants/registry/registry.ts'
import { newJar, originOf } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { ADMIN, call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const GIVEN = 'https://app.acme.test'
const OWN = originOf('shared')
const SIBLING = originOf('unshared')
const LOGIN = '/api/v1/auth/login'
const ME = '/api/v1/auth/me'
let operator: string
let tenant: any

beforeAll(async () => {
  operator = await operatorToken()
  tenant = await makeTenant('shared', { config: { origins: [GIVEN] } }, operator)
  await copyTenant('unshared')
})

const ask = (url: string, origin: string, more: Record<string, string> = {}) =>
  knock(url, {
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'content-type',
      ...more,
    },
  })
const patch = (config: unknown, id = tenant.id, headers = {}) =>
  call('', `/platform/v1/tenants/${id}`, { method: 'PATCH', token: operator, body: { config }, headers })
const allowed = ({ headers }: { headers: Headers }) => headers.get('Access-Control-Allow-Origin')
/** No header of CORS is there at all. */
const expectSilent = ({ headers }: { headers: Headers }) =>
  expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([])

describe('a preflight', () => {
  it.each([
    ['of its own page', `${OWN}${LOGIN}`, OWN],
    ['of its own page, at the base domain, which is not told which tenant', `${originOf('')}${LOGIN}`, OWN],
    ['of a page that it was given', `${OWN}${LOGIN}`, GIVEN],
    ['of the platform’s own page', `${originOf('')}/platform/v1/auth/login`, originOf('')],
  ])('%s is answered without a round trip', async (_, url, origin) => {
    await knock(`${OWN}/.well-known/jwks.json`)
    const answer = await ask(url, origin)
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect(allowed(answer)).toBe(origin)
    const of = (name: string) => (answer.headers.get(`Access-Control-Allow-${name}`) ?? '').toLowerCase().split(', ').sort()
    expect(of('Methods')).toEqual(['delete', 'get', 'head', 'patch', 'post', 'put'])
    expect(of('Headers')).toEqual(
      'authorization content-type idempotency-key if-match if-none-match traceparent x-account x-api-key x-tenant'.split(' '),
    )
    expect(answer.headers.get('Access-Control-Max-Age')).toBe('600')
    expect(answer.headers.get('Access-Control-Allow-Credentials')).toBeNull()
    expect(answer.headers.get('Vary')).toBe('X-Tenant, Origin')
    expect(answer.headers.get('Server-Timing')).toBe('db;desc="0", master;desc="0"')
  })

  it.each([
    ['a sibling', SIBLING],
    ['the platform', originOf('')],
    ['another port', `${OWN}:81`],
    ['another scheme', OWN.replace('http:', 'https:')],
    ['a name that begins alike', `${GIVEN}.evil.test`],
    ['a name that ends alike', 'https://evil-app.acme.test'],
    ['a page without an origin', 'null'],
    ['a pattern', '*'],
    ['two', `${OWN}, ${GIVEN}`],
    ['upper case', GIVEN.toUpperCase()],
  ])('of %s is refused in words, and without a header of CORS', async (_, origin) => {
    const answer = await ask(`${OWN}${LOGIN}`, origin)
    expectProblem(answer, 403, 'forbidden')
    expectSilent(answer)
  })

  it('of a page that a tenant was given is not answered where no tenant is named, nor by another tenant', async () => {
    const nobody = await ask(`${originOf('')}${LOGIN}`, GIVEN)
    expectProblem(nobody, 400, 'tenant_required')
    expectSilent(nobody)
    const other = await ask(`${SIBLING}${LOGIN}`, GIVEN)
    expectProblem(other, 403, 'forbidden')
    expectSilent(other)
  })

  it('is for a browser: without its headers OPTIONS is a method like any other', async () => {
    for (const headers of [{}, { Origin: OWN }, { 'Access-Control-Request-Method': 'POST' }] as Record<string, string>[])
      expect((await knock(`${OWN}${ME}`, { method: 'OPTIONS', headers })).status).toBe(405)
  })
})

describe('an answer', () => {
  const read = async (headers: Record<string, string>, at = 'shared', path = ME) => {
    const token = await tokenOf('shared')
    return call(at, path, { token, headers })
  }
  it.each([
    ['to its own page', OWN],
    ['to a page that it was given', GIVEN],
  ])('%s may be read, headers too, and never with credentials', async (_, Origin) => {
    for (const answer of [await read({ Origin }), await read({ Origin, 'X-Tenant': 'shared' }, '')]) {
      expect([answer.status, allowed(answer)]).toEqual([200, Origin])
      expect(answer.headers.get('Access-Control-Expose-Headers')).toBe(
        'ETag, Location, X-Trace-Id, Retry-After, RateLimit-Policy, RateLimit, Link, Idempotency-Replayed, Freehold-License, WWW-Authenticate',
      )
      expect(answer.headers.get('Access-Control-Allow-Credentials')).toBeNull()
    }
  })

  it('that is a problem may be read as well, also when there is no realm', async () => {
    for (const Origin of [OWN, GIVEN]) {
      for (const [path, status] of [
        [ME, 401],
        ['/api/v1/nothing', 404],
      ] as const) {
        const answer = await call('shared', path, { headers: { Origin } })
        expect([answer.status, allowed(answer)]).toEqual([status, Origin])
      }
    }
    await copyTenant('shared-off').then(({ id }) =>
      call('', `/platform/v1/tenants/${id}/deactivate`, { method: 'POST', token: operator }),
    )
    const Origin = originOf('shared-off')
    const answer = await call('', ME, { headers: { Origin, 'X-Tenant': 'shared-off' } })
    expectProblem(answer, 403, 'tenant_inactive')
    expect(allowed(answer)).toBe(Origin)
  })

  it.each([[SIBLING], ['https://evil.test'], ['null'], [`${GIVEN}/`]])('to a page of %s has no header of CORS', async (Origin) =>
    expectSilent(await read({ Origin })),
  )

  it('that is everybody’s is everybody’s', async () => {
    for (const path of ['/.well-known/jwks.json', '/.well-known/openid-configuration', '/openapi.json'])
      for (const headers of [{ Origin: 'https://evil.test' }, {}] as Record<string, string>[])
        expect(allowed(await knock(`${OWN}${path}`, { headers })), path).toBe('*')
    expect((await ask(`${OWN}/.well-known/jwks.json`, 'https://evil.test')).status).toBe(204)
    expectSilent(await knock(`${OWN}/healthz`, { headers: { Origin: 'https://evil.test' } }))
  })
})

describe('who is logged in or out', () => {
  it.each([[SIBLING], ['https://evil.test'], ['null'], [originOf('')]])(
    'no page of %s decides, with tokens or without',
    async (Origin) => {
      const { access_token: token, refresh_token } = await login('shared')
      const headers = { Origin }
      const form = { username: ADMIN.email, password: ADMIN.password }
      for (const answer of [
        await call('shared', LOGIN, { body: ADMIN, headers }),
        await call('shared', LOGIN, { form, headers }),
        await call('shared', LOGIN, { form: { ...form, cookie: 'true' }, headers }),
        await call('shared', '/api/v1/auth/refresh-token', { body: { refresh_token }, headers }),
        await call('shared', '/api/v1/auth/logout', { method: 'POST', token, headers }),
        await call('shared', '/api/v1/auth/logout-all', { method: 'POST', token, headers }),
        await call('shared', '/api/v1/auth/password-change', {
          token,
          headers,
          body: { current_password: ADMIN.password, new_password: 'Amber-Lantern-47' },
        }),
      ]) {
        expectProblem(answer, 403, 'forbidden')
        expectSilent(answer)
        expect([answer.trips, answer.headers.getSetCookie()]).toEqual([0, []])
      }
      expect((await call('shared', ME, { token })).status).toBe(200)
      expect((await call('shared', '/api/v1/auth/refresh-token', { body: { refresh_token } })).status).toBe(200)
    },
  )

  it('on the base domain the platform’s own page may, with tokens, as it is the same host', async () => {
    const answer = await call('', LOGIN, { tenant: 'shared', body: ADMIN, headers: { Origin: originOf('') } })
    expect([answer.status, answer.body.token_type]).toEqual([200, 'Bearer'])
    expectProblem(await call('', LOGIN, { tenant: 'shared', body: ADMIN, headers: { Origin: SIBLING } }), 403, 'forbidden')
  })

  it('an operator’s own page decides for operators, and a tenant’s does not', async () => {
    const url = '/platform/v1/auth/logout'
    for (const Origin of [OWN, GIVEN, 'https://evil.test'])
      expectProblem(await call('', url, { method: 'POST', token: operator, headers: { Origin } }), 403, 'forbidden')
  })

  it('a page that the tenant was given may log in and out with tokens, but never with cookies', async () => {
    const headers = { Origin: GIVEN }
    const entered = await call('shared', LOGIN, { body: ADMIN, headers })
    expect([entered.status, allowed(entered)]).toEqual([200, GIVEN])
    const refreshed = await call('shared', '/api/v1/auth/refresh-token', {
      body: { refresh_token: entered.body.refresh_token },
      headers,
    })
    expect(refreshed.status).toBe(200)
    const { access_token: token } = refreshed.body
    expect((await call('shared', '/api/v1/auth/logout', { method: 'POST', token, headers })).status).toBe(204)
    const refused = await newJar('shared').ask(LOGIN, { body: { ...ADMIN, cookie: true }, origin: GIVEN })
    expectProblem(refused, 403, 'forbidden')
    expect(refused.headers.getSetCookie()).toEqual([])
  })
})

describe('the origins of a tenant', () => {
  it('are in what operators read, in the registry, and take effect when they change', async () => {
    expect(tenant.config).toEqual({ origins: [GIVEN] })
    const OTHER = 'http://localhost:5173'
    const changed = await patch({ origins: [OTHER] })
    expect([changed.status, changed.body.config]).toEqual([200, { origins: [OTHER] }])
    expect((await env.TENANTS.get<SignedEntry>('tenant:shared', 'json'))?.origins).toEqual([OTHER])
    // What an isolate remembers of an active tenant, it remembers for ten seconds.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_001 })
    onTestFinished(() => void vi.useRealTimers())
    expect((await ask(`${OWN}${LOGIN}`, GIVEN)).status).toBe(403)
    expect((await ask(`${OWN}${LOGIN}`, OTHER)).status).toBe(204)
    expect((await patch({})).body.config).toEqual({ origins: [OTHER] })
    expect((await patch({ origins: [] })).body.config).toEqual({ origins: [] })
    await patch({ origins: [GIVEN] })
  })

  it.each<[string, unknown[], string[]]>([
    ['without TLS', ['http://app.acme.test'], ['#/config/origins/0']],
    ['with a path', ['https://app.acme.test/'], ['#/config/origins/0']],
    ['with a default port', ['https://app.acme.test:443'], ['#/config/origins/0']],
    ['in upper case', ['https://App.acme.test'], ['#/config/origins/0']],
    ['with a person', ['https://a@app.acme.test'], ['#/config/origins/0']],
    ['that is a pattern', [GIVEN, '*'], ['#/config/origins/1']],
    ['that is a pattern of hosts', ['https://*.acme.test'], ['#/config/origins/0']],
    ['that is none', ['null'], ['#/config/origins/0']],
    ['of another scheme', ['ftp://app.acme.test'], ['#/config/origins/0']],
    ['with a look-alike letter', ['https://аpp.acme.test'], ['#/config/origins/0']],
    ['that is empty', [''], ['#/config/origins/0']],
    ['over-long', [`https://${'a.'.repeat(200)}test`], ['#/config/origins/0']],
    ['that is a number', [7], ['#/config/origins/0']],
    ['named twice', [GIVEN, GIVEN], ['#/config/origins']],
    ['one too many', Array.from({ length: 21 }, (_, i) => `https://a${i}.test`), ['#/config/origins']],
    ['that is a sibling’s host', ['https://unshared.freehold.test'], ['#/config/origins/0']],
    ['that is a sibling’s host with another port', [GIVEN, 'https://unshared.freehold.test:8443'], ['#/config/origins/1']],
    ['that is a sibling’s host on localhost', ['http://unshared.localhost:8787'], ['#/config/origins/0']],
    ['that is a sibling’s host with a dot at its end', ['https://unshared.freehold.test.'], ['#/config/origins/0']],
    ['that a later tenant may have', ['https://later.freehold.test'], ['#/config/origins/0']],
    ['below its own host', ['https://app.shared.freehold.test'], ['#/config/origins/0']],
  ])('may not have one %s', async (_, origins, places) => {
    const answer = await patch({ origins })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(places)
  })

  it('may have one of its own host, with another scheme or port', async () => {
    const own = ['https://shared.freehold.test', 'https://shared.freehold.test:8443', 'http://shared.localhost:5173']
    expect((await patch({ origins: own })).body.config).toEqual({ origins: own })
    await patch({ origins: [GIVEN] })
  })

  it('may not have one of another tenant when it is made, either', async () => {
    const body = wanted('sharer', {
      config: { origins: [GIVEN, 'https://unshared.freehold.test', 'https://sharer.freehold.test'] },
    })
    const answer = await call('', '/platform/v1/tenants', { token: operator, body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/config/origins/1'])
  })

  it('twenty at once leave none of another tenant', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => patch({ origins: [n % 2 ? GIVEN : 'https://unshared.freehold.test'] })),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map((_, n) => (n % 2 ? 200 : 400)))
    expect((await call('', `/platform/v1/tenants/${tenant.id}`, { token: operator })).body.config).toEqual({ origins: [GIVEN] })
  })

  it('stay as they are when the request is not as it must be', async () => {
    for (const [config, place] of [
      [{ '-origin': [] }, '#/config/-origin'],
      [{ origins: 7 }, '#/config/origins'],
      [[], '#/config'],
    ]) {
      const answer = await patch(config)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual([place])
    }
    expectProblem(await patch({ origins: [] }, tenant.id, { 'If-Match': '"2020-01-01T00:00:00.000000Z"' }), 412, 'etag_mismatch')
    expectProblem(await patch({ origins: [] }, crypto.randomUUID()), 404, 'not_found')
    const { headers, body } = await call('', `/platform/v1/tenants/${tenant.id}`, { token: operator })
    expect(body.config).toEqual({ origins: [GIVEN] })
    const same = await patch({ origins: [GIVEN] }, tenant.id, { 'If-Match': headers.get('ETag') ?? '' })
    expect(same.status).toBe(200)
  })
})
