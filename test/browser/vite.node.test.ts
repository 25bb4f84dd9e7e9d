/**
 * Threat: the guide for frontends (docs/guides/frontends.md) tells of a set-up that does not work, or of one that lets other sites use the
 * cookies of whoever develops. Its files are taken from the guide as they stand, served by Vite's dev server, and opened in Chromium.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'puppeteer-core'
import { createServer } from 'vite'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort, ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { askAt } from '../support/node/ask.ts'
import { fetchIn, hasChromium, openPage, startChromium, startForeignSite } from '../support/node/chromium.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const FILES = ['vite.config.ts', 'session.js', 'index.html']

const stops: (() => Promise<unknown>)[] = []
let browser: Browser
let context: BrowserContext
let pages: string
let foreign: string

/** A file of the guide: the block below its name. */
async function fileOfGuide(name: string): Promise<string> {
  const guide = await readFile(join(ROOT, 'docs/guides/frontends.md'), 'utf8')
  const [, text] = guide.split(`\n\`${name}\`:\n`)
  const block = /^\n```\w+\n(.*?)\n```\n/s.exec(text ?? '')?.[1]
  if (!block) throw new Error(`The guide has no ${name}.`)
  return block
}

beforeAll(async () => {
  if (!hasChromium) return
  const { path: dataDir, remove } = await folderWithMaster('freehold-vite')
  stops.unshift(remove)
  const port = await freePort()
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  stops.unshift((await startWorker({ dataDir, port, env: stack.env, log: () => {} })).stop)
  const { body } = await askAt(port, '/platform/v1/auth/login', { body: OPERATOR })
  const admin = { admin_email: BO.email, admin_password: BO.password }
  const wanted = { subdomain: 'vite', legal_name: 'Vite', tax_id: rucFor('vite'), ...admin }
  const headers = { Prefer: 'wait=30' }
  const made = await askAt(port, '/platform/v1/tenants', { token: body.access_token, body: wanted, headers })
  expect(made.status, JSON.stringify(made.body)).toBe(201)

  // Below the repository, whose Vite the files import.
  await mkdir(join(ROOT, '.wrangler'), { recursive: true })
  const folder = await mkdtemp(join(ROOT, '.wrangler/vite-'))
  stops.unshift(() => rm(folder, { recursive: true, force: true }))
  for (const name of FILES) await writeFile(join(folder, name), await fileOfGuide(name))
  process.env.FREEHOLD_TENANT = `http://vite.localhost:${port}`
  const vite = await createServer({
    root: folder,
    configFile: join(folder, 'vite.config.ts'),
    configLoader: 'native',
    cacheDir: join(folder, 'cache'),
    logLevel: 'silent',
    server: { port: await freePort(), strictPort: true, host: '127.0.0.1', hmr: false, watch: null },
  })
  stops.unshift(() => vite.close())
  await vite.listen()
  pages = `http://localhost:${vite.config.server.port}`
  const site = await startForeignSite()
  stops.unshift(site.stop)
  foreign = `http://localhost:${site.port}`
  browser = await startChromium()
  stops.unshift(() => browser.close())
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

describe.skipIf(!hasChromium)('the app of the guide', () => {
  beforeEach(async () => {
    context = await browser.createBrowserContext()
    return () => context.close()
  })

  const shows = (page: Page, text: string) =>
    page.waitForFunction((wanted: string) => document.querySelector('output')?.value === wanted, {}, text)
  async function enter(): Promise<Page> {
    const page = await openPage(context, `${pages}/`, true)
    await shows(page, 'nobody')
    await page.type('[name=username]', BO.email)
    await page.type('[name=password]', BO.password)
    await page.click('form button')
    await shows(page, BO.email)
    return page
  }
  const kept = async () => (await context.cookies()).map(({ name }) => name.slice(0, '__Host-fh_a'.length)).sort()

  it('logs in with cookies that no script reads, is known after a reload, and logs out', async () => {
    const page = await enter()
    expect(await kept()).toEqual(['__Host-fh_a', '__Host-fh_d', '__Host-fh_r'])
    expect(await page.evaluate(() => document.cookie)).toBe('')
    await page.reload()
    await shows(page, BO.email)
    await page.click('#leave')
    await shows(page, 'nobody')
    expect(await kept()).toEqual(['__Host-fh_d'])
  })

  it('refreshes when the access token has gone, without anybody noticing', async () => {
    const page = await enter()
    const [old] = (await context.cookies()).filter(({ name }) => name.startsWith('__Host-fh_a_'))
    if (old) await context.deleteCookie(old)
    expect(await kept()).toEqual(['__Host-fh_d', '__Host-fh_r'])
    await page.reload()
    await shows(page, BO.email)
    expect(await kept()).toEqual(['__Host-fh_a', '__Host-fh_d', '__Host-fh_r'])
  })

  it('lends its cookies to no other site, not even to one of this machine, whose cookies they share', async () => {
    const page = await enter()
    const other = await openPage(context, foreign)
    for (const path of ['/auth/logout', '/auth/logout-all'])
      await fetchIn(other, `${pages}/api/v1${path}`, { method: 'POST', mode: 'no-cors', credentials: 'include' })
    await page.reload()
    await shows(page, BO.email)
  })
})
