/** The API reference as somebody uses it, in real Chromium, under the policy that the page has: search, log in, try something out. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { hasChromium, startChromium } from '../support/node/chromium.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }

const stops: (() => Promise<unknown>)[] = []
let browser: Browser
let base: string
let host: string
/** What a page complained of, its policy foremost, and the hosts that it asked. */
let complaints: string[]
let asked: Set<string>

async function open(url: string): Promise<Page> {
  const page = await browser.newPage()
  complaints = []
  asked = new Set()
  page.on('console', (message) => {
    if (/Content.Security.Policy|Refused/i.test(message.text())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('request', (request) => {
    if (!request.url().startsWith('data:')) asked.add(new URL(request.url()).origin)
  })
  await page.goto(url)
  await page.waitForSelector('.opblock-tag')
  return page
}

const shown = (page: Page, selector: string) =>
  page.$$eval(selector, (found) => found.map((one) => (one.textContent ?? '').trim()))

/** By the script of the page: what unfolds moves away from under a pointer. */
const click = (page: Page, selector: string) => page.$eval(selector, (found) => (found as HTMLElement).click())

async function logIn(page: Page, { email, password }: typeof BO): Promise<string> {
  await page.type('#login [name=username]', email)
  await page.type('#login [name=password]', password)
  await click(page, '#login button')
  await page.waitForFunction("document.querySelector('#login output').textContent !== ''")
  return (await shown(page, '#login output'))[0] ?? ''
}

/** Looks for an operation, executes it, and returns the status that the page shows. */
async function execute(page: Page, phrase: string): Promise<string> {
  await page.type('.operation-filter-input', phrase)
  await page.waitForFunction("document.querySelectorAll('.opblock-tag').length === 1")
  await click(page, '.opblock-tag')
  await page.waitForSelector('.opblock-summary-control')
  await click(page, '.opblock-summary-control')
  // The page resolves the references of an operation once it is shown; what is executed before goes nowhere.
  await page.waitForSelector('tr[data-param-name="X-Account"] input')
  await page.waitForSelector('.execute')
  await click(page, '.execute')
  await page.waitForSelector('.live-responses-table .response-col_status')
  const statuses = await shown(page, '.live-responses-table .response .response-col_status')
  return statuses[0]?.slice(0, 3) ?? ''
}

beforeAll(async () => {
  if (!hasChromium) return
  const { path: folder, remove } = await folderWithMaster('freehold-docs')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const port = await freePort()
  const dataDir = join(folder, 'worker')
  await mkdir(dataDir)
  base = `http://localhost:${port}`
  host = `http://acme.localhost:${port}`
  stops.unshift((await startWorker({ dataDir, port, env: { ...stack.env, BASE_URL: base }, log: () => {} })).stop)
  const post = async (path: string, body: object, token?: string) => {
    const headers = { 'Content-Type': 'application/json', Prefer: 'wait=30', ...(token && { Authorization: `Bearer ${token}` }) }
    return (await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json()
  }
  const { access_token } = (await post('/platform/v1/auth/login', OPERATOR)) as { access_token: string }
  const admin = { admin_email: BO.email, admin_password: BO.password }
  const tenant = { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), ...admin }
  await post('/platform/v1/tenants', tenant, access_token)
  browser = await startChromium()
  stops.unshift(() => browser.close())
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

describe.skipIf(!hasChromium)('the reference', () => {
  it('on the host of a tenant logs in there, finds an operation and tries it out', async () => {
    const page = await open(`${host}/docs`)
    const tags = await shown(page, '.opblock-tag')
    expect(tags.length).toBeGreaterThan(12)
    expect(tags.filter((tag) => tag.startsWith('Platform'))).toEqual([])
    expect(await shown(page, '.opblock')).toEqual([])
    expect(await logIn(page, BO)).toBe(`Logged in as ${BO.email}.`)
    expect(await execute(page, 'getMe /api/v1')).toBe('200')
    expect(await shown(page, '.live-responses-table .response .response-col_description')).toEqual([
      expect.stringContaining(BO.email),
    ])
    expect(complaints).toEqual([])
    expect([...asked]).toEqual([host])
  })

  it('says why a login failed, and tries things out without one', async () => {
    const page = await open(`${host}/docs`)
    expect(await logIn(page, { ...BO, password: 'wrong' })).toMatch(/^Check identifier and password\./)
    expect(await execute(page, 'getMe /api/v1')).toBe('401')
  })

  it('searches for what is said of an operation, word by word', async () => {
    const page = await open(`${host}/docs`)
    await page.type('.operation-filter-input', '/api/ UNLOCK a user')
    await page.waitForFunction("document.querySelectorAll('.opblock-tag').length === 1")
    expect(await shown(page, '.opblock-tag')).toEqual([expect.stringMatching(/^Users/)])
  })

  it('on the base domain asks for the tenant and goes to its host, and operators log in', async () => {
    const page = await open(`${base}/docs`)
    expect(await logIn(page, OPERATOR)).toBe(`Logged in as ${OPERATOR.email}.`)
    expect(await execute(page, 'platformGetMe')).toBe('200')
    expect(complaints).toEqual([])
    await page.type('#tenant [name=tenant]', 'acme')
    await Promise.all([page.waitForNavigation(), click(page, '#tenant button')])
    expect(page.url()).toMatch(`${host}/docs`)
    expect(await shown(page, '#login strong')).toEqual(['acme:'])
    expect(await shown(page, '#tenant')).toEqual([])
  })
})
