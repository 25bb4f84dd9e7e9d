/** Threat: a request that is read as another tenant's. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { subdomainOf } from '../../src/http/hostname.ts'
import { parseSettings } from '../../src/kernel/config.ts'
import { Problem } from '../../src/kernel/problem.ts'
import { tenantName } from '../../src/tenants/registry/resolve.ts'
import { openElsewhere } from '../support/elsewhere.ts'
import { inside } from '../support/inside.ts'
import { KEYS } from '../support/keys.ts'
import { knock } from '../support/knock.ts'
import { ADMIN, call, login, operatorToken, wanted } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const ME = '/api/v1/auth/me'
let token: string
let foreign: string
let id: string

beforeAll(async () => {
  id = (await copyTenant('here')).id
  await copyTenant('there')
  token = await tokenOf('here')
  foreign = await tokenOf('there')
})

const bearer = (given: string, more: Record<string, string> = {}) => ({ headers: { Authorization: `Bearer ${given}`, ...more } })

describe('a tenant is found', () => {
  it.each<[string, string, Record<string, string>]>([
    ['by its host', 'http://here.freehold.test', {}],
    ['by its host in upper case', 'http://HERE.Freehold.Test', {}],
    ['by its host with a port', 'http://here.freehold.test:8443', {}],
    ['by its host on localhost', 'http://here.localhost:8787', {}],
    ['by X-Tenant on the base domain', 'http://freehold.test', { 'X-Tenant': 'here' }],
    ['by X-Tenant in upper case', 'http://freehold.test', { 'X-Tenant': 'HERE' }],
    ['by X-Tenant with spaces around', 'http://freehold.test', { 'X-Tenant': '  here  ' }],
    ['by X-Tenant on localhost', 'http://localhost:8787', { 'X-Tenant': 'here' }],
    ['by X-Tenant on 127.0.0.1', 'http://127.0.0.1:8787', { 'X-Tenant': 'here' }],
    ['by both, when they agree', 'http://here.freehold.test', { 'X-Tenant': 'Here' }],
    ['by the host, when X-Tenant is empty', 'http://here.freehold.test', { 'X-Tenant': '' }],
    ['by the token alone', 'http://freehold.test', {}],
    ['whatever the Host header says', 'http://here.freehold.test', { Host: 'there.freehold.test' }],
    [
      'whatever forwarding headers say',
      'http://here.freehold.test',
      { 'X-Forwarded-Host': 'there.freehold.test', Forwarded: 'host=there.freehold.test' },
    ],
  ])('%s', async (_, origin, headers) => {
    const answer = await knock(`${origin}${ME}`, bearer(token, headers))
    expect(answer.status, answer.text).toBe(200)
    expect(answer.body.tenant).toBe('here')
  })

  it('with a path that ends in a slash', async () => expect((await call('here', `${ME}/`, { token })).status).toBe(200))
})

describe('a request is refused', () => {
  it.each<[string, number, string, string, Record<string, string>]>([
    ['that names nobody', 400, 'tenant_required', 'http://freehold.test', {}],
    [
      'that names nobody, with a token that is none',
      400,
      'tenant_required',
      'http://freehold.test',
      { Authorization: 'Bearer a.b.c' },
    ],
    ['whose host and X-Tenant disagree', 400, 'tenant_ambiguous', 'http://here.freehold.test', { 'X-Tenant': 'there' }],
    ['whose X-Tenant names two', 400, 'tenant_ambiguous', 'http://here.freehold.test', { 'X-Tenant': 'here, there' }],
    ['whose X-Tenant nobody has', 404, 'tenant_not_found', 'http://freehold.test', { 'X-Tenant': 'nowhere' }],
    ['whose host nobody has', 404, 'tenant_not_found', 'http://nowhere.freehold.test', {}],
    ['whose X-Tenant is no label', 404, 'tenant_not_found', 'http://freehold.test', { 'X-Tenant': "here' or 1=1 --" }],
    ['whose X-Tenant is a dotted name', 404, 'tenant_not_found', 'http://freehold.test', { 'X-Tenant': 'here.freehold.test' }],
    ['whose X-Tenant is over-long', 404, 'tenant_not_found', 'http://freehold.test', { 'X-Tenant': 'a'.repeat(64) }],
    ['on a nested label', 404, 'not_found', 'http://a.here.freehold.test', {}],
    ['on a nested label, whatever X-Tenant says', 404, 'not_found', 'http://a.here.freehold.test', { 'X-Tenant': 'here' }],
    ['on a label that is none', 404, 'not_found', 'http://-here.freehold.test', {}],
    ['on a foreign host', 404, 'not_found', 'http://evil.test', { 'X-Tenant': 'here' }],
    ['on a host that ends like ours', 404, 'not_found', 'http://evilfreehold.test', { 'X-Tenant': 'here' }],
    ['on a host that begins like ours', 404, 'not_found', 'http://here.freehold.test.evil.test', {}],
    ['on another address', 404, 'not_found', 'http://127.0.0.2', { 'X-Tenant': 'here' }],
  ])('%s: %i %s', async (_, status, code, origin, headers) => {
    expectProblem(await knock(`${origin}${ME}`, { headers }), status, code)
    expectProblem(await knock(`${origin}/.well-known/jwks.json`, { headers }), status, code)
  })

  it('whose token is another tenant’s than the host, or X-Tenant, says', async () => {
    expectProblem(await call('here', ME, { token: foreign }), 401, 'token_wrong_tenant')
    expectProblem(await call('', ME, { token: foreign, tenant: 'here' }), 401, 'token_wrong_tenant')
  })

  it('whose operator’s token names no tenant', async () =>
    expectProblem(await call('', ME, { token: await operatorToken() }), 400, 'tenant_required'))

  it('for the platform on a tenant’s host, or on a foreign one', async () => {
    const operator = await operatorToken()
    for (const origin of [
      'http://here.freehold.test',
      'http://nowhere.freehold.test',
      'http://evil.test',
      'http://a.b.freehold.test',
    ]) {
      expectProblem(await knock(`${origin}/platform/v1/tenants`, bearer(operator)), 404, 'not_found')
      expectProblem(await knock(`${origin}/platform/v1/auth/login`, { method: 'POST' }), 404, 'not_found')
    }
  })

  it('whatever X-Tenant says, it does not lead from the platform into a tenant', async () => {
    const answer = await call('', '/platform/v1/auth/me', { token: await operatorToken(), tenant: 'here' })
    expect([answer.status, answer.body.tenant]).toEqual([200, null])
    expectProblem(await call('', '/platform/v1/auth/login', { body: ADMIN, tenant: 'here' }), 401, 'invalid_credentials')
  })

  it('at once, when the tenant’s own database says that it is switched off', async () => {
    await copyTenant('dark')
    const { access_token, refresh_token } = await login('dark')
    const realm = await inside('dark')
    await realm.asOwner(sql`update freehold.tenant set is_active = false`)
    expectProblem(await call('dark', ME, { token: access_token }), 403, 'tenant_inactive')
    expectProblem(await call('dark', '/api/v1/auth/login', { body: ADMIN }), 403, 'tenant_inactive')
    expectProblem(await call('dark', '/api/v1/auth/refresh', { body: { refresh_token } }), 403, 'tenant_inactive')
    expectProblem(await call('dark', '/api/v1/auth/logout', { token: access_token, method: 'POST' }), 403, 'tenant_inactive')
  })
})

describe('a path', () => {
  it.each<[string, string, string]>([
    ['GET', '/api/v1/auth/login', 'POST'],
    ['PUT', '/api/v1/auth/login/', 'POST'],
    ['HEAD', '/api/v1/auth/refresh-token', 'POST'],
    ['DELETE', '/api/v1/auth/me', 'GET'],
    ['POST', '/api/v1/auth/whoami', 'GET'],
    ['GET', '/api/v1/auth/logout', 'POST'],
    ['PATCH', '/api/v1/auth/password-change', 'POST'],
    ['POST', '/.well-known/jwks.json', 'GET'],
  ])('has no %s: %s is 405 and allows %s', async (method, path, allowed) => {
    const answer = await knock(`http://here.freehold.test${path}`, { method })
    expect(answer.status).toBe(405)
    expect(answer.headers.get('Allow')?.split(/, ?/)).toContain(allowed)
    if (method !== 'HEAD') expectProblem(answer, 405, 'method_not_allowed')
  })

  it.each([
    '/api/v1/auth',
    '/api/v1/auth/',
    '/api/v1/auth/nothing',
    '/API/v1/auth/me',
    '/api/v1/auth/me/me',
    '//api/v1/auth/me',
    '/api/v1/auth/me%00',
    '/api/v1/auth/..%2fme',
  ])('that is none, %s, is not_found', async (path) => {
    expectProblem(await knock(`http://here.freehold.test${path}`, bearer(token)), 404, 'not_found')
  })
})

describe('with the platform at id.freehold.dev and tenants at {subdomain}.freehold.dev', () => {
  const apart = { BASE_URL: 'https://id.freehold.dev', TENANT_URL: 'https://{subdomain}.freehold.dev' }
  let at: Awaited<ReturnType<typeof openElsewhere>>
  beforeAll(async () => {
    at = await openElsewhere(apart)
  })
  const json = (body: unknown, more = {}) => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...more },
    body: JSON.stringify(body),
  })

  it('a tenant is served at its host, and its tokens, discovery and document say so', async () => {
    const entered = await at('https://here.freehold.dev/api/v1/auth/login', json(ADMIN))
    expect(entered.status, entered.text).toBe(200)
    const { access_token } = entered.body
    const { iss } = JSON.parse(atob(access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')))
    expect(iss).toBe('https://here.freehold.dev')
    const me = await at(`https://here.freehold.dev${ME}`, bearer(access_token))
    expect([me.status, me.body.tenant]).toEqual([200, 'here'])
    const { body: metadata } = await at('https://here.freehold.dev/.well-known/openid-configuration')
    expect([metadata.issuer, metadata.token_endpoint]).toEqual([
      'https://here.freehold.dev',
      'https://here.freehold.dev/oauth/token',
    ])
    const { body: document } = await at('https://id.freehold.dev/openapi.json')
    expect(document.servers.map(({ url }: { url: string }) => url)).toEqual([
      'https://id.freehold.dev',
      'https://{tenant}.freehold.dev',
    ])
    expect((await at('https://id.freehold.dev/docs')).text).toContain('https://{tenant}.freehold.dev/docs')
  })

  it('by X-Tenant on the platform’s host, and its pages by their origin', async () => {
    const entered = await at('https://id.freehold.dev/api/v1/auth/login', json(ADMIN, { 'X-Tenant': 'here' }))
    expect(entered.status, entered.text).toBe(200)
    const asked = { method: 'OPTIONS', headers: { Origin: 'https://here.freehold.dev', 'Access-Control-Request-Method': 'POST' } }
    const answer = await at('https://id.freehold.dev/api/v1/auth/login', asked)
    expect([answer.status, answer.headers.get('Access-Control-Allow-Origin')]).toEqual([204, 'https://here.freehold.dev'])
  })

  it('cookies are of the host of the tenant, and for pages there', async () => {
    const login = { ...ADMIN, cookie: true }
    const url = 'https://here.freehold.dev/api/v1/auth/login'
    const entered = await at(url, json(login, { Origin: 'https://here.freehold.dev' }))
    expect([entered.status, entered.body.access_token]).toEqual([200, undefined])
    expect(entered.headers.getSetCookie().length).toBeGreaterThan(1)
    expectProblem(await at(url, json(login, { Origin: 'https://id.freehold.dev' })), 403, 'forbidden')
  })

  it('the platform’s own label is the platform’s, and no tenant’s', async () => {
    expect((await at('https://id.freehold.dev/platform/v1/.well-known/jwks.json')).status).toBe(200)
    expectProblem(await at(`https://id.freehold.dev${ME}`), 400, 'tenant_required')
    expectProblem(await at('https://here.freehold.dev/platform/v1/.well-known/jwks.json'), 404, 'not_found')
    for (const [BASE_URL, name] of [
      ['https://id.freehold.dev', 'id'],
      ['https://console-7.freehold.dev', 'console-7'],
    ]) {
      const ask = await openElsewhere({ ...apart, BASE_URL })
      const { body } = await ask(`${BASE_URL}/platform/v1/auth/login`, json(inject('operator')))
      const headers = { Authorization: `Bearer ${body.access_token}` }
      const made = await ask(`${BASE_URL}/platform/v1/tenants`, json(wanted(name ?? ''), headers))
      expectProblem(made, 400, 'invalid_request')
      expect(made.body.errors).toEqual([{ pointer: '#/subdomain', detail: 'is reserved' }])
      const renamed = await ask(`${BASE_URL}/platform/v1/tenants/${id}`, {
        ...json({ subdomain: name }, headers),
        method: 'PATCH',
      })
      expectProblem(renamed, 409, 'subdomain_taken')
    }
  })

  it.each(['freehold.dev', 'a.here.freehold.dev', 'here.id.freehold.dev', 'here.freehold.test', 'id.example.org'])(
    '%s is no host of ours',
    async (host) => expectProblem(await at(`https://${host}${ME}`), 404, 'not_found'),
  )
})

describe('the rule', () => {
  const settings = {
    BASE_URL: 'https://freehold.dev',
    MASTER_DATABASE_URL: 'postgresql://u:p@h/d',
    MASTER_READER_URL: 'postgresql://r:p@h/d',
    ...KEYS,
    NEON_API_KEY: 'x',
  }
  const production = parseSettings({ ...settings, ENVIRONMENT: 'production' })
  const single = parseSettings({ ...settings, DEFAULT_TENANT: 'only' })
  const claiming = (tenant: unknown) => `Bearer e30.${btoa(JSON.stringify({ tenant })).replaceAll('=', '')}.x`
  const result = (run: () => unknown) => {
    try {
      return run()
    } catch (error) {
      return error instanceof Problem ? error.code : error
    }
  }

  it.each<[string, string | null]>([
    ['freehold.dev', null],
    ['acme.freehold.dev', 'acme'],
    ['a-1.freehold.dev', 'a-1'],
    ['localhost', 'not_found'],
    ['127.0.0.1', 'not_found'],
    ['acme.localhost', 'not_found'],
    ['a.b.freehold.dev', 'not_found'],
    ['.freehold.dev', 'not_found'],
    ['acme-.freehold.dev', 'not_found'],
    [`${'a'.repeat(64)}.freehold.dev`, 'not_found'],
    ['acmefreehold.dev', 'not_found'],
    ['freehold.dev.evil.test', 'not_found'],
  ])('in production reads the host %s as %s', (host, expected) =>
    expect(result(() => subdomainOf(production, host))).toBe(expected),
  )

  it.each<[string, string | undefined, string | undefined, string]>([
    ['freehold.dev', undefined, undefined, 'only'],
    ['freehold.dev', undefined, 'Bearer opaque', 'only'],
    ['freehold.dev', undefined, claiming('acme'), 'acme'],
    ['freehold.dev', undefined, claiming(''), 'only'],
    ['freehold.dev', undefined, claiming({ a: 1 }), 'only'],
    ['freehold.dev', undefined, claiming('no label!'), 'tenant_not_found'],
    ['freehold.dev', 'acme', claiming('other'), 'acme'],
    ['acme.freehold.dev', undefined, claiming('other'), 'acme'],
    ['acme.freehold.dev', 'other', undefined, 'tenant_ambiguous'],
    ['freehold.dev', '   ', undefined, 'only'],
  ])('with DEFAULT_TENANT reads %s, X-Tenant %s, %s as %s', (host, header, authorization, expected) =>
    expect(result(() => tenantName(single, subdomainOf(single, host), header, () => authorization))).toBe(expected),
  )
})
