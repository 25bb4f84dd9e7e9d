/**
 * Two Workers that share an account at Neon. Threat: each keeps a budget of its own, or both change one project at once. Everything they ask
 * of Neon passes a counter here. Operations take as long as on Neon, so that a project is locked.
 */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { askings, type Document } from '../support/matrix.ts'
import { type Ask, askAt } from '../support/node/ask.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { bundled, runBundle } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const MINUTE_MS = 60_000

type Seen = { at: number; method: string; path: string; status: number }
const seen: Seen[] = []
let stops: (() => Promise<unknown>)[] = []
let stack: Stack
let ports: [number, number]
let modules: string
let env: Record<string, string>
let token: string

/** Passes everything on to the local Neon, and writes down what it answers. */
async function startCounter(target: string): Promise<string> {
  const server = createServer(async (request: IncomingMessage, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const { method = 'GET', url = '/' } = request
    const one = { at: Date.now(), method, path: url, status: 0 }
    seen.push(one)
    const { authorization = '', 'content-type': type = 'application/json' } = request.headers
    const body = Buffer.concat(parts)
    const answer = await fetch(new URL(url, target), {
      method,
      headers: { authorization, 'content-type': type },
      ...(body.length && { body }),
    })
    one.status = answer.status
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' })
    response.end(Buffer.from(await answer.arrayBuffer()))
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  stops.unshift(async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** At one of the two. */
const ask = (which: number, path: string, asked: Ask = {}) => askAt(ports[which % 2] ?? 0, path, asked)

/** The most calls in any minute. */
const mostInAMinute = (calls: Seen[]) =>
  Math.max(0, ...calls.map(({ at }) => calls.filter((other) => other.at >= at && other.at < at + MINUTE_MS).length))

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-turns')
  stops = [folder.remove]
  stack = await startStack({
    dataDir: folder.path,
    given: { ...LOW_COST, BASE_URL: 'http://freehold.test', MIGRATIONS: 'manual', ...KEYS },
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 60,
    log: () => {},
  })
  stops.unshift(stack.stop)
  const counter = await startCounter(stack.neon.apiUrl)
  env = { ...stack.env, NEON_API_URL: new URL('/api/v2', counter).href }
  modules = await bundled()
  const worker = await runBundle(modules, env, { twice: true })
  stops.unshift(worker.stop)
  ports = [worker.port, worker.other]
  token = (await ask(0, '/platform/v1/auth/login', { body: OPERATOR })).body.access_token
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

test('twenty tenants that two Workers make on one host at once are made, and Neon refuses no change', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `turn-${i}`)
  const made = await Promise.all(
    names.map((subdomain, i) =>
      ask(i, '/platform/v1/tenants', {
        token,
        body: {
          subdomain,
          legal_name: subdomain,
          tax_id: rucFor(subdomain),
          admin_email: ADMIN.email,
          admin_password: ADMIN.password,
        },
        headers: { Prefer: 'wait=60' },
      }),
    ),
  )
  expect(made.map(({ status }) => status)).toEqual(names.map(() => 201))
  const databases = seen.filter(({ method, path }) => method === 'POST' && path.endsWith('/databases'))
  expect(new Set(databases.map(({ path }) => path)).size).toBe(1)
  expect(databases.map(({ status }) => status)).toEqual(names.map(() => 201))
  expect(seen.filter(({ status }) => status === 423 || status === 429)).toEqual([])
}, 180_000)

test('no request of a tenant asks Neon, whatever its route', async () => {
  const login = await ask(0, '/api/v1/auth/login', { at: 'turn-1', body: { email: ADMIN.email, password: ADMIN.password } })
  expect(login.status, JSON.stringify(login.body)).toBe(200)
  const document = (await ask(0, '/openapi.json')).body as Document
  const before = seen.length
  const all = askings(document, 'tenant')
  for (const [i, { at, method: asked, body }] of all.entries()) {
    // A stream does not end while it is read.
    const method = at.endsWith('/stream') ? 'HEAD' : asked
    await ask(i, at, { at: 'turn-1', token: login.body.access_token, method, ...(body !== undefined && { body }) })
  }
  expect(all.length).toBeGreaterThan(50)
  expect(seen.slice(before)).toEqual([])
}, 180_000)

test('two Workers have one budget: in no minute do they ask Neon more often than it allows', async () => {
  const worker = await runBundle(modules, { ...env, NEON_CALLS_PER_MINUTE: '30' }, { twice: true })
  stops.unshift(worker.stop)
  ports = [worker.port, worker.other]
  const from = seen.length
  const answers = await Promise.all(
    Array.from({ length: 24 }, (_, i) => ask(i, '/platform/v1/doctor?check=neon&limit=100', { token })),
  )
  expect(answers.every(({ status }) => status === 200)).toBe(true)
  const calls = seen.slice(from)
  expect(calls.length).toBeGreaterThanOrEqual(25)
  expect(mostInAMinute(calls)).toBeLessThanOrEqual(30)
  const words = answers.flatMap(({ body }) => body.data.map(({ detail }: { detail: string }) => detail)).join(' ')
  expect(words).toContain("Of the 30 calls of Neon's API in a minute (NEON_CALLS_PER_MINUTE) none is left.")
}, 180_000)
