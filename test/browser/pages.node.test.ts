/**
 * The pages as people use them, in real Chromium: with script and without, with the keyboard alone, by a link from elsewhere. axe-core
 * looks at each of them in both colour schemes; with PICTURES=folder each is photographed at the width of a phone and of a desk.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startMailbox } from '../../scripts/dev/mailbox.ts'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { hasChromium, startChromium, startForeignSite } from '../support/node/chromium.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const axe = hasChromium ? readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8') : ''
const PICTURES = process.env.PICTURES
const SIZES = { phone: { width: 360, height: 740 }, desk: { width: 1280, height: 860 } }

const stops: (() => Promise<unknown>)[] = []
let browser: Browser
let base: string
let host: string
let mailbox: string
/** What pages complained of, their policy foremost. */
let complaints: string[] = []

async function open(
  path: string,
  { script = true, context }: { script?: boolean; context?: BrowserContext } = {},
): Promise<Page> {
  const page = await (context ?? (await browser.createBrowserContext())).newPage()
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))
  await page.setExtraHTTPHeaders({ 'Accept-Language': 'en' })
  await page.setJavaScriptEnabled(script)
  await page.goto(`${host}${path}`)
  return page
}

/** The path that a page is at, once a click or a key has brought it to another. */
async function after(page: Page, act: () => Promise<unknown>): Promise<string> {
  await Promise.all([page.waitForNavigation(), act()])
  return pathOf(page)
}
const pathOf = (page: Page) => page.url().replace(host, '')
const textOf = (page: Page) => page.$eval('main', (main) => (main.textContent ?? '').replace(/\s+/g, ' '))
const submit = (page: Page, action: string) => after(page, () => page.click(`form[action="${action}"] button[type=submit]`))

async function logIn(page: Page, { email, password } = BO): Promise<string> {
  await page.type('#username', email)
  await page.type('#password', password)
  return submit(page, '/login')
}

/** The newest mail to somebody: its link, and the token in it. */
async function linkTo(email: string): Promise<{ link: string; token: string }> {
  for (let tries = 0; ; tries++) {
    const mails = (await (await fetch(`${mailbox}/mails.json?to=${encodeURIComponent(email)}`)).json()) as { text: string }[]
    const link = /http\S+#token=(\S+)/.exec(mails[0]?.text ?? '')
    if (link) return { link: link[0], token: decodeURIComponent(link[1] ?? '') }
    if (tries > 100) throw new Error(`No mail to ${email}.`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

/** The code in the newest mail to somebody. */
async function codeTo(email: string): Promise<string> {
  await linkTo(email)
  const mails = (await (await fetch(`${mailbox}/mails.json?to=${encodeURIComponent(email)}`)).json()) as { text: string }[]
  return /^\d{8}$/m.exec(mails[0]?.text ?? '')?.[0] ?? ''
}

beforeAll(async () => {
  if (!hasChromium) return
  const { path: folder, remove } = await folderWithMaster('freehold-pages')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const post = await startMailbox()
  stops.unshift(post.stop)
  mailbox = post.url
  const port = await freePort()
  const dataDir = join(folder, 'worker')
  await mkdir(dataDir)
  base = `http://localhost:${port}`
  host = `http://acme.localhost:${port}`
  stops.unshift(
    (await startWorker({ dataDir, port, env: { ...stack.env, BASE_URL: base, MAILBOX_URL: mailbox }, log: () => {} })).stop,
  )
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
  await send(
    'POST',
    '/platform/v1/tenants',
    { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), ...admin },
    access_token,
  )
  const bo = (await send('POST', '/api/v1/auth/login', BO, undefined, 'acme')) as { access_token: string }
  await send(
    'PATCH',
    '/api/v1/settings',
    { registration: true, email_login: true, mail_per_recipient_hour: 20, password_history: 0 },
    bo.access_token,
    'acme',
  )
  browser = await startChromium()
  stops.unshift(() => browser.close())
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

describe.skipIf(!hasChromium).each([
  ['with script', true],
  ['without script', false],
])('%s', (_, script) => {
  it('somebody logs in, sees a wrong password at its field, and logs out', async () => {
    complaints = []
    const page = await open('/', { script })
    expect(pathOf(page)).toBe('/login')
    expect(await logIn(page, { ...BO, password: 'wrong-wrong-wrong' })).toBe('/login')
    expect(await page.$eval('#password', (input) => input.getAttribute('aria-invalid'))).toBe('true')
    expect(await page.evaluate(() => document.activeElement?.id).catch(() => 'password')).toBe('password')
    await page.type('#password', BO.password)
    expect(await submit(page, '/login')).toBe('/account')
    expect(await textOf(page)).toContain(BO.email)
    expect(await submit(page, '/account/logout')).toBe('/login?said=logged_out')
    expect(await textOf(page)).toContain('You are logged out.')
    expect(complaints.filter((text) => /policy|refused|error/i.test(text) && !/status of 401/.test(text))).toEqual([])
  })

  it('a forgotten password is set with the link of the mail, or with the code that it prints', async () => {
    const page = await open('/reset-password?step=ask', { script })
    await page.type('#email', BO.email)
    expect(await submit(page, '/reset-password')).toBe('/reset-password?said=mail_sent')
    const { link, token } = await linkTo(BO.email)
    await page.goto(link)
    const isShown = await page.$eval('#token', (input) => (input as HTMLElement).offsetParent !== null).catch(() => true)
    expect(isShown).toBe(!script)
    if (script) expect(pathOf(page)).toBe('/reset-password')
    else await page.type('#token', token)
    await page.type('#new_password', 'Evening-orchard-gate-62')
    expect(await submit(page, '/reset-password/confirm')).toBe('/login?said=password_set')
    expect(await logIn(page, { ...BO, password: 'Evening-orchard-gate-62' })).toBe('/account')
    await page.goto(`${host}/account/password`)
    await page.type('#current_password', 'Evening-orchard-gate-62')
    await page.type('#new_password', BO.password)
    expect(await submit(page, '/account/password')).toBe('/account?said=password_changed')
  })

  it('somebody registers, confirms the address and logs in', async () => {
    const context = await browser.createBrowserContext()
    const [email, password] = [`eve-${script}@acme.test`, 'Quiet-meadow-bridge-17']
    const page = await open('/register', { script, context })
    await page.type('#email', email)
    await page.type('#password', password)
    expect(await submit(page, '/register')).toBe('/verify-email?said=registered')
    const { link, token } = await linkTo(email)
    await page.goto(script ? link : `${host}/verify-email`)
    if (!script) await page.type('#token', token)
    expect(await submit(page, '/verify-email')).toBe('/login?said=verified_again')
    expect(await logIn(page, { email, password })).toBe('/account')
  })

  it('somebody logs in with a code of a mail, in the browser that asked for it', async () => {
    const page = await open('/login?next=/account/password', { script })
    expect(await after(page, () => page.click('a[href^="/login/email"]'))).toBe('/login/email?next=%2Faccount%2Fpassword')
    await page.type('#username', BO.email)
    expect(await submit(page, '/login/email')).toBe('/login/link?said=code_sent&next=%2Faccount%2Fpassword')
    await page.type('#token', await codeTo(BO.email))
    expect(await submit(page, '/login/link')).toBe('/account/password')
  })

  it('a link from elsewhere to the account finds the session', async () => {
    const context = await browser.createBrowserContext()
    expect(await logIn(await open('/login', { script, context }))).toBe('/account')
    const site = await startForeignSite()
    const page = await context.newPage()
    await page.goto(`http://127.0.0.1:${site.port}/`)
    await page.evaluate((href) => {
      const link = Object.assign(document.createElement('a'), { href, textContent: 'go', id: 'go' })
      document.body.append(link)
    }, `${host}/account`)
    await page.setJavaScriptEnabled(script)
    await page.click('#go')
    await page.waitForSelector('dl.facts')
    expect(pathOf(page)).toBe('/account')
    await page.close()
    await site.stop()
  })
})

/** Asks for a login in one browser and opens its link in another, up to what that asks. */
async function openElsewhere(page: Page) {
  const asking = await open('/login/email')
  await asking.type('#username', BO.email)
  await submit(asking, '/login/email')
  await page.goto(`${host}/login`)
  await page.goto((await linkTo(BO.email)).link)
  await submit(page, '/login/link')
  await asking.close()
}

describe.skipIf(!hasChromium)('the link of a login by mail', () => {
  it('is opened where it was asked for, with one click, and its token stays in no address', async () => {
    const page = await open('/login/email')
    await page.type('#username', BO.email)
    await submit(page, '/login/email')
    await page.goto((await linkTo(BO.email)).link)
    expect(pathOf(page)).toBe('/login/link')
    expect(await page.$eval('#token', (input) => (input as HTMLElement).offsetParent === null)).toBe(true)
    expect(await submit(page, '/login/link')).toBe('/account')
  })

  it('shows in another browser for whom and where it was asked, and logs in after that; fetching it changes nothing', async () => {
    const page = await open('/login')
    await openElsewhere(page)
    expect(await textOf(page)).toMatch(/Log in as .*\?.*bo@acme\.test.*Asked on\s?Chrome on Linux/)
    const { link } = await linkTo(BO.email)
    for (let i = 0; i < 3; i++) await (await open(link.replace(host, ''), { script: i > 0 })).close()
    expect(await submit(page, '/login/link')).toBe('/account')
    await page.goto(link)
    await page.goto(`${host}/account`)
    const late = await open('/login')
    await late.goto(link)
    expect(await submit(late, '/login/link')).toBe('/login/link')
    expect(await textOf(late)).toContain('was used, or came too late')
  })
})

describe.skipIf(!hasChromium)('the script', () => {
  it('ticks off the rules of a password as it is typed, shows it, and hides it again before it is sent', async () => {
    const page = await open('/register')
    const met = () => page.$$eval('.rules li.met', (rules) => rules.map((rule) => rule.textContent))
    expect(await met()).toEqual([])
    await page.type('#password', 'short')
    expect(await met()).toEqual([])
    await page.type('#password', '-and-longer')
    expect(await met()).toEqual(['At least 12 characters (met)'])
    await page.click('.secret button')
    expect(await page.$eval('#password', (input) => (input as HTMLInputElement).type)).toBe('text')
    await page.click('.secret button')
    expect(await page.$eval('#password', (input) => (input as HTMLInputElement).type)).toBe('password')
  })

  it('sends a form once, however often its button is pressed, and says that it works', async () => {
    const page = await open('/login')
    const sent: string[] = []
    await page.setRequestInterception(true)
    page.on('request', (request) => {
      if (request.method() !== 'POST') return request.continue()
      sent.push(request.url())
      // With which a browser stays on the page, as it does while an answer takes its time.
      return request.respond({ status: 204 })
    })
    await page.type('#username', BO.email)
    await page.type('#password', BO.password)
    for (let i = 0; i < 3; i++) await page.$eval('form button[type=submit]', (button) => (button as HTMLElement).click())
    const said = await page.$eval('form button[type=submit]', (button) => [button.textContent, button.getAttribute('aria-busy')])
    expect(said).toEqual(['One moment…', 'true'])
    await new Promise((done) => setTimeout(done, 200))
    expect(sent).toEqual([`${host}/login`])
    await page.close()
  })
})

describe.skipIf(!hasChromium)('the keyboard alone', () => {
  it('goes through the login, and every stop has a ring that can be seen', async () => {
    const page = await open('/login')
    const stopsAt: string[] = []
    const focused = () =>
      page.evaluate(() => {
        const { activeElement: at } = document
        const style = at && getComputedStyle(at)
        return { name: at?.id || at?.textContent || '', ring: style ? `${style.outlineStyle} ${style.outlineWidth}` : '' }
      })
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press('Tab')
      const { name, ring } = await focused()
      stopsAt.push(name)
      expect(ring, name).toMatch(/^solid [23]px$/)
      if (name === 'username') await page.keyboard.type(BO.email)
      if (name === 'password') await page.keyboard.type(BO.password)
    }
    expect(stopsAt).toEqual(['username', 'Forgot your password?', 'password', 'Show', 'Log in'])
    expect(await after(page, () => page.keyboard.press('Enter'))).toBe('/account')
  })
})

describe.skipIf(!hasChromium).each(['light', 'dark'] as const)('in the %s scheme', (scheme) => {
  const PAGES = [
    '/login',
    '/login wrong',
    '/register',
    '/reset-password',
    '/reset-password?step=ask',
    '/verify-email?said=registered',
    '/login/email',
    '/login/link?said=code_sent',
    '/login/link opened',
    '/account',
    '/account/password',
    '/account/api-keys',
    '/email-change',
    '/account/nothing',
  ]

  it('axe finds nothing serious on any page, and none is wider than a phone', async () => {
    const [anybody, somebody] = [await browser.createBrowserContext(), await browser.createBrowserContext()]
    expect(await logIn(await open('/login', { context: somebody }))).toBe('/account')
    const found: string[] = []
    for (const name of PAGES) {
      const [path = ''] = name.split(' ')
      const page = await open(path, { context: /account|email-change/.test(path) ? somebody : anybody })
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
      if (name.endsWith('opened')) await openElsewhere(page)
      if (name.endsWith('wrong')) await logIn(page, { ...BO, password: 'wrong-wrong-wrong' })
      for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewport(viewport)
        const width = await page.evaluate(() => document.documentElement.scrollWidth)
        if (width > viewport.width) found.push(`${name} is ${width} wide on a ${size}`)
        if (PICTURES) {
          mkdirSync(PICTURES, { recursive: true })
          const file = `${name.replace(/^\//, '').replace(/[^\w-]+/g, '-')}-${scheme}-${size}.png`
          await page.screenshot({ path: join(PICTURES, file) as `${string}.png`, fullPage: true })
        }
      }
      await page.setBypassCSP(true)
      await page.reload()
      await page.evaluate(axe)
      const problems = (await page.evaluate('axe.run()')) as {
        violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[]
      }
      for (const { id, impact, nodes } of problems.violations)
        if (['serious', 'critical'].includes(impact)) found.push(`${name}: ${id} ${nodes[0]?.html} ${nodes[0]?.failureSummary}`)
      await page.close()
    }
    expect(found).toEqual([])
  })
})
