/**
 * Threat: a browser that never can change anything under If-Match, because Cloudflare compresses the answers and weakens their tags on
 * the way. Every route that takes If-Match, asked as a browser asks, with the tag that the browser read.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startCompressing } from '../support/node/compressing.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const NEW_TENANT = {
  subdomain: 'acme',
  legal_name: 'Acme',
  tax_id: rucFor('acme'),
  admin_email: ADMIN.email,
  admin_password: ADMIN.password,
}

let stops: (() => Promise<unknown>)[] = []
let port: number
let operator: string
let admin: string
const paths: Record<string, string> = {}
let documented: string[]

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-if-match')
  stops = [remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const stack = await startStack({
    dataDir,
    given,
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
    log: () => {},
  })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  const proxy = await startCompressing(worker.port)
  stops.unshift(proxy.stop)
  port = proxy.port
  operator = (await ask('/platform/v1/auth/login', { body: OPERATOR })).body.access_token
  const tenant = await ask('/platform/v1/tenants', { token: operator, body: NEW_TENANT, headers: { Prefer: 'wait=30' } })
  expect(tenant.status, JSON.stringify(tenant.body)).toBe(201)
  admin = (await ask('/api/v1/auth/login', { body: ADMIN })).body.access_token
  const made = async (path: string, body: object) => `${path}/${(await ask(path, { token: admin, body })).body.id}`
  paths['/platform/v1/tenants/{id}'] = `/platform/v1/tenants/${tenant.body.id}`
  paths['/api/v1/users/{id}'] = await made('/api/v1/users', { email: 'cy@acme.test' })
  paths['/api/v1/units/{id}'] = await made('/api/v1/units', { kind: 'department', name: 'Water' })
  paths['/api/v1/organizations/{id}'] = await made('/api/v1/organizations', { name: 'Norte' })
  paths['/api/v1/roles/{id}'] = await made('/api/v1/roles', { name: 'analyst', permissions: [] })
  paths['/api/v1/audiences/{id}'] = await made('/api/v1/audiences', { identifier: 'urn:x:api', name: 'API' })
  const provider = { name: 'own', type: 'oidc', issuer: 'https://id.acme.example', client_id: 'client', label: 'Acme' }
  paths['/api/v1/settings/providers/{id}'] = await made('/api/v1/settings/providers', provider)
  paths['/api/v1/webhooks/{id}'] = await made('/api/v1/webhooks', { url: 'https://hooks.acme.example/in' })
  const hook = { act: 'login', url: 'https://hooks.acme.example/in', on_failure: 'open', is_paused: true }
  paths['/api/v1/hooks/{id}'] = await made('/api/v1/hooks', hook)
  paths['/api/v1/settings'] = '/api/v1/settings'
  paths['/api/v1/auth/me'] = '/api/v1/auth/me'
  await ask('/platform/v1/plans', { token: operator, body: { key: 'gold', name: 'Gold' } })
  paths['/platform/v1/plans/{key}'] = '/platform/v1/plans/gold'
  const { paths: routes } = (await ask('/openapi.json')).body as { paths: Record<string, Record<string, { summary: string }>> }
  documented = Object.entries(routes)
    .filter(([path, { patch }]) => /If-Match/.test(patch?.summary ?? '') && !/^\/platform\/v1\/(operators|settings)/.test(path))
    .map(([path]) => path.replace(/\/$/, ''))
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

type Ask = { token?: string; body?: object; method?: string; headers?: Record<string, string> }

/** A request as a browser sends it: it accepts gzip, and unpacks it. */
async function ask(path: string, { token, body, method, headers }: Ask = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: method ?? (body ? 'POST' : 'GET'),
    headers: {
      Host: 'localhost',
      ...(path.startsWith('/api/') && { 'X-Tenant': 'acme' }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : null }
}

const CHANGES: Record<string, object> = {
  '/platform/v1/tenants/{id}': { config: { origins: ['https://app.acme.test'] } },
  '/platform/v1/plans/{key}': { name: 'Silver' },
  '/api/v1/users/{id}': { given_name: 'Cy' },
  '/api/v1/units/{id}': { name: 'Wastewater' },
  '/api/v1/organizations/{id}': { name: 'Sur' },
  '/api/v1/roles/{id}': { description: 'Analyses' },
  '/api/v1/audiences/{id}': { name: 'Billing' },
  '/api/v1/settings': { max_sessions: 7 },
  '/api/v1/settings/providers/{id}': { label: 'Staff' },
  '/api/v1/hooks/{id}': { on_failure: 'closed' },
  '/api/v1/webhooks/{id}': { kinds: ['user.*'] },
  '/api/v1/auth/me': { given_name: 'Bo' },
}
/** What is read at another address than it is changed at. */
const READ: Record<string, string> = { '/api/v1/auth/me': '/api/v1/users/me' }

describe('behind a proxy that compresses and weakens tags', () => {
  it('every route that takes If-Match is tried here', () => expect(documented.sort()).toEqual(Object.keys(CHANGES).sort()))

  it.each(Object.entries(CHANGES))('%s is changed under the tag that was read, and not under it again', async (route, body) => {
    const path = paths[route] ?? ''
    const token = route.startsWith('/platform/') ? operator : admin
    const read = await ask(READ[route] ?? path, { token })
    const tag = read.headers.get('ETag') ?? ''
    expect(read.headers.get('Content-Encoding')).toBe('gzip')
    expect(tag).toMatch(/^W\/".+"$/)
    expect(read.headers.get('Cache-Control')).toBe('no-store, no-transform')
    const change = { token, method: 'PATCH', body, headers: { 'If-Match': tag } }
    const changed = await ask(path, change)
    expect(changed.status, JSON.stringify(changed.body)).toBe(200)
    expect(changed.headers.get('ETag')).not.toBe(tag)
    expect(await ask(path, change)).toMatchObject({ status: 412, body: { code: 'etag_mismatch' } })
  })

  it('the document that was read is not sent again', async () => {
    const tag = (await ask('/openapi.json')).headers.get('ETag') ?? ''
    expect(tag).toMatch(/^W\//)
    expect((await ask('/openapi.json', { headers: { 'If-None-Match': tag } })).status).toBe(304)
  })
})
