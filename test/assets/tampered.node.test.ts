/**
 * Threat: the assets of a deployed Worker are not its own: a list of passwords without words, a migration with another statement. Here the
 * Worker runs with such a folder.
 */
import { appendFile, cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { workerOptions } from '../../scripts/release/worker.ts'
import { ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { type Ask, askAt } from '../support/node/ask.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { bundled, runInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
let port: number
let token: string
const heard: string[] = []
const stops: (() => Promise<unknown>)[] = []
const ask = (path: string, asked: Ask = {}) => askAt(port, path, asked)
const about = (subdomain: string) => {
  return { subdomain, legal_name: `${subdomain} S.A.C.`, tax_id: rucFor(subdomain), admin_email: 'bo@acme.test' }
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-tampered')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const directory = join(dataDir, 'assets')
  const options = workerOptions(ROOT)
  await cp(join(ROOT, '.wrangler/assets'), directory, { recursive: true })
  await writeFile(join(directory, 'src/passwords/commonest-packed.txt'), '# No words.\n')
  await appendFile(join(directory, 'drizzle/tenant/0000_baseline.sql'), ';grant all on all tables in schema freehold to public')
  for (const folder of ['words', 'documents']) await rm(join(directory, folder), { recursive: true })
  const worker = await runInWorkerd({
    modules: await bundled(),
    options: { ...options, assets: { ...options.assets, directory } },
    env: stack.env,
    heard: (line) => void heard.push(line),
  })
  stops.unshift(worker.stop)
  port = worker.port
  token = (await ask('/platform/v1/auth/login', { body: OPERATOR })).body.access_token
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

it('a password is not taken unchecked: 503 asset_unavailable, and no tenant is made', async () => {
  const body = { ...about('unchecked'), admin_password: 'Orchid-Mango-42!' }
  const answer = await ask('/platform/v1/tenants', { token, body })
  expect(answer).toMatchObject({ status: 503, body: { code: 'asset_unavailable' } })
  expect((await ask('/platform/v1/tenants', { token })).body.data).toEqual([])
})

it('a tenant whose migration is another is not made, and the step says which file it was', { timeout: 300_000 }, async () => {
  const { status, body } = await ask('/platform/v1/tenants', { token, body: about('altered') })
  expect(status).toBe(202)
  const steps = async () => (await ask(`/platform/v1/tenants/${body.id}/provisioning`, { token })).body.data
  const migrate = async () => (await steps()).find(({ name }: { name: string }) => name === 'migrate')
  await vi.waitUntil(async () => (await migrate())?.error, { timeout: 240_000, interval: 500 })
  expect((await migrate()).error).toContain('drizzle/tenant/0000_baseline.sql: It has the SHA-256')
  expect((await ask(`/platform/v1/tenants/${body.id}`, { token })).body.status).not.toBe('active')
})

it('without its Spanish words the Worker answers in English, and without its document it has none', async () => {
  const answer = await ask('/platform/v1/tenants', { headers: { 'Accept-Language': 'es' } })
  expect(answer).toMatchObject({
    status: 401,
    body: { title: 'A token is needed', detail: 'Send Authorization: Bearer with an access token.' },
  })
  // A later one does not ask for them again, which each would wait for.
  const spanish = { headers: { 'Accept-Language': 'es' } }
  for (const path of ['/platform/v1/tenants', '/problems/not_found', '/platform/v1/plans']) await ask(path, spanish)
  expect(heard.filter((line) => line.includes('asset not read') && line.includes('words/spanish.json'))).toHaveLength(1)
  expect(await ask('/openapi.json')).toMatchObject({ status: 503, body: { code: 'asset_unavailable' } })
})
