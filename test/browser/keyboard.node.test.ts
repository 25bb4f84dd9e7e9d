/**
 * Every flow of the pages by keyboard alone, with script and without, in real Chromium. Each stop of the Tab key has a ring that can be
 * seen, and what a flow needs is reached by that key from where the page put it.
 */
import pg from 'pg'
import type { Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasChromium } from '../support/node/chromium.ts'
import { BO, type Site, startPages, textOf } from '../support/node/pages.ts'
import { codeOf, earlyInStep } from '../support/totp.ts'

const stops: (() => Promise<unknown>)[] = []
let site: Site

beforeAll(async () => {
  if (hasChromium) site = await startPages(stops)
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

/** Presses Tab until something that matches has the focus. */
async function reach(page: Page, selector: string): Promise<void> {
  for (let stop = 0; stop < 400; stop++) {
    const at = await page.evaluate((wanted) => {
      const { activeElement } = document
      if (!activeElement || activeElement === document.body) return null
      const style = getComputedStyle(activeElement)
      return {
        name: activeElement.id || activeElement.textContent || activeElement.tagName,
        ring: `${style.outlineStyle} ${style.outlineWidth}`,
        isThere: activeElement.matches(wanted),
      }
    }, selector)
    if (at && stop > 0) expect(at.ring, at.name).toMatch(/^solid [23]px$/)
    if (at?.isThere) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`No Tab leads to ${selector} on ${page.url()}.`)
}

async function type(page: Page, selector: string, text: string): Promise<void> {
  await reach(page, selector)
  await page.keyboard.type(text)
}

const press = async (page: Page, selector: string): Promise<string> => {
  await reach(page, selector)
  return site.after(page, () => page.keyboard.press('Enter'))
}
const buttonOf = (action: string) => `form[action="${action}"] button[type=submit]`

async function logIn(page: Page, { email, password } = BO): Promise<string> {
  await type(page, '#username', email)
  await type(page, '#password', password)
  return press(page, buttonOf('/login'))
}

/** Runs a statement in the database of the tenant. */
async function inAcme(statement: string): Promise<void> {
  const url = new URL(site.postgresUrl)
  const root = new pg.Client({ connectionString: url.href })
  await root.connect()
  const { rows } = await root.query<{ datname: string }>(`select datname from pg_database where datname like '%acme%'`)
  await root.end()
  for (const { datname } of rows) {
    url.pathname = `/${datname}`
    const tenant = new pg.Client({ connectionString: url.href })
    await tenant.connect()
    await tenant.query(statement)
    await tenant.end()
  }
  expect(rows).toHaveLength(1)
}
/** The session of everybody began an hour ago, for what asks for a newer one. */
const letAnHourPass = () =>
  inAcme(`update freehold.sessions set authenticated_at = now() - interval '1 hour', created_at = now() - interval '1 hour'`)

describe.skipIf(!hasChromium).each([
  ['with script', true],
  ['without script', false],
])('by keyboard alone, %s', (_, script) => {
  const eve = { email: `eve-${script}@keys.test`, password: 'Quiet-meadow-bridge-17' }

  it('somebody registers, confirms the address with the code of the mail, and logs in', async () => {
    const page = await site.open('/login', { script })
    expect(await press(page, 'a[href^="/register"]')).toBe('/register')
    await type(page, '#email', eve.email)
    await type(page, '#password', eve.password)
    expect(await press(page, buttonOf('/register'))).toBe('/verify-email?said=registered')
    await type(page, '#token', (await site.mailTo(eve.email, '/verify-email')).token)
    expect(await press(page, buttonOf('/verify-email'))).toBe('/login?said=verified_again')
    expect(await logIn(page, eve)).toBe('/account')
  })

  it('a forgotten password is set', async () => {
    const page = await site.open('/login', { script })
    expect(await press(page, 'a[href^="/reset-password"]')).toMatch(/^\/reset-password/)
    await type(page, '#email', eve.email)
    expect(await press(page, buttonOf('/reset-password'))).toBe('/reset-password?said=mail_sent')
    await page.goto(`${site.host}/reset-password`)
    await type(page, '#token', (await site.mailTo(eve.email, '/reset-password')).token)
    eve.password = 'Winter-orchard-gate-62'
    await type(page, '#new_password', eve.password)
    expect(await press(page, buttonOf('/reset-password/confirm'))).toBe('/login?said=password_set')
    expect(await logIn(page, eve)).toBe('/account')
  })

  it('a session elsewhere is ended, the password and the address are changed, and somebody logs out', async () => {
    expect(await logIn(await site.open('/login', { script }), eve)).toBe('/account')
    const page = await site.open('/login', { script })
    expect(await logIn(page, eve)).toBe('/account')
    expect(await press(page, buttonOf('/account/sessions/end'))).toBe('/account?said=session_ended')

    expect(await press(page, 'a[href="/account/password"]')).toBe('/account/password')
    await type(page, '#current_password', eve.password)
    eve.password = 'Morning-harbour-lamp-31'
    await type(page, '#new_password', eve.password)
    expect(await press(page, buttonOf('/account/password'))).toBe('/account?said=password_changed')

    expect(await press(page, 'a[href="/email-change"]')).toBe('/email-change')
    eve.email = `eve-${script}-2@keys.test`
    await type(page, '#new_email', eve.email)
    await type(page, '#current_password', eve.password)
    expect(await press(page, buttonOf('/email-change'))).toBe('/email-change?said=email_asked')
    await type(page, '#token', (await site.mailTo(eve.email, '/verify-email')).token)
    expect(await press(page, buttonOf('/email-change/confirm'))).toBe('/account?said=verified')
    expect(await textOf(page)).toContain(eve.email)
    expect(await press(page, buttonOf('/account/logout'))).toBe('/login?said=logged_out')
  })

  it('a key is made, after the password is asked for once more, and revoked', async () => {
    const page = await site.open('/login', { script })
    expect(await logIn(page)).toBe('/account')
    await letAnHourPass()
    expect(await press(page, 'a[href="/account/api-keys"]')).toBe('/account/api-keys')
    await type(page, '#name', `nightly ${script}`)
    await reach(page, 'input[name=permissions][value="user:read"]')
    await page.keyboard.press('Space')
    await press(page, buttonOf('/account/api-keys'))
    expect(await textOf(page)).toContain('Confirm that it is you')
    await type(page, '#step_up_password', BO.password)
    await press(page, buttonOf('/account/step-up'))
    expect(await textOf(page)).toMatch(/fh_\w{8}_/)
    await page.goto(`${site.host}/account/api-keys`)
    await press(page, `${buttonOf('/account/api-keys/revoke')}[aria-label*="nightly ${script}"]`)
    expect(await textOf(page)).not.toContain(`nightly ${script}`)
  })

  it('an authenticator app is set up, asked for at the next login, and switched off', async () => {
    const page = await site.open('/login', { script })
    expect(await logIn(page, eve)).toBe('/account')
    expect(await press(page, 'a[href="/account/mfa"]')).toBe('/account/mfa')
    await press(page, buttonOf('/account/mfa/setup'))
    const secret = (await page.$eval('main code', (code) => code.textContent ?? '')).replaceAll(' ', '')
    await earlyInStep()
    await type(page, '#code', codeOf(secret, -1))
    await press(page, buttonOf('/account/mfa/enable'))
    expect(await page.$$eval('main li code', (codes) => codes.length)).toBe(10)

    const again = await site.open('/login', { script })
    expect(await logIn(again, eve)).toBe('/login')
    await type(again, '#code', codeOf(secret, 0))
    expect(await press(again, buttonOf('/login/code'))).toBe('/account')
    expect(await press(again, 'a[href="/account/mfa"]')).toBe('/account/mfa')
    await type(again, '#password', eve.password)
    await type(again, '#code', codeOf(secret, 1))
    expect(await press(again, buttonOf('/account/mfa/disable'))).toBe('/account?said=mfa_off')
  })

  it('a code of a mail logs in, and ends all other sessions', async () => {
    const page = await site.open('/login', { script })
    expect(await press(page, 'a[href^="/login/email"]')).toBe('/login/email')
    await type(page, '#username', eve.email)
    expect(await press(page, buttonOf('/login/email'))).toBe('/login/link?said=code_sent')
    await type(page, '#token', (await site.mailTo(eve.email, '/login/link')).code)
    expect(await press(page, buttonOf('/login/link'))).toBe('/account')
    expect(await press(page, buttonOf('/account/logout-all'))).toMatch(/^\/login\?said=/)
  })

  it('a login from elsewhere is ended with the code that is mailed for it, the second one', async () => {
    const home = await site.open('/login', { script })
    await site.placeIn(home, 'Lima')
    expect(await logIn(home, eve)).toBe('/account')
    const page = await site.open('/login?next=/account/password', { script })
    await site.placeIn(page, 'Oslo')
    expect(await logIn(page, eve)).toBe('/login')
    expect(await textOf(page)).toContain('This login is unusual for your account.')
    const former = await site.codeTo(eve.email)
    await press(page, buttonOf('/login/code/resend'))
    expect(await textOf(page)).toContain('A code was mailed just now.')
    await inAcme(`update freehold.login_challenges set mailed_at = mailed_at - interval '30 seconds'`)
    await press(page, buttonOf('/login/code/resend'))
    expect(await textOf(page)).toContain('Another code is on its way to you.')
    const code = await site.codeTo(eve.email, former)
    await type(page, '#code', former)
    await press(page, buttonOf('/login/code'))
    expect(await page.$eval('#code', (input) => input.getAttribute('aria-invalid'))).toBe('true')
    expect(await textOf(page)).toContain('The code is wrong')
    await type(page, '#code', code)
    expect(await press(page, buttonOf('/login/code'))).toBe('/account/password')
  })
})
