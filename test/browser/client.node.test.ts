/**
 * The typed client in a page of the tenant, in real Chromium. Threat: what works in Node and workerd fails in a browser (a redirect that is
 * opaque there, a header that is not readable), or many calls of a page each exchange the refresh token, which ends the session.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Browser, Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort, ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { askAt } from '../support/node/ask.ts'
import { hasChromium, openPage, startChromium } from '../support/node/chromium.ts'
import { folderWithCluster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const BO = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const stops: (() => Promise<unknown>)[] = []
let browser: Browser
let page: Page
/** The requests of the page, as `POST /path`. */
let asked: string[]

beforeAll(async () => {
  if (!hasChromium) return
  const { path: folder, remove } = await folderWithCluster('freehold-client')
  stops.unshift(remove)
  const port = await freePort()
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir: folder, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const dataDir = join(folder, 'worker')
  await mkdir(dataDir)
  stops.unshift((await startWorker({ dataDir, port, env: stack.env, log: () => {} })).stop)
  const { body } = await askAt(port, '/platform/v1/auth/login', { body: OPERATOR })
  const admin = { admin_email: BO.email, admin_password: BO.password }
  const wanted = { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), ...admin }
  const headers = { Prefer: 'wait=30' }
  const made = await askAt(port, '/platform/v1/tenants', { token: body.access_token, body: wanted, headers })
  expect(made.status, JSON.stringify(made.body)).toBe(201)

  const entryPoints = [join(ROOT, 'scripts/package/client/client.ts')]
  const { outputFiles } = await build({ entryPoints, bundle: true, format: 'iife', globalName: 'freehold', write: false })
  browser = await startChromium()
  stops.unshift(() => browser.close())
  page = await openPage(await browser.createBrowserContext(), `http://acme.localhost:${port}/healthz`)
  page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`))
  asked = []
  await page.evaluate(outputFiles[0]?.text ?? '')
  await page.evaluate('client = freehold.createClient({ url: location.origin })')
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

const ME = '/api/v1/auth/me'
/** What a script of the page gets; of what fails, the code. */
const run = (script: string) =>
  page.evaluate(`(async () => { ${script} })().catch(({ name, code, status }) => ({ name, code, status }))`)
const times = (request: string) => asked.filter((one) => one === request).length

describe.skipIf(!hasChromium)('the client in a browser', () => {
  it('is refused with a typed problem, logs in, and asks as who logged in', async () => {
    const wrong = await run(`return client.logIn({ username: '${BO.email}', password: 'wrong' })`)
    expect(wrong).toEqual({ name: 'ProblemError', code: 'invalid_credentials', status: 401 })
    await run(`await client.logIn(${JSON.stringify({ username: BO.email, password: BO.password })})`)
    expect(await run(`return (await client.GET('${ME}')).data`)).toMatchObject({ email: BO.email, tenant: 'acme' })
  })

  it('makes twenty calls at once with a token whose time is over, and exchanges it once', async () => {
    asked = []
    // The client counts the time on a clock that nobody sets: here it is an hour later.
    const statuses = await run(`
      const now = performance.now.bind(performance)
      performance.now = () => now() + 3_600_000
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.GET('${ME}')))
      return answers.map(({ response }) => response.status)`)
    expect(statuses).toEqual(Array(20).fill(200))
    expect(times(`GET ${ME}`)).toBe(20)
    expect(times('POST /api/v1/auth/refresh-token')).toBe(1)
  })

  it('reads a list to its end, fails with the problem of the API, and logs out', async () => {
    const names = await run(`
      const names = []
      for await (const { email } of client.list('/api/v1/users', { params: { query: { limit: 1 } } })) names.push(email)
      return names`)
    expect(names).toEqual([BO.email])
    const refused = await run(`return client.POST('/api/v1/users', { body: { username: 7 } })`)
    expect(refused).toEqual({ name: 'ProblemError', code: 'invalid_request', status: 400 })
    await run('await client.logOut()')
    expect(await run(`return client.GET('${ME}')`)).toMatchObject({ code: 'token_missing', status: 401 })
  })
})
