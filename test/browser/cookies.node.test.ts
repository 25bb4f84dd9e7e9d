/**
 * Threat: what only a browser decides. Two tenants, in real Chromium: no cookie, token or answer of one reaches the other, no foreign page
 * logs anybody in or out, and accounts and tabs of one browser do not disturb each other. Once on hosts that are different sites to a browser
 * (*.localhost), and once on hosts that are the same site (*.iam.localhost), as tenants of one domain are in production.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'puppeteer-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import {
  fetchIn,
  framed,
  hasChromium,
  openPage,
  type Seen,
  startChromium,
  startForeignSite,
  submitIn,
  watchCookies,
} from '../support/node/chromium.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const DANA = { email: 'dana@acme.test', password: 'Violet-Anchor-38' }
const LOGIN = '/api/v1/auth/login'
const ME = '/api/v1/auth/me'
const REFRESH = '/api/v1/auth/refresh-token'
const LOGOUT = '/api/v1/auth/logout'

const stops: (() => Promise<void>)[] = []
let browser: Browser
let stack: Stack
let folder: string
let foreign: number

if (!hasChromium) console.warn('Chromium is not tried: there is no binary for this platform.')

beforeAll(async () => {
  if (!hasChromium) return
  const made = await folderWithMaster('freehold-browser')
  folder = made.path
  stops.unshift(made.remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const site = await startForeignSite()
  foreign = site.port
  stops.unshift(site.stop)
  browser = await startChromium()
  stops.unshift(() => browser.close())
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

const jsonOf = (body: unknown, more: RequestInit = {}): RequestInit => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
  ...more,
})
const said = (seen: Seen) => ('failed' in seen ? 'failed' : [seen.status, seen.body?.code])
const bodyOf = (seen: Seen) => {
  if ('failed' in seen) throw new Error(seen.failed)
  return seen.body
}

describe.skipIf(!hasChromium).each([
  ['tenants that are different sites', 'localhost'],
  ['tenants that are the same site', 'iam.localhost'],
])('%s (*.%s)', (_, base) => {
  let port: number
  let acme: string
  let beta: string
  let context: BrowserContext

  /** A request of a program, which is no page. */
  async function ask(path: string, { at, token, body }: { at?: string; token?: string; body: unknown }) {
    const headers = {
      'Content-Type': 'application/json',
      Prefer: 'wait=30',
      ...(at && { 'X-Tenant': at }),
      ...(token && { Authorization: `Bearer ${token}` }),
    }
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    const text = await answer.text()
    expect(answer.ok, text).toBe(true)
    return JSON.parse(text)
  }

  const names = base === 'localhost' ? ['acme', 'beta'] : ['gamma', 'delta']
  const [one = '', two = ''] = names

  beforeAll(async () => {
    port = await freePort()
    const dataDir = join(folder, base)
    await mkdir(dataDir)
    const env = { ...stack.env, BASE_URL: `http://${base}:${port}` }
    stops.unshift((await startWorker({ dataDir, port, env, log: () => {} })).stop)
    acme = `http://${one}.${base}:${port}`
    beta = `http://${two}.${base}:${port}`
    const { access_token: token } = await ask('/platform/v1/auth/login', { body: OPERATOR })
    for (const subdomain of names) {
      const config = { origins: [`http://localhost:${foreign}`] }
      const admin = { admin_email: BO.email, admin_password: BO.password }
      const wanted = { subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), ...admin, config }
      await ask('/platform/v1/tenants', { token, body: wanted })
      const { access_token } = await ask(LOGIN, { at: subdomain, body: BO })
      await ask('/api/v1/users', { at: subdomain, token: access_token, body: { ...DANA, role: 'user' } })
    }
  })

  // As many profiles as tests: what one keeps no other sees.
  beforeEach(async () => {
    context = await browser.createBrowserContext()
    return () => context.close()
  })

  const pageOf = (origin: string) => openPage(context, `${origin}/healthz`)
  const elsewhere = (host: string) => openPage(context, `http://${host}:${foreign}/`)

  /** Logs somebody in by a script of the tenant's own page. */
  async function enter(page: Page, who = BO): Promise<string> {
    const seen = await fetchIn(page, LOGIN, jsonOf({ ...who, cookie: true }))
    expect(said(seen)).toEqual([200, undefined])
    return bodyOf(seen).account
  }
  const whoIs = async (page: Page, account?: string) =>
    bodyOf(await fetchIn(page, ME, { headers: { ...(account && { 'X-Account': account }) } })).email
  const kept = async () => (await browser.cookies()).length + (await context.cookies()).length

  it('a login by a page leaves cookies of its host alone, and nothing that a script reads', async () => {
    const page = await pageOf(acme)
    const seen = await fetchIn(page, LOGIN, jsonOf({ ...BO, cookie: true }))
    expect(bodyOf(seen)).toMatchObject({ token_type: 'Cookie', expires_in: 900 })
    expect(JSON.stringify(seen)).not.toMatch(/access_token|refresh_token|eyJ|set-cookie/i)
    expect(await whoIs(page)).toBe(BO.email)
    expect(await page.evaluate(() => document.cookie)).toBe('')
    const cookies = await context.cookies()
    expect(cookies).toHaveLength(3)
    for (const { name, domain, path, httpOnly, secure, sameSite, expires } of cookies) {
      expect({ domain, path, httpOnly, secure, sameSite }).toEqual({
        domain: new URL(acme).hostname,
        path: '/',
        httpOnly: true,
        secure: true,
        sameSite: 'Strict',
      })
      const seconds = expires - Date.now() / 1000
      const life = name.startsWith('__Host-fh_a_') ? 900 : 30 * 86_400
      expect(seconds, name).toBeGreaterThan(life - 60)
      expect(seconds, name).toBeLessThan(life + 60)
    }
  })

  it('no cookie, token or answer of one tenant reaches the other', async () => {
    await enter(await pageOf(acme))
    const page = await pageOf(beta)
    const sent = await watchCookies(page)
    expect(said(await fetchIn(page, ME))).toEqual([401, 'token_missing'])
    const tries: RequestInit[] = [
      { credentials: 'include' },
      { credentials: 'omit' },
      { credentials: 'include', headers: { 'X-Tenant': one } },
      jsonOf({}, { credentials: 'include' }),
      { method: 'DELETE', credentials: 'include' },
    ]
    for (const init of tries) expect(said(await fetchIn(page, `${acme}${ME}`, init)), JSON.stringify(init)).toBe('failed')
    expect(said(await fetchIn(page, `${acme}${ME}`, { mode: 'no-cors', credentials: 'include' }))).toBe('failed')
    const own = sent.filter(({ cookies }) => cookies !== '')
    // A browser takes *.localhost for different sites. Tenants of one domain are the same site to it, and there it does send them: what keeps
    // them apart is that the Worker refuses what is not of its own page, here an opaque answer whose cookies did nothing.
    if (base === 'localhost') expect(own).toEqual([])
    else expect(own.length).toBeGreaterThan(0)
    expect(await page.evaluate(() => document.cookie)).toBe('')
    expect((await context.cookies()).map(({ domain }) => domain)).toEqual(Array(3).fill(new URL(acme).hostname))
    await enter(page, DANA)
    expect(await whoIs(page)).toBe(DANA.email)
    expect(await whoIs(await pageOf(acme))).toBe(BO.email)
  })

  it('what a sibling’s page asks with our cookies is refused by the Worker, and it cannot read even that', async () => {
    await enter(await pageOf(acme))
    const page = await pageOf(beta)
    const statuses: number[] = []
    page.on('response', (answer) => answer.url() === `${acme}${ME}` && void statuses.push(answer.status()))
    // Of an answer that a browser keeps from its page by Cross-Origin-Resource-Policy, only the status is seen, and not by the page.
    const session = await page.createCDPSession()
    await session.send('Network.enable')
    const withheld: number[] = []
    session.on('Network.responseReceivedExtraInfo', ({ statusCode }) => void withheld.push(statusCode))
    const refusal = base === 'localhost' ? 401 : 403
    expect(said(await fetchIn(page, `${acme}${ME}`, { mode: 'no-cors', credentials: 'include' }))).toBe('failed')
    expect(withheld).toEqual([refusal])
    await page.evaluate(
      (src: string) =>
        new Promise((done) => {
          document.documentElement.append(Object.assign(document.createElement('iframe'), { src, onload: done }))
        }),
      `${acme}${ME}`,
    )
    // Not even a link: this is no page to go to.
    const [seen] = await Promise.all([
      page.waitForNavigation(),
      page.evaluate((to: string) => location.assign(to), `${acme}${ME}`),
    ])
    expect(seen?.status()).toBe(refusal)
    expect(statuses).toEqual([refusal, refusal])
  })

  /** Pages of others: another tenant, other hosts, and this very host at another port, which is the same site and shares its cookies. */
  const strangers: Record<string, () => Promise<Page>> = {
    'the other tenant': () => pageOf(beta),
    'the platform under another name': () => openPage(context, `http://127.0.0.1:${port}/healthz`),
    'another host': () => elsewhere('127.0.0.1'),
    'this host, at another port': () => elsewhere(new URL(acme).hostname),
    'a page that was given': () => elsewhere('localhost'),
  }

  it.each(Object.entries(strangers))('%s can neither log in, refresh nor log out with cookies', async (name, open) => {
    const own = await pageOf(acme)
    await enter(own)
    const before = await context.cookies()
    const page = await open()
    const sent = await watchCookies(page)
    for (const [path, body] of [
      [LOGIN, { ...DANA, cookie: true }],
      [REFRESH, {}],
      [LOGOUT, {}],
    ] as const)
      for (const credentials of ['include', 'omit'] as const) {
        const seen = await fetchIn(page, `${acme}${path}`, jsonOf(body, { credentials }))
        expect('failed' in seen || seen.status >= 400, `${name} ${path} ${JSON.stringify(seen)}`).toBe(true)
        const simple = { method: 'POST', mode: 'no-cors' as const, credentials, body: JSON.stringify(body) }
        await fetchIn(page, `${acme}${path}`, { ...simple, headers: { 'Content-Type': 'text/plain' } })
        const form = new URLSearchParams({ username: DANA.email, password: DANA.password, cookie: 'true' }).toString()
        await fetchIn(page, `${acme}${path}`, {
          ...simple,
          body: form,
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        })
      }
    expect(sent.length, name).toBeGreaterThan(10)
    const fields = { username: DANA.email, password: DANA.password, cookie: 'true' }
    for (const path of [LOGIN, REFRESH, LOGOUT])
      for (const enctype of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain']) {
        const from = await open()
        const status = await submitIn(from, `${acme}${path}`, fields, enctype)
        expect(status, `${name} ${path} ${enctype}`).toBeGreaterThanOrEqual(400)
        await from.close()
      }
    const values = (cookies: { name: string; value: string }[]) => cookies.map(({ name, value }) => `${name}=${value}`).sort()
    expect(values(await context.cookies())).toEqual(values(before))
    expect(await whoIs(own)).toBe(BO.email)
  })

  it('a page of the tenant’s own may log in with a plain form, and an answer that is none may not', async () => {
    const none = await pageOf(acme)
    const login = { username: BO.email, password: BO.password, cookie: 'true' }
    // Referrer-Policy: no-referrer makes it a page without an origin.
    expect(await submitIn(none, `${acme}${LOGIN}`, login)).toBe(403)
    const page = await openPage(context, `${acme}/docs`)
    expect(await submitIn(page, `${acme}${LOGIN}`, login)).toBe(200)
    expect(await whoIs(page)).toBe(BO.email)
  })

  it('two accounts of one browser stand beside each other, also at once; the logout of one leaves the other', async () => {
    const [page, other] = [await pageOf(acme), await pageOf(acme)]
    const [bo, dana] = [await enter(page), await enter(other, DANA)]
    expect(said(await fetchIn(page, ME))).toEqual([400, 'credentials_ambiguous'])
    const tries = Array.from({ length: 20 }, (_, i) => (i % 2 ? whoIs(page, bo) : whoIs(other, dana)))
    expect(await Promise.all(tries)).toEqual(tries.map((_, i) => (i % 2 ? BO.email : DANA.email)))
    expect(said(await fetchIn(page, LOGOUT, { method: 'POST', headers: { 'X-Account': bo } }))).toEqual([204, undefined])
    // The device cookie of the one who left stays, too.
    const left = (await context.cookies()).map(({ name }) => name.replace('__Host-fh_', ''))
    expect(left.sort()).toEqual([`a_${dana}`, `d_${bo}`, `d_${dana}`, `r_${dana}`].sort())
    expect(await whoIs(page)).toBe(DANA.email)
    expect(said(await fetchIn(page, ME, { headers: { 'X-Account': bo } }))).toEqual([401, 'token_missing'])
  })

  it('tabs that refresh at once do not throw each other out', async () => {
    const tabs = [await pageOf(acme), await pageOf(acme)]
    await enter(tabs[0] as Page)
    for (let round = 0; round < 3; round++) {
      // As when fifteen minutes have passed: the browser has dropped the access token.
      const [old] = (await context.cookies()).filter(({ name }) => name.startsWith('__Host-fh_a_'))
      if (old) await context.deleteCookie(old)
      expect(said(await fetchIn(tabs[1] as Page, ME))).toEqual([401, 'token_expired'])
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => fetchIn(tabs[i % 2] as Page, REFRESH, jsonOf({}))))
      expect(answers.map(said)).toEqual(Array(20).fill([200, undefined]))
      for (const tab of tabs) expect(await whoIs(tab)).toBe(BO.email)
    }
    expect(await kept()).toBe(3)
  })

  it('a refresh that fails, because the session was ended elsewhere, takes the cookies away', async () => {
    const page = await pageOf(acme)
    await enter(page)
    const { access_token: token } = await ask(LOGIN, { at: one, body: BO })
    const headers = { Authorization: `Bearer ${token}`, 'X-Tenant': one }
    await fetch(`http://127.0.0.1:${port}/api/v1/auth/logout-all`, { method: 'POST', headers })
    expect(said(await fetchIn(page, ME))).toEqual([401, 'session_ended'])
    expect(said(await fetchIn(page, REFRESH, jsonOf({})))).toEqual([401, 'session_ended'])
    expect(await kept()).toBe(1)
  })

  it('an answer that is opened as a page runs nothing, and is shown in no frame; /docs asks its own host alone', async () => {
    const heeding = (url: string) => openPage(context, url, true)
    const answer = await heeding(`${acme}/healthz`)
    expect(said(await fetchIn(answer, '/healthz'))).toBe('failed')
    expect(said(await fetchIn(answer, `${beta}/.well-known/jwks.json`))).toBe('failed')
    const docs = await heeding(`${acme}/docs`)
    expect(said(await fetchIn(docs, '/healthz'))).toEqual([200, undefined])
    expect(said(await fetchIn(docs, `${beta}/.well-known/jwks.json`))).toBe('failed')
    const framing = await elsewhere('127.0.0.1')
    for (const path of ['/docs', '/healthz'])
      expect(await framed(framing, `${acme}${path}`), path).toBe('chrome-error://chromewebdata/')
  })

  it('scripts of any origin read the keys by CORS, and no page embeds them without', async () => {
    for (const host of ['127.0.0.1', new URL(acme).hostname]) {
      const page = await elsewhere(host)
      const keys = await fetchIn(page, `${acme}/.well-known/jwks.json`)
      expect(said(keys)).toEqual([200, undefined])
      expect('headers' in keys && keys.headers['cross-origin-resource-policy']).not.toBe('cross-origin')
      expect(said(await fetchIn(page, `${acme}/.well-known/jwks.json`, { mode: 'no-cors' })), host).toBe('failed')
    }
  })

  it('with tokens, pages of the tenant and those that it was given may call, and other pages may not', async () => {
    const { access_token: token } = await ask(LOGIN, { at: one, body: BO })
    const headers = { Authorization: `Bearer ${token}` }
    const own = await fetchIn(await pageOf(acme), `http://${base}:${port}${ME}`, { headers: { ...headers, 'X-Tenant': one } })
    expect(said(own)).toEqual([200, undefined])
    const page = await elsewhere('localhost')
    const given = await fetchIn(page, `${acme}${ME}`, { headers })
    expect(said(given)).toEqual([200, undefined])
    expect('headers' in given && given.headers['x-trace-id']).toMatch(/^[0-9a-f]{32}$/)
    expect(said(await fetchIn(page, `${acme}/api/v1/nothing`, { headers }))).toEqual([404, 'not_found'])
    expect(bodyOf(await fetchIn(page, `${acme}${LOGIN}`, jsonOf(BO)))).toMatchObject({ token_type: 'Bearer' })
    expect(said(await fetchIn(page, `${acme}${ME}`, { headers, credentials: 'include' }))).toBe('failed')
    for (const host of ['127.0.0.1', 'other.localhost', new URL(acme).hostname]) {
      const stranger = await elsewhere(host)
      expect(said(await fetchIn(stranger, `${acme}${ME}`, { headers })), host).toBe('failed')
      expect(said(await fetchIn(stranger, `${acme}${LOGIN}`, jsonOf(BO))), host).toBe('failed')
      expect(said(await fetchIn(stranger, `${acme}/.well-known/jwks.json`)), host).toEqual([200, undefined])
    }
  })
})
