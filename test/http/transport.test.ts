/** Threat: what a client sends over a connection that others read is answered as if nothing had happened, and it goes on to do so. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Door, doorsOf, lazyBody, send } from '../support/doors.ts'
import { knockElsewhere, PRODUCTION } from '../support/elsewhere.ts'
import { type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { ADMIN } from '../support/people.ts'
import { expectOAuthError, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'plain'
const HOST = `${AT}.freehold.dev`
const ME = '/api/v1/auth/me'
const PAGES = [
  '/',
  '/docs',
  '/docs/',
  '/docs/start.js',
  '/docs/swagger-ui.css',
  '/problems/forbidden',
  '/docs/nothing?a=b',
  '/login?next=/account',
  '/account/api-keys',
  '/pages/style.css',
]
const CALLS = [
  '/healthz',
  '/readyz',
  '/openapi.json',
  '/.well-known/jwks.json',
  ME,
  '/oauth/token',
  '/loginx',
  '/nothing',
  '//docs',
  '/docsx',
]
/** Bindings that nothing may touch, and a master that nothing may ask. */
const untouched = () => {
  const asked: string[] = []
  const note = (name: string) => () => {
    asked.push(name)
    return Promise.reject(new Error(name))
  }
  const limit = (name: string) => ({ limit: note(name) })
  const TENANTS = { get: note('KV'), getWithMetadata: note('KV') }
  const bindings = { TENANTS, ATTEMPTS: limit('ATTEMPTS'), FAILURES: limit('FAILURES'), REFUSALS: limit('REFUSALS') }
  return { asked, changed: { ...PRODUCTION, ...bindings, MASTER_DATABASE_URL: 'postgresql://u:p@nohost.test/nothing' } }
}
let realm: Inside
let token: string
let doors: Door[]

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  doors = await doorsOf()
})

/** A request as Cloudflare hands it to the Worker: with the version of TLS by which the client came. */
const by = (tlsVersion: string | undefined, url: string, init: RequestInit = {}, more: Record<string, unknown> = {}) =>
  knockElsewhere({ ...PRODUCTION, ...more }, url, { ...init, cf: { tlsVersion } } as RequestInit)
const bearer = () => ({ headers: { Authorization: `Bearer ${token}` } })

describe('a call by plain http', () => {
  it('is refused at every route, without a redirect, before anything is read or asked', async () => {
    const { asked, changed } = untouched()
    expect(doors.length).toBeGreaterThan(80)
    for (const { method, path, on_platform, name, types } of doors) {
      const { body, seen } = lazyBody(64 * 1024)
      const url = `http://${on_platform ? 'freehold.dev' : HOST}${path}`
      const headers = { ...bearer().headers, Cookie: '__Host-fh_a_x=y', ...(types[0] && { 'Content-Type': types[0] }) }
      const answer = types.length
        ? await send(url, { method, headers, body }, changed)
        : await knockElsewhere(changed, url, { method, headers })
      if (path.startsWith('/oauth/')) expectOAuthError(answer, 403, 'access_denied', name)
      else expectProblem(answer, 403, 'https_required', name)
      expect(answer.headers.get('Location'), name).toBeNull()
      expect(seen.bytes, name).toBe(0)
    }
    expect(asked).toEqual([])
  })

  it('says to use https, and that what was sent is no secret any more, in either language', async () => {
    const said = async (language: string) => {
      const { body } = await knockElsewhere(PRODUCTION, `http://${HOST}${ME}`, { headers: { 'Accept-Language': language } })
      return [body.title, body.detail]
    }
    expect(await said('en')).toEqual([
      'HTTPS is required',
      'Use https. Others may have read this request: change the password, or end the session or key, that it carried.',
    ])
    expect((await said('es'))[1]).toMatch(/^Usa https\. Otros pueden haber leído esta solicitud/)
    expect((await knock('http://freehold.test/problems/https_required')).body).toMatchObject({ status: 403 })
  })

  it.each(CALLS)('of %s is refused, whatever its method', async (path) => {
    for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
      const answer = await knockElsewhere(PRODUCTION, `http://${HOST}${path}`, { method })
      expect([answer.status, answer.headers.get('Location')], method).toEqual([403, null])
    }
  })

  it('of a page that is none, with a method that sends something, is refused as well', async () => {
    for (const path of PAGES)
      expectProblem(
        await knockElsewhere(PRODUCTION, `http://${HOST}${path}`, { method: 'POST', body: 'x' }),
        403,
        'https_required',
      )
  })

  it('with a password leaves no attempt', async () => {
    const login = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(ADMIN) }
    const attempts = () => realm.asOwner(sql`select count(*)::int as n from freehold.login_attempts`)
    const before = await attempts()
    expectProblem(await knockElsewhere(PRODUCTION, `http://${HOST}/api/v1/auth/login`, login), 403, 'https_required')
    expect(await attempts()).toEqual(before)
  })

  it('carries a trace id, is not kept, and says no HSTS, which counts by https alone', async () => {
    const answer = await knockElsewhere(PRODUCTION, `http://${HOST}${ME}`)
    expect(answer.headers.get('X-Trace-Id')).toMatch(/^[0-9a-f]{32}$/)
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    expect(answer.headers.get('Strict-Transport-Security')).toBeNull()
    expect(answer.headers.get('Server-Timing')).toBeNull()
  })

  it('is answered locally', async () => {
    expect((await knock(`http://${AT}.freehold.test${ME}`, bearer())).status).toBe(200)
  })
})

describe('a page by plain http', () => {
  it.each(PAGES)('%s is redirected to https, whole, on the same host', async (path) => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await knockElsewhere(PRODUCTION, `http://${HOST}${path}`, { method })
      expect([answer.status, answer.headers.get('Location'), answer.text]).toEqual([308, `https://${HOST}${path}`, ''])
      expect(answer.headers.get('Cache-Control')).toBe('no-store')
      expect(answer.headers.get('Referrer-Policy')).toBe('same-origin')
    }
  })

  it('is redirected to the port of BASE_URL', async () => {
    const ask = async (BASE_URL: string, url: string) =>
      (await knockElsewhere({ ...PRODUCTION, BASE_URL }, url)).headers.get('Location')
    expect(await ask('https://freehold.dev:8443', 'http://freehold.dev/docs')).toBe('https://freehold.dev:8443/docs')
    expect(await ask('https://freehold.dev', 'http://freehold.dev:8080/docs')).toBe('https://freehold.dev/docs')
  })
})

describe('a connection', () => {
  it.each(['TLSv1', 'TLSv1.0', 'TLSv1.1', 'SSLv3'])(
    'of %s is refused, pages too, and the answer says what to use',
    async (version) => {
      for (const path of [ME, '/docs', '/healthz']) {
        const answer = await by(version, `https://${HOST}${path}`, bearer())
        expectProblem(answer, 403, 'https_required', path)
        expect(answer.body.detail).toMatch(/^Use TLS 1\.2 or later\. Others may have read this request/)
        expect(answer.headers.get('Location')).toBeNull()
        expect(answer.headers.get('Strict-Transport-Security')).toMatch(/^max-age=\d{8}/)
      }
      const spanish = { headers: { 'Accept-Language': 'es' } }
      expect((await by(version, `https://${HOST}/healthz`, spanish)).body.detail).toMatch(/^Usa TLS 1\.2 o posterior\./)
    },
  )

  it('of TLS 1.1 is refused before anything is read or asked', async () => {
    const { asked, changed } = untouched()
    const { body, seen } = lazyBody(64 * 1024)
    const login = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, duplex: 'half' }
    const answer = await by('TLSv1.1', `https://${HOST}/api/v1/auth/login`, login as RequestInit, changed)
    expectProblem(answer, 403, 'https_required')
    expect([asked, seen.bytes]).toEqual([[], 0])
  })

  it.each(['TLSv1.2', 'TLSv1.3', 'TLSv1.4', '', undefined])('of %j is answered, with HSTS', async (version) => {
    const answer = await by(version, 'https://freehold.dev/healthz')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Strict-Transport-Security')).toMatch(/^max-age=\d{8}; includeSubDomains$/)
    expect(answer.headers.get('Server-Timing')).toBeNull()
  })

  it('of any version is answered locally', async () => {
    const answer = await knockElsewhere({}, 'http://freehold.test/healthz', { cf: { tlsVersion: 'TLSv1' } } as RequestInit)
    expect(answer.status).toBe(200)
  })
})

describe('with FORWARDED_PROTO_HEADER', () => {
  const ask = (url: string, said?: string, name = 'X-Client-Proto') =>
    knockElsewhere({ ...PRODUCTION, FORWARDED_PROTO_HEADER: 'X-Client-Proto' }, url, { headers: said ? { [name]: said } : {} })

  it('what sits in front says how the client came, and the URL does not', async () => {
    for (const said of ['https', 'HTTPS']) {
      const answer = await ask('http://freehold.dev/healthz', said)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('Strict-Transport-Security')).toMatch(/^max-age/)
    }
    expectProblem(await ask('https://freehold.dev/healthz', 'http'), 403, 'https_required')
    expect((await ask('https://freehold.dev/docs', 'http')).headers.get('Location')).toBe('https://freehold.dev/docs')
  })

  it.each(['https, http', 'http,https', 'httpsx', 'on', '1'])('that says %j is refused', async (said) =>
    expectProblem(await ask('http://freehold.dev/healthz', said), 403, 'https_required'),
  )

  it('and without that header, or with another, all is refused', async () => {
    for (const url of ['http://freehold.dev/healthz', 'https://freehold.dev/healthz']) {
      expectProblem(await ask(url), 403, 'https_required')
      expectProblem(await ask(url, 'https', 'X-Forwarded-Proto'), 403, 'https_required')
    }
  })

  it('left out, no header says anything', async () => {
    for (const name of ['X-Forwarded-Proto', 'X-Client-Proto', 'Forwarded', 'CF-Visitor'])
      expectProblem(
        await knockElsewhere(PRODUCTION, 'http://freehold.dev/healthz', { headers: { [name]: 'https' } }),
        403,
        'https_required',
      )
  })
})
