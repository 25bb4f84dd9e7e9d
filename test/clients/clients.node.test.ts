/**
 * Threat: a document that linters accept, and whose clients do not work. So clients are generated from what the Worker serves, compiled as
 * strictly as TypeScript can, and used against the Worker; and a mock that is made of the document answers the same calls.
 */
import { execFile } from 'node:child_process'
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { getHttpOperationsFromSpec } from '@stoplight/prism-http'
import { createClientFromOperations } from '@stoplight/prism-http/dist/client.js'
import spectralCore from '@stoplight/spectral-core'
import { oas } from '@stoplight/spectral-rulesets'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { resolved } from '../support/document.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import type { At, Seen } from './uses/seen.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const USES = fileURLToPath(new URL('uses', import.meta.url))
/** Beside node_modules, where generated code finds what it imports. */
const FOLDER = join(ROOT, '.wrangler/clients')
const CLIENTS = ['openapi-fetch', 'hey-api', 'orval']
const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }

/** What the mock says of each request is no concern of whoever runs the tests. */
const QUIET = Object.fromEntries(
  ['trace', 'debug', 'info', 'success', 'start', 'note', 'warn', 'error', 'fatal'].map((level) => [level, () => {}]),
)
QUIET.child = () => QUIET as never

type Media = { examples?: { example?: { value: unknown } } }
type Operation = {
  parameters: { name: string; in: string; required?: boolean; example?: unknown }[]
  requestBody?: { content: Record<string, Media> }
}

const stops: (() => Promise<unknown>)[] = []
let url: string
let document: string
let generated: string

/** Runs a program of this repository and returns all that it printed, whether it succeeded or not. */
async function run(...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT }).catch((failed) => failed)
  return `${stdout}${stderr}`
}

async function post(path: string, body: object, token?: string) {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Prefer: 'wait=30', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  })
  expect(answer.ok, path).toBe(true)
  return (await answer.json()) as { access_token: string }
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-clients')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  url = `http://127.0.0.1:${worker.port}`
  const { access_token } = await post('/platform/v1/auth/login', OPERATOR)
  const admin = { admin_email: ADMIN.email, admin_password: ADMIN.password }
  await post('/platform/v1/tenants', { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), ...admin }, access_token)
  document = await (await fetch(`${url}/openapi.json`)).text()
  rmSync(FOLDER, { recursive: true, force: true })
  cpSync(USES, FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, 'openapi.json'), document)
  generated = await run(join(ROOT, 'test/clients/generate.ts'), join(FOLDER, 'openapi.json'), join(FOLDER, 'generated'), url)
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
})

describe('linters', () => {
  it('of Spectral, by its recommended rules, find nothing', async () => {
    const spectral = new spectralCore.Spectral()
    spectral.setRuleset({ extends: [oas as never] })
    const found = await spectral.run(JSON.parse(document))
    expect(found.map(({ code, message, path }) => `${code}: ${message} ${path.join('/')}`)).toEqual([])
    const whole = JSON.parse(document)
    const without = { ...whole, tags: [], paths: Object.fromEntries(Object.entries(whole.paths).slice(0, 1)) }
    expect((await spectral.run(without)).length, 'without tags').toBeGreaterThan(0)
    // It takes a minute for some four hundred operations.
  }, 600_000)

  it('of Redocly, by its recommended rules, find nothing', async () => {
    // The server of a tenant is one of the base domain, which is localhost here.
    const config = await createConfig({ extends: ['recommended'], rules: { 'no-server-example.com': 'off' } })
    const found = await lintFromString({ source: document, absoluteRef: 'openapi.json', config })
    expect(found.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`)).toEqual([])
  })
})

describe('clients', () => {
  it('are generated without a complaint', () => expect(generated).not.toMatch(/error|warn|fail|⚠/i))

  it('compile strictly, and so does what uses them', async () => {
    expect(await run('node_modules/typescript/bin/tsc', '-p', FOLDER)).toBe('')
  }, 60_000)

  it.each(CLIENTS)('of %s log in, turn pages, create, change under a tag, import, and read a problem', async (name) => {
    const { use } = (await import(join(FOLDER, `${name}.ts`))) as { use: (at: At) => Promise<Seen> }
    const seen = await use({ url, tenant: 'acme', ...ADMIN, role: `made-by-${name}`, imported: `${name}@acme.test` })
    expect(seen.usernames).toContain('bo')
    expect(seen.usernames.length).toBe(1 + CLIENTS.indexOf(name))
    expect(seen).toMatchObject({ changed: 'Reads people', again: 'etag_mismatch', missing: { status: 404, code: 'not_found' } })
    expect(seen.lines.at(-1)).toMatchObject({ complete: true, created: 1, failed: 0 })
  })
})

describe('a mock of the document', () => {
  it('takes the example of each request and answers the example of its success', async () => {
    const operations = await getHttpOperationsFromSpec(JSON.parse(document))
    const mock = {
      isProxy: false,
      validateRequest: true,
      validateResponse: true,
      checkSecurity: true,
      errors: false,
      upstreamProxy: undefined,
    } as const
    const client = createClientFromOperations(operations, { ...mock, mock: { dynamic: false }, logger: QUIET as never })
    const { paths } = resolved(JSON.parse(document)) as { paths: Record<string, Record<string, Operation>> }
    let asked = 0
    for (const [path, methods] of Object.entries(paths))
      for (const [method, { parameters, requestBody }] of Object.entries(methods)) {
        const at = path.replace(/\{(\w+)\}/g, (_, name) => String(parameters.find((one) => one.name === name)?.example))
        const query = parameters
          .filter((one) => one.in === 'query' && one.required)
          .map(({ name, example }) => `${name}=${example}`)
        const [type, media] = Object.entries(requestBody?.content ?? {})[0] ?? []
        const headers = { authorization: 'Bearer token', ...(type && { 'content-type': type }) }
        const example = media?.examples?.example?.value
        const is_form = type === 'application/x-www-form-urlencoded'
        const body = is_form ? new URLSearchParams(example as Record<string, string>).toString() : example
        const answer = await client.request(`http://localhost${at}?${query.join('&')}`, {
          method: method as 'get',
          headers,
          body,
        })
        const wrong = [...answer.violations.input, ...answer.violations.output].map(({ message }) => message)
        expect([answer.status < 300, wrong], `${method} ${path}`).toEqual([true, []])
        asked++
      }
    expect(asked).toBe(operations.length)
    const refused = await client.request('http://localhost/api/v1/auth/login', {
      method: 'post',
      headers: { 'content-type': 'application/json' },
      body: { email: 1 },
    })
    expect(refused).toMatchObject({ status: 400, data: { code: 'invalid_request' } })
  })
})
