/**
 * The pages as people use them, in real Chromium: with script and without, by a link from elsewhere. axe-core looks at each of them
 * in both colour schemes; with PICTURES=folder each is photographed at the width of a phone and of a desk.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasChromium, startForeignSite } from '../support/node/chromium.ts'
import { BO, type Site, startPages, textOf } from '../support/node/pages.ts'

const axe = hasChromium ? readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8') : ''
const PICTURES = process.env.PICTURES
const SIZES = { phone: { width: 360, height: 740 }, desk: { width: 1280, height: 860 } }

const stops: (() => Promise<unknown>)[] = []
let site: Site

beforeAll(async () => {
  if (hasChromium) site = await startPages(stops)
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

describe.skipIf(!hasChromium).each([
  ['with script', true],
  ['without script', false],
])('%s', (_, script) => {
  it('somebody logs in, sees a wrong password at its field, and logs out', async () => {
    site.complaints.length = 0
    const page = await site.open('/', { script })
    expect(site.pathOf(page)).toBe('/login')
    expect(await site.logIn(page, { ...BO, password: 'wrong-wrong-wrong' })).toBe('/login')
    expect(await page.$eval('#password', (input) => input.getAttribute('aria-invalid'))).toBe('true')
    expect(await page.evaluate(() => document.activeElement?.id).catch(() => 'password')).toBe('password')
    await page.type('#password', BO.password)
    expect(await site.submit(page, '/login')).toBe('/account')
    expect(await textOf(page)).toContain(BO.email)
    expect(await site.submit(page, '/account/logout')).toBe('/login?said=logged_out')
    expect(await textOf(page)).toContain('You are logged out.')
    expect(site.complaints.filter((text) => /policy|refused|error/i.test(text) && !/status of 401/.test(text))).toEqual([])
  })

  it('a forgotten password is set with the link of the mail, or with the code that it prints', async () => {
    const page = await site.open('/reset-password?step=ask', { script })
    await page.type('#email', BO.email)
    expect(await site.submit(page, '/reset-password')).toBe('/reset-password?said=mail_sent')
    const { link, token } = await site.mailTo(BO.email)
    await page.goto(link)
    const isShown = await page.$eval('#token', (input) => (input as HTMLElement).offsetParent !== null).catch(() => true)
    expect(isShown).toBe(!script)
    if (script) expect(site.pathOf(page)).toBe('/reset-password')
    else await page.type('#token', token)
    await page.type('#new_password', 'Evening-orchard-gate-62')
    expect(await site.submit(page, '/reset-password/confirm')).toBe('/login?said=password_set')
    expect(await site.logIn(page, { ...BO, password: 'Evening-orchard-gate-62' })).toBe('/account')
    await page.goto(`${site.host}/account/password`)
    await page.type('#current_password', 'Evening-orchard-gate-62')
    await page.type('#new_password', BO.password)
    expect(await site.submit(page, '/account/password')).toBe('/account?said=password_changed')
  })

  it('somebody registers, confirms the address and logs in', async () => {
    const context = await site.browser.createBrowserContext()
    const [email, password] = [`eve-${script}@acme.test`, 'Quiet-meadow-bridge-17']
    const page = await site.open('/register', { script, context })
    await page.type('#email', email)
    await page.type('#password', password)
    expect(await site.submit(page, '/register')).toBe('/verify-email?said=registered')
    const { link, token } = await site.mailTo(email)
    await page.goto(script ? link : `${site.host}/verify-email`)
    if (!script) await page.type('#token', token)
    expect(await site.submit(page, '/verify-email')).toBe('/login?said=verified_again')
    expect(await site.logIn(page, { email, password })).toBe('/account')
  })

  it('somebody logs in with a code of a mail, in the browser that asked for it', async () => {
    const page = await site.open('/login?next=/account/password', { script })
    expect(await site.after(page, () => page.click('a[href^="/login/email"]'))).toBe('/login/email?next=%2Faccount%2Fpassword')
    await page.type('#username', BO.email)
    expect(await site.submit(page, '/login/email')).toBe('/login/link?said=code_sent&next=%2Faccount%2Fpassword')
    await page.type('#token', (await site.mailTo(BO.email)).code)
    expect(await site.submit(page, '/login/link')).toBe('/account/password')
  })

  it('a link from elsewhere to the account finds the session', async () => {
    const context = await site.browser.createBrowserContext()
    expect(await site.logIn(await site.open('/login', { script, context }))).toBe('/account')
    const elsewhere = await startForeignSite()
    const page = await context.newPage()
    await page.goto(`http://127.0.0.1:${elsewhere.port}/`)
    await page.evaluate((href) => {
      const link = Object.assign(document.createElement('a'), { href, textContent: 'go', id: 'go' })
      document.body.append(link)
    }, `${site.host}/account`)
    await page.setJavaScriptEnabled(script)
    await page.click('#go')
    await page.waitForSelector('dl.facts')
    expect(site.pathOf(page)).toBe('/account')
    await page.close()
    await elsewhere.stop()
  })
})

/** Asks for a login in one browser and opens its link in another, up to what that asks. */
async function openElsewhere(page: Page) {
  const asking = await site.open('/login/email')
  await asking.type('#username', BO.email)
  await site.submit(asking, '/login/email')
  await page.goto(`${site.host}/login`)
  await page.goto((await site.mailTo(BO.email)).link)
  await site.submit(page, '/login/link')
  await asking.close()
}

describe.skipIf(!hasChromium)('the link of a login by mail', () => {
  it('is opened where it was asked for, with one click, and its token stays in no address', async () => {
    const page = await site.open('/login/email')
    await page.type('#username', BO.email)
    await site.submit(page, '/login/email')
    await page.goto((await site.mailTo(BO.email)).link)
    expect(site.pathOf(page)).toBe('/login/link')
    expect(await page.$eval('#token', (input) => (input as HTMLElement).offsetParent === null)).toBe(true)
    expect(await site.submit(page, '/login/link')).toBe('/account')
  })

  it('shows in another browser for whom and where it was asked, and logs in after that; fetching it changes nothing', async () => {
    const page = await site.open('/login')
    await openElsewhere(page)
    expect(await textOf(page)).toMatch(/Log in as .*\?.*bo@acme\.test.*Asked on\s?Chrome on Linux/)
    const { link } = await site.mailTo(BO.email)
    for (let i = 0; i < 3; i++) await (await site.open(link.replace(site.host, ''), { script: i > 0 })).close()
    expect(await site.submit(page, '/login/link')).toBe('/account')
    await page.goto(link)
    await page.goto(`${site.host}/account`)
    const late = await site.open('/login')
    await late.goto(link)
    expect(await site.submit(late, '/login/link')).toBe('/login/link')
    expect(await textOf(late)).toContain('was used, or came too late')
  })
})

describe.skipIf(!hasChromium)('the script', () => {
  it('ticks off the rules of a password as it is typed, shows it, and hides it again before it is sent', async () => {
    const page = await site.open('/register')
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
    const page = await site.open('/login')
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
    expect(sent).toEqual([`${site.host}/login`])
    await page.close()
  })
})

describe.skipIf(!hasChromium).each(['light', 'dark'] as const)('in the %s scheme', (scheme) => {
  const PAGES = [
    '/login',
    '/login wrong',
    '/login risky',
    '/login risky, again',
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
    '/account/passkeys',
    '/account/mfa',
    '/account/mfa set up',
    '/account/data',
    '/account/logins',
    '/account/notifications',
    '/cancel-erasure',
    '/invitation',
    '/email-change',
    '/account/nothing',
  ]

  it('axe finds nothing serious on any page, and none is wider than a phone', async () => {
    const [anybody, somebody] = [await site.browser.createBrowserContext(), await site.browser.createBrowserContext()]
    expect(await site.logIn(await site.open('/login', { context: somebody }))).toBe('/account')
    const found: string[] = []
    for (const name of PAGES) {
      const [path = ''] = name.split(' ')
      const page = await site.open(path, { context: /account|email-change/.test(path) ? somebody : anybody })
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
      if (name.endsWith('opened')) await openElsewhere(page)
      if (name.endsWith('set up')) await site.submit(page, '/account/mfa/setup')
      if (name.includes('risky')) await site.logInElsewhere(page)
      if (name.endsWith('again')) await site.submit(page, '/login/code/resend')
      if (name.endsWith('wrong')) await site.logIn(page, { ...BO, password: 'wrong-wrong-wrong' })
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
