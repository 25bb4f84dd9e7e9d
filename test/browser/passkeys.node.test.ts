/** Passkeys on the pages, in real Chromium with its virtual authenticator (CDP WebAuthn), with the keyboard alone where people use it. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, CDPSession, Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { hasChromium, startChromium } from '../support/node/chromium.ts'
import { folderWithCluster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }

const stops: (() => Promise<unknown>)[] = []
let browser: Browser
let page: Page
let devtools: CDPSession
let authenticatorId: string
let token: string
const hostOf = (tenant: string) => `http://${tenant}.localhost:${port}`
let port = 0
const complaints: string[] = []

async function send(method: string, path: string, body?: object, bearer?: string, tenant?: string) {
  const headers = {
    'Content-Type': 'application/json',
    Prefer: 'wait=30',
    ...(bearer && { Authorization: `Bearer ${bearer}` }),
    ...(tenant && { 'X-Tenant': tenant }),
  }
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers,
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as any }
}

beforeAll(async () => {
  if (!hasChromium) return
  const { path: folder, remove } = await folderWithCluster('freehold-passkeys')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  port = await freePort()
  const dataDir = join(folder, 'worker')
  await mkdir(dataDir)
  const env = { ...stack.env, BASE_URL: `http://localhost:${port}` }
  stops.unshift((await startWorker({ dataDir, port, env, log: () => {} })).stop)
  const operators = (await send('POST', '/platform/v1/auth/login', OPERATOR)).body.access_token
  for (const subdomain of ['acme', 'globex']) {
    const admin = { admin_email: BO.email, admin_password: BO.password }
    const tenant = { subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), ...admin }
    await send('POST', '/platform/v1/tenants', tenant, operators)
  }
  token = (await send('POST', '/api/v1/auth/login', BO, undefined, 'acme')).body.access_token
  browser = await startChromium()
  stops.unshift(() => browser.close())
  page = await (await browser.createBrowserContext()).newPage()
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => complaints.push(message.text()))
  await page.setExtraHTTPHeaders({ 'Accept-Language': 'en' })
  devtools = await page.createCDPSession()
  await devtools.send('WebAuthn.enable')
  authenticatorId = await plugIn()
}, 240_000)

afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

/** An authenticator that is part of the device. One in use answers by itself, also to conditional mediation. */
const plugIn = async (isPresenceSimulated = true) =>
  (
    await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: isPresenceSimulated,
      },
    })
  ).authenticatorId
const credentials = async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials
const pathOf = () => new URL(page.url()).pathname
const mainText = () => page.$eval('main', (main) => (main.textContent ?? '').replace(/\s+/g, ' '))
/** What the page says, once it says this: the authenticator answers the field of the name by itself, and the page goes on. */
async function mainTextWith(words: string): Promise<string> {
  for (let tries = 0; tries < 300; tries++) {
    const text = await mainText().catch(() => '')
    if (text.includes(words)) return text
    await new Promise((done) => setTimeout(done, 100))
  }
  return `${page.url()}: ${await mainText()}`
}
const offered = (action: string) => page.waitForSelector(`form[action="${action}"]:not([hidden])`)

/** Presses a button that a key reaches, and waits for the next page. */
async function press(selector: string): Promise<void> {
  await page.focus(selector)
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])
}

describe.skipIf(!hasChromium)('in a browser', () => {
  it('a passkey is registered on the page of the account, by keyboard', async () => {
    await page.goto(`${hostOf('acme')}/login`)
    await page.type('#username', BO.email)
    await page.type('#password', BO.password)
    await press('form[action="/login"] button[type=submit], form[action="/login"] button:not([type=button])')
    expect(pathOf()).toBe('/account')
    await page.goto(`${hostOf('acme')}/account/passkeys`)
    await offered('/account/passkeys')
    await page.type('form[action="/account/passkeys"] [name=name]', 'Laptop')
    await press('form[action="/account/passkeys"] button')
    expect(await mainText()).toContain('The passkey is added.')
    expect(await mainText()).toContain('Laptop')
    expect(await credentials()).toMatchObject([{ rpId: 'acme.localhost', isResidentCredential: true }])
  })

  it('the login page of another tenant is offered nothing of it', async () => {
    await page.goto(`${hostOf('globex')}/login`)
    await offered('/login/passkey')
    const asked = await page.evaluate(async (rpId) => {
      const publicKey = { challenge: new Uint8Array(32), rpId, userVerification: 'required', timeout: 1000 } as const
      return (globalThis as any).navigator.credentials.get({ publicKey }).then(
        () => 'answered',
        (error: Error) => error.name,
      )
    }, 'acme.localhost')
    expect(asked).toBe('SecurityError')
    await page.click('form[action="/login/passkey"] button')
    await page.waitForSelector('form[action="/login/passkey"] .wrong:not([hidden])', { timeout: 90_000 })
    expect(pathOf()).toBe('/login')
  })

  it('logs in without a name, and the same answer once more is refused', async () => {
    await page.goto(`${hostOf('acme')}/account`)
    if (pathOf() === '/account') await press('form[action="/account/logout"] button')
    let sent = ''
    page.on('request', (request) => {
      if (request.method() === 'POST' && request.url().endsWith('/login/passkey')) sent = request.postData() ?? ''
    })
    await page.goto(`${hostOf('acme')}/login`)
    expect(await mainTextWith('Hello')).toContain('Hello')
    expect(pathOf()).toBe('/account')
    const credential = JSON.parse(new URLSearchParams(sent).get('credential') ?? '')
    const again = await send('POST', '/api/v1/auth/passkeys/login', { credential }, undefined, 'acme')
    expect([again.status, again.body.code]).toEqual([401, 'invalid_credentials'])
    expect((await send('GET', '/api/v1/auth/passkeys', undefined, token, 'acme')).body.data[0].last_used_at).not.toBeNull()
  })

  it('a copy whose counter is behind is refused, and the audit says so', async () => {
    const [credential] = await credentials()
    if (!credential) throw new Error('There is no passkey.')
    await devtools.send('WebAuthn.removeCredential', { authenticatorId, credentialId: credential.credentialId })
    await devtools.send('WebAuthn.addCredential', { authenticatorId, credential: { ...credential, signCount: 0 } })
    // It answers once: the page that says so would be answered, too, until the counter is where the other one is.
    const once = { authenticatorId, enabled: false }
    page.on('request', (request) => {
      if (request.url().endsWith('/login/passkey')) void devtools.send('WebAuthn.setAutomaticPresenceSimulation', once)
    })
    await page.goto(`${hostOf('acme')}/account`)
    if (pathOf() === '/account') await press('form[action="/account/logout"] button')
    expect(await mainTextWith('was not accepted')).toContain('The passkey was not accepted.')
    const { body } = await send('GET', '/api/v1/activities?activity_type=PASSKEY_CLONE_SUSPECTED', undefined, token, 'acme')
    expect(body.data[0]).toMatchObject({ activity_type: 'PASSKEY_CLONE_SUSPECTED', risk_score: 80 })
  })
})
