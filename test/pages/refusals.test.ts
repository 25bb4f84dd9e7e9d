/**
 * What people see when something is refused. Threat: somebody stands before JSON, or before a page that seems to be somebody else's; a
 * page that is refused for its number, or because the database is silent, asks that database once more; a tenant that is being upgraded
 * says that something is not permitted.
 */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { formToken } from '../../src/pages/browser.ts'
import { doors } from '../../src/pages/routes.tsx'
import { PNG } from '../settings/images.ts'
import { inside } from '../support/inside.ts'
import { nameOf } from '../support/jar.ts'
import { later } from '../support/pages.ts'
import { ADMIN, call } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { hiddenIn, newVisitor, tagIn, textOf } from '../support/visitors.ts'

const AT = 'pages-refusals'
const BEHIND = 'pages-behind-us'
const HTML = 'text/html,application/xhtml+xml,*/*;q=0.8'

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(BEHIND, { is_behind: true })])
  const token = await tokenOf(AT)
  const body = { name: 'Refusing & Co', accent_color: '#7a1f79' }
  expect((await call(AT, '/api/v1/settings', { token, method: 'PATCH', body })).status).toBe(200)
  const headers = { 'Content-Type': 'image/png' }
  expect((await call(AT, '/api/v1/settings/logo', { token, method: 'PUT', raw: PNG, headers })).status).toBe(200)
})
afterEach(() => void vi.useRealTimers())

/** The brand of a page: name, colour and whether it has the logo. */
function brandOf(html: string) {
  const style = tagIn(html, 'link', { rel: 'stylesheet' })?.href ?? ''
  return {
    name: textOf(html).includes('Refusing & Co'),
    accent: new URL(style, 'http://x').searchParams.get('accent'),
    logo: /^\/logo\?v=/.test(tagIn(html, 'img')?.src ?? ''),
  }
}
const OURS = { name: true, accent: '7a1f79', logo: true }

describe('an address at which there is nothing', () => {
  it.each(['/nothing', '/account/nothing', '/login/x', '/account/api-keys/x/y', '/index.php'])(
    '%s is told to a browser on a page of the tenant',
    async (path) => {
      const shown = await newVisitor(AT).ask(path, { headers: { Accept: HTML } })
      expect([shown.status, shown.headers.get('Content-Type')]).toEqual([404, 'text/html; charset=utf-8'])
      expect(shown.headers.get('Vary')).toContain('Accept')
      expect(textOf(shown.html)).toContain('There is nothing at this address.')
      expect(brandOf(shown.html)).toEqual(OURS)
      expect(shown.trips).toBeLessThanOrEqual(1)
    },
  )

  it('is told as a problem to programs, below the API, and on the base domain', async () => {
    for (const [path, Accept] of [
      ['/nothing', 'application/json'],
      ['/nothing', '*/*'],
      ['/nothing', ''],
      ['/api/v1/nothing', HTML],
      ['/oauth/nothing', HTML],
      ['/.well-known/nothing', HTML],
    ] as const) {
      const shown = await newVisitor(AT).ask(path, { headers: { Accept } })
      expect([path, Accept, shown.status, shown.headers.get('Content-Type')?.includes('json')]).toEqual([path, Accept, 404, true])
    }
    const base = await call('', '/nothing', { headers: { Accept: HTML } })
    expect([base.status, base.body.code]).toEqual([404, 'not_found'])
  })

  it('of a tenant that nobody has is nobody’s; with another method it says so', async () => {
    const nobody = await newVisitor('pages-nobody-there').ask('/nothing', { headers: { Accept: HTML } })
    expect([nobody.status, textOf(nobody.html).includes('There is nobody at this address.')]).toEqual([404, true])
    const put = await newVisitor(AT).ask('/account/switch', { headers: { Accept: HTML } })
    expect([put.status, put.headers.get('Allow'), brandOf(put.html)]).toEqual([405, 'POST', OURS])
  })
})

describe('a page of a refusal', () => {
  it('has the look of its tenant', async () => {
    const foreign = await newVisitor(AT).ask('/login', {
      method: 'POST',
      raw: 'a=b',
      headers: { Origin: 'https://elsewhere.test' },
    })
    expect([foreign.status, brandOf(foreign.html)]).toEqual([403, OURS])
    const large = await newVisitor(AT).ask('/login', { raw: 'x'.repeat(1024 * 1024) })
    expect([large.status, brandOf(large.html)]).toEqual([413, OURS])
  })

  it('and so has the one that shows a new key', async () => {
    const visitor = newVisitor(AT)
    await visitor.logIn(ADMIN.email, ADMIN.password)
    const path = '/account/api-keys'
    const page = await visitor.ask(path)
    expect(brandOf(page.html)).toEqual(OURS)
    const made = await visitor.ask(path, { form: { ...hiddenIn(page.html, path), name: 'one', permissions: 'user:read' } })
    expect([made.status, brandOf(made.html)]).toEqual([200, OURS])
  })

  it('of a database that fails has the look that is known, and asks no more than the page did', async () => {
    later()
    await newVisitor(AT).ask('/login')
    const realm = await inside(AT)
    await realm.asOwner(sql`alter function access.look(uuid) rename to look_away`)
    later()
    const shown = await newVisitor(AT).ask('/login')
    expect([shown.status, shown.trips, brandOf(shown.html)]).toEqual([500, 1, OURS])
    expect((await newVisitor(AT).ask('/register')).trips).toBe(0)
    await realm.asOwner(sql`alter function access.look_away(uuid) rename to look`)
    later()
    expect((await newVisitor(AT).ask('/login')).status).toBe(200)
  })
})

describe('a tenant on the schema of the release before', () => {
  const GETS = doors.filter(({ method }) => method === 'GET').map(({ path }) => path.replace(':provider', 'acme'))
  const POSTS = doors.filter(({ method }) => method === 'POST').map(({ path }) => path)

  it.each(GETS)('%s is there, or says that the service is being upgraded, and when to come back', async (path) => {
    const visitor = newVisitor(BEHIND)
    const shown = await visitor.ask(path)
    // A provider that nobody has set up is not there, whatever the schema.
    if (shown.status < 400 || (shown.status === 404 && path.startsWith('/login/external/'))) return
    expect([shown.status, shown.headers.get('Retry-After')]).toEqual([503, '2'])
    expect(textOf(shown.html)).toContain('The service is being upgraded.')
  })

  // Where they may not, that is what the form of /register says.
  beforeAll(async () => (await inside(BEHIND)).asOwner(sql`update freehold.tenant set registration = true`))

  it.each(POSTS)('the form of %s says so, too, and never that something is forbidden', async (path) => {
    const visitor = newVisitor(BEHIND)
    await visitor.ask('/login')
    const token = await formToken(visitor.kept.get('__Host-fh_form') ?? '', path, null)
    const sent = {
      username: ADMIN.email,
      password: ADMIN.password,
      email: 'cy@people.test',
      token: 'x'.repeat(32),
      new_password: 'Second-lantern-garden-4',
    }
    const fields: Record<string, (keyof typeof sent)[]> = {
      '/login': ['username', 'password'],
      '/register': ['email', 'password'],
      '/reset-password': ['email'],
      '/reset-password/confirm': ['token', 'new_password'],
      '/verify-email': ['token'],
      '/verify-email/resend': ['email'],
      '/email-change/confirm': ['token'],
    }
    const form = { form: token, ...Object.fromEntries((fields[path] ?? []).map((name) => [name, sent[name]])) }
    const shown = await visitor.ask(path, { form, at_once: true })
    expect(shown.status, textOf(shown.html)).not.toBe(500)
    expect(textOf(shown.html)).not.toContain('not permitted')
    if (shown.status === 503) expect(textOf(shown.html)).toContain('The service is being upgraded.')
  })

  it('what the login of the app may not do yet is no fault of the visitor', async () => {
    const realm = await inside(BEHIND)
    const visitor = newVisitor(BEHIND)
    const { access_token } = await plantSession(BEHIND)
    const account = JSON.parse(atob(access_token.split('.')[1] ?? '')).sub
    visitor.kept.set(nameOf('a', account), access_token)
    const page = await visitor.ask('/account/api-keys')
    const form = { ...hiddenIn(page.html, '/account/api-keys'), name: 'x', permissions: 'user:read' }
    await realm.asOwner(sql`revoke insert on freehold.api_keys from freehold_app`)
    const shown = await visitor.ask('/account/api-keys', { form })
    expect([shown.status, textOf(shown.html).includes('The service is being upgraded.')]).toEqual([503, true])
  })
})
