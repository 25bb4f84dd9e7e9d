/**
 * Threat: a browser takes an answer for a page and runs what is in it, shows it inside a foreign page, or tells other hosts where its
 * visitor was. Every answer says that it is not for that, whatever made it.
 */
import { Hono } from 'hono'
import { beforeAll, describe, expect, it } from 'vitest'
import type { AppEnv } from '../../src/http/app-env.ts'
import { setHeaders } from '../../src/http/headers.ts'
import { doorsOf } from '../support/doors.ts'
import { knockElsewhere, PRODUCTION } from '../support/elsewhere.ts'
import { unguarded } from '../support/guarded.ts'
import { originOf } from '../support/jar.ts'
import { type Heard, knock } from '../support/knock.ts'
import { ADMIN, operatorToken } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'framed'
const HOST = `http://${AT}.freehold.test`
const BASE = 'http://freehold.test'
const DOCS =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
const tokens = { tenant: '', platform: '' }
const json = { 'Content-Type': 'application/json' }

beforeAll(async () => {
  await copyTenant(AT)
  tokens.tenant = await tokenOf(AT)
  tokens.platform = await operatorToken()
})

const expectGuarded = (url: string, heard: Heard, more = {}) =>
  expect(unguarded(new URL(url).pathname, heard, more), `${url} ${heard.status}`).toEqual([])

describe('an answer', () => {
  it('of every route has them, to who may ask and to who may not', async () => {
    const statuses = new Set<number>()
    for (const { method, path, on_platform, types, name } of await doorsOf()) {
      const url = `${on_platform ? BASE : HOST}${path}`
      const sent = types[0] && { headers: { 'Content-Type': types[0] }, body: types[0].endsWith('ndjson') ? '' : '{}' }
      const right = { Authorization: `Bearer ${on_platform ? tokens.platform : tokens.tenant}` }
      // What would end the session goes without it.
      for (const credential of /logout/.test(path) ? [{}] : [{}, right]) {
        const headers: Record<string, string> = { ...(sent ? sent.headers : {}), ...credential }
        // A stream does not end while it is read.
        const heard = await knock(url, {
          method: path.endsWith('/stream') ? 'HEAD' : method,
          ...(sent && { body: sent.body }),
          headers,
        })
        expect(unguarded(path, heard), `${name} ${heard.status}`).toEqual([])
        statuses.add(heard.status)
      }
    }
    expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 401, 404]))
  })

  it.each<[string, number, string, RequestInit?]>([
    ['health', 200, `${BASE}/healthz`],
    ['readiness', 200, `${BASE}/readyz`],
    ['the document', 200, `${BASE}/openapi.json`],
    ['the keys', 200, `${HOST}/.well-known/jwks.json`],
    ['discovery', 200, `${HOST}/.well-known/openid-configuration`],
    ['the page of a problem', 200, `${BASE}/problems/not_found`],
    ['a script of /docs', 200, `${BASE}/docs/start.js`],
    ['a file of /docs', 200, `${BASE}/docs/swagger-ui.css`],
    ['a file that /docs has not', 404, `${BASE}/docs/swagger-ui.js`],
    ['the root', 404, `${BASE}/`],
    ['a foreign host', 404, 'http://evil.test/api/v1/auth/me'],
    ['a nested name', 404, 'http://a.b.freehold.test/healthz'],
    ['no tenant of that name', 404, 'http://nobody-framed.freehold.test/api/v1/auth/me'],
    ['no such path', 404, `${HOST}/api/v1/nothing`],
    ['no tenant', 400, `${BASE}/api/v1/auth/me`],
    ['no token', 401, `${HOST}/api/v1/auth/me`],
    ['a HEAD', 200, `${BASE}/healthz`, { method: 'HEAD' }],
    ['a wrong method', 405, `${HOST}/api/v1/auth/login`],
    ['OPTIONS', 405, `${HOST}/api/v1/auth/login`, { method: 'OPTIONS' }],
    [
      'a preflight',
      204,
      `${HOST}/api/v1/auth/login`,
      { method: 'OPTIONS', headers: { Origin: originOf(AT), 'Access-Control-Request-Method': 'POST' } },
    ],
    [
      'a foreign preflight',
      403,
      `${HOST}/api/v1/auth/login`,
      { method: 'OPTIONS', headers: { Origin: 'https://evil.test', 'Access-Control-Request-Method': 'POST' } },
    ],
    ['malformed JSON', 400, `${HOST}/api/v1/auth/login`, { method: 'POST', headers: json, body: '{' }],
    ['a body too large', 413, `${HOST}/api/v1/auth/login`, { method: 'POST', headers: json, body: 'x'.repeat(1024 * 1024) }],
    ['a content type', 415, `${HOST}/api/v1/auth/login`, { method: 'POST', headers: { 'Content-Type': 'text/html' }, body: 'x' }],
  ])('to %s (%i) has them', async (_, status, url, init) => {
    const heard = await knock(url, init)
    expect(heard.status, heard.text).toBe(status)
    expectGuarded(url, heard)
  })

  it('that the caller has already (304), that sets cookies, and that is sent as a file, has them', async () => {
    const tag = (await knock(`${BASE}/openapi.json`)).headers.get('ETag') ?? ''
    const known = await knock(`${BASE}/openapi.json`, { headers: { 'If-None-Match': tag } })
    expect(known.status).toBe(304)
    expectGuarded(`${BASE}/openapi.json`, known)
    const login = { method: 'POST', headers: { ...json, Origin: originOf(AT) }, body: JSON.stringify({ ...ADMIN, cookie: true }) }
    const cookies = await knock(`${HOST}/api/v1/auth/login`, login)
    expect([cookies.status, cookies.headers.has('Set-Cookie')]).toEqual([200, true])
    expectGuarded(`${HOST}/api/v1/auth/login`, cookies)
    for (const format of ['csv', 'ndjson']) {
      const url = `${HOST}/api/v1/activities/export?format=${format}`
      const file = await knock(url, { headers: { Authorization: `Bearer ${tokens.tenant}` } })
      expect([file.status, file.headers.get('Content-Disposition')]).toEqual([200, expect.stringMatching(/^attachment/)])
      expectGuarded(url, file)
    }
  })

  it('that is a failure of our own, of the settings, or on the way to https, has them', async () => {
    const rejecting = { ATTEMPTS: { limit: () => Promise.reject(new TypeError('broken')) } }
    const url = `${HOST}/api/v1/auth/login`
    const failed = await knockElsewhere(rejecting, url, { method: 'POST', headers: json, body: '{}' })
    expect(failed.status).toBe(500)
    expectGuarded(url, failed)
    const wrong = await knockElsewhere({ BASE_URL: 'nowhere' }, `${BASE}/healthz`)
    expect([wrong.status, wrong.body.code]).toEqual([500, 'internal_error'])
    expectGuarded(`${BASE}/healthz`, wrong)
    expect(wrong.headers.get('Cache-Control')).toBe('no-store')
    for (const [path, status] of [
      ['/docs', 308],
      ['/healthz', 403],
    ] as const) {
      const plain = await knockElsewhere(PRODUCTION, `${PRODUCTION.BASE_URL.replace('https', 'http')}${path}`)
      expect(plain.status).toBe(status)
      expectGuarded(`${BASE}${path}`, plain)
    }
  })

  it('that scripts of any origin may read says so by CORS, which Cross-Origin-Resource-Policy does not stop', async () => {
    for (const url of [`${HOST}/.well-known/jwks.json`, `${HOST}/.well-known/openid-configuration`, `${BASE}/openapi.json`]) {
      const heard = await knock(url, { headers: { Origin: 'https://app.evil.test' } })
      expect(heard.headers.get('Access-Control-Allow-Origin')).toBe('*')
      expectGuarded(url, heard)
    }
  })
})

describe('the page /docs', () => {
  it('has a policy of its own, which lets it load from its own origin and be framed nowhere', async () => {
    for (const url of [`${BASE}/docs`, `${HOST}/docs/`]) expectGuarded(url, await knock(url), { 'Content-Security-Policy': DOCS })
  })

  it.each([
    ['/docs', 'text/html; charset=UTF-8'],
    ['/docs/start.js', 'text/javascript; charset=utf-8'],
    ['/docs/swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
    ['/docs/swagger-ui.css', 'text/css; charset=utf-8'],
  ])('names the charset of %s', async (path, type) =>
    expect((await knock(`${BASE}${path}`)).headers.get('Content-Type')).toBe(type),
  )
})

it('a route may declare its own, as one of pictures that other origins show does', async () => {
  const own = {
    'Cross-Origin-Resource-Policy': 'cross-origin',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
    'Cache-Control': 'public, max-age=60',
  }
  const app = new Hono<AppEnv>()
  app.use('*', setHeaders)
  app.get('/avatar', (c) => c.body('', 200, own))
  const { headers } = await app.request('/avatar')
  expect(unguarded('/avatar', { headers }, own)).toEqual([])
})
