/** Threat: uses of a key that are lost, or counted twice, where many clients use it through two Workers at once. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const AT = 'key-counts'
const REQUESTS = 10_000
const CLIENTS = 16

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let stops: (() => Promise<void>)[] = []
let ports: number[]
let token: string

type Ask = { token?: string; body?: unknown; at?: string; headers?: Record<string, string> }

async function ask(
  port: number,
  path: string,
  { token, body, at = AT, headers }: Ask = {},
): Promise<{ status: number; body: any }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(at && { 'X-Tenant': at }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

const portOf = (i: number) => ports[i % ports.length] ?? 0
const made = async (permissions: string[]) => {
  const { status, body } = await ask(portOf(0), '/api/v1/api-keys', { token, body: { name: 'robot', permissions } })
  expect(status, JSON.stringify(body)).toBe(201)
  return body as { id: string; key: string }
}
const shown = async (id: string) => (await ask(portOf(1), `/api/v1/api-keys/${id}`, { token })).body

beforeAll(async () => {
  folder = await folderWithMaster('freehold-key-counts')
  const given = { ...LOW_COST, BASE_URL: 'http://localhost:8787', ...KEYS }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: false, operationMs: 0, log: () => {} })
  ports = [await freePort(), await freePort()]
  const started = ports.map(async (port, i) => {
    const dataDir = join(folder.path, `worker-${i}`)
    await mkdir(dataDir, { recursive: true })
    return (await startWorker({ dataDir, port, env: stack.env, log: () => {} })).stop
  })
  stops = await Promise.all(started)
  const { email, password } = OPERATOR
  const operator = (await ask(portOf(0), '/platform/v1/auth/login', { at: '', body: { email, password } })).body.access_token
  const wanted = {
    subdomain: AT,
    legal_name: 'Counts S.A.C.',
    tax_id: rucFor(AT),
    admin_email: ADMIN.email,
    admin_password: ADMIN.password,
  }
  const tenant = await ask(portOf(0), '/platform/v1/tenants', {
    at: '',
    token: operator,
    headers: { Prefer: 'wait=30' },
    body: wanted,
  })
  expect(tenant.status, JSON.stringify(tenant.body)).toBe(201)
  token = (await ask(portOf(0), '/api/v1/auth/login', { body: ADMIN })).body.access_token
})
afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()))
  await stack?.stop()
  await folder?.remove()
})

it(`${REQUESTS} requests by ${CLIENTS} clients through two Workers count ${REQUESTS} within a minute`, async () => {
  const { id, key } = await made(['unit:read'])
  let left = REQUESTS
  const statuses = new Map<number, number>()
  const client = async (_: unknown, i: number) => {
    for (let n = i; left-- > 0; n++) {
      const { status } = await ask(portOf(n), '/api/v1/units?limit=1', { token: key })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  const from = Date.now()
  await Promise.all(Array.from({ length: CLIENTS }, client))
  const last = Date.now()
  expect([...statuses]).toEqual([[200, REQUESTS]])
  let found = await shown(id)
  for (; found.use_count < REQUESTS && Date.now() < last + 60_000; found = await shown(id)) await pause(250)
  expect(found.use_count).toBe(REQUESTS)
  const settled = Date.now()
  expect(Math.abs(Date.parse(found.last_used_at) - last)).toBeLessThan(10_000)
  // Nothing is under way any more that would make them more.
  await pause(5_000)
  expect((await shown(id)).use_count).toBe(REQUESTS)

  const client_of_database = new Client({
    connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: '/freehold_key_counts' }).href,
  })
  await client_of_database.connect()
  const { rows } = await client_of_database.query('select batch from access.key_counters')
  await client_of_database.end()
  // Both Workers counted, each about once a second and not for every request.
  expect(rows.length).toBeGreaterThanOrEqual(2)
  const writes = rows.reduce((sum, { batch }) => sum + batch, 0)
  expect(writes).toBeLessThanOrEqual(2 * ((last - from) / 1_000 + 5))
  console.log(`${REQUESTS} requests in ${last - from} ms, counted ${settled - last} ms later in ${writes} writes.`)
}, 900_000)
