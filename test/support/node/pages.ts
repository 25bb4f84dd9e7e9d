/** A platform with a tenant, a mailbox and real Chromium, for tests of the pages as people use them. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'puppeteer-core'
import { startMailbox } from '../../../scripts/dev/mailbox.ts'
import { rucFor } from '../../../scripts/dev/settings.ts'
import { startStack } from '../../../scripts/dev/stack.ts'
import { freePort } from '../../dev/running.ts'
import { LOW_COST } from '../cost.ts'
import { KEYS } from '../keys.ts'
import { startChromium } from './chromium.ts'
import { folderWithMaster } from './cluster.ts'
import { startWorker } from './worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
export const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }

export type Site = Awaited<ReturnType<typeof startPages>>

/** Starts it all, with the tenant `acme`, whose administrator is BO. `stop` ends it, also what was started before it failed. */
export async function startPages(stops: (() => Promise<unknown>)[]) {
  const { path: folder, remove } = await folderWithMaster('freehold-pages')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const post = await startMailbox()
  stops.unshift(post.stop)
  const port = await freePort()
  const dataDir = join(folder, 'worker')
  await mkdir(dataDir)
  const env = { ...stack.env, BASE_URL: `http://localhost:${port}`, MAILBOX_URL: post.url }
  stops.unshift((await startWorker({ dataDir, port, env, log: () => {} })).stop)

  const send = async (method: string, path: string, body: object, token?: string, tenant?: string) => {
    const headers = {
      'Content-Type': 'application/json',
      Prefer: 'wait=30',
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(tenant && { 'X-Tenant': tenant }),
    }
    return (await fetch(`http://127.0.0.1:${port}${path}`, { method, headers, body: JSON.stringify(body) })).json()
  }
  const { access_token } = (await send('POST', '/platform/v1/auth/login', OPERATOR)) as { access_token: string }
  const admin = { admin_email: BO.email, admin_password: BO.password }
  const acme = { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), ...admin }
  await send('POST', '/platform/v1/tenants', acme, access_token)
  const bo = (await send('POST', '/api/v1/auth/login', BO, undefined, 'acme')) as { access_token: string }
  const settings = { registration: true, email_login: true, mail_per_recipient_hour: 20, password_history: 0 }
  await send('PATCH', '/api/v1/settings', settings, bo.access_token, 'acme')
  const browser = await startChromium()
  stops.unshift(() => browser.close())
  return siteOf(browser, `http://acme.localhost:${port}`, post.url, stack.neon.postgresUrl)
}

const PLACES = { Lima: 'PE;Lima;-12.05;-77.04;6147', Oslo: 'NO;Oslo;59.91;10.75;2119' }

/** `complaints`: what pages complained of, their policy foremost. */
function siteOf(browser: Browser, host: string, mailbox: string, postgresUrl: string) {
  const complaints: string[] = []
  type Opening = { script?: boolean; context?: BrowserContext }

  /** A page of the tenant; without a context, in a browser that knows nothing yet. */
  async function open(path: string, { script = true, context }: Opening = {}): Promise<Page> {
    const page = await (context ?? (await browser.createBrowserContext())).newPage()
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.setExtraHTTPHeaders({ 'Accept-Language': 'en' })
    await page.setJavaScriptEnabled(script)
    await page.goto(`${host}${path}`)
    return page
  }

  const pathOf = (page: Page) => page.url().replace(host, '')

  /** The path that a page is at, once a click or a key has brought it to another. */
  async function after(page: Page, act: () => Promise<unknown>): Promise<string> {
    await Promise.all([page.waitForNavigation(), act()])
    return pathOf(page)
  }

  const submit = (page: Page, action: string) => after(page, () => page.click(`form[action="${action}"] button[type=submit]`))

  async function logIn(page: Page, { email, password } = BO): Promise<string> {
    await page.type('#username', email)
    await page.type('#password', password)
    return submit(page, '/login')
  }

  const given = new Set<string>()
  /**
   * The newest mail to somebody, once its link leads to a page: the link, the token in it, and a code of eight digits if there is one. One
   * that was given before is the newest only if for three seconds no other comes.
   */
  async function mailTo(email: string, path = ''): Promise<{ link: string; token: string; code: string }> {
    for (let tries = 0; ; tries++) {
      const answer = await fetch(`${mailbox}/mails.json?to=${encodeURIComponent(email)}`)
      const text = ((await answer.json()) as { text: string }[])[0]?.text ?? ''
      const link = /http\S+#token=(\S+)/.exec(text)
      if (link?.[0].includes(`${path}#`) && (tries > 30 || !given.has(link[0]))) {
        given.add(link[0])
        return { link: link[0], token: decodeURIComponent(link[1] ?? ''), code: /^\d{8}$/m.exec(text)?.[0] ?? '' }
      }
      if (tries > 100) throw new Error(`No mail to ${email}.`)
      await new Promise((done) => setTimeout(done, 100))
    }
  }

  /** The code of the newest mail to somebody that has one and no link, as those of risky logins; another than `former`. */
  async function codeTo(email: string, former = ''): Promise<string> {
    for (let tries = 0; ; tries++) {
      const answer = await fetch(`${mailbox}/mails.json?to=${encodeURIComponent(email)}`)
      const texts = ((await answer.json()) as { text: string }[]).map(({ text }) => text)
      const [code = former] = texts.flatMap((text) => (text.includes('#token=') ? [] : (/^\d{8}$/m.exec(text)?.[0] ?? [])))
      if (code !== former) return code
      if (tries > 100) throw new Error(`No code to ${email}.`)
      await new Promise((done) => setTimeout(done, 100))
    }
  }

  /** From then on the page is in a browser in Lima, or in another one in Oslo, where nobody can be who was in Lima just now. */
  async function placeIn(page: Page, place: 'Lima' | 'Oslo'): Promise<void> {
    await page.setExtraHTTPHeaders({ 'Accept-Language': 'en', 'X-Place': PLACES[place] })
    if (place === 'Oslo') await page.setUserAgent('Elsewhere/2')
  }

  /** A risky login of BO, up to the code that is asked for. */
  async function logInElsewhere(page: Page): Promise<void> {
    const home = await open('/login')
    await placeIn(home, 'Lima')
    await logIn(home)
    await home.close()
    await placeIn(page, 'Oslo')
    await logIn(page)
    if (!(await textOf(page)).includes('This login is unusual')) throw new Error(`It was not risky: ${await textOf(page)}`)
  }

  const mails = { mailTo, codeTo }
  return { browser, host, postgresUrl, complaints, open, pathOf, after, submit, logIn, placeIn, logInElsewhere, ...mails }
}

export const textOf = (page: Page) => page.$eval('main', (main) => (main.textContent ?? '').replace(/\s+/g, ' '))
