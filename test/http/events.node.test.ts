/** Threat: somebody follows a run and hangs up, and the Worker asks the master about it for ever. Here a real connection is cut. */
import { createServer, get, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { startStack } from '../../scripts/dev/stack.ts'
import { batch, useSqlUrl } from '../../src/kernel/db.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const RUN = crypto.randomUUID()
let port: number
let looks = 0
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-events')
  stops.unshift(remove)
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  // Between the Worker and Neon: counts what is asked about the run.
  const counting = createServer(async (asked, answer) => {
    const body = Buffer.concat(await asked.toArray())
    if (body.includes(RUN)) looks++
    const { method, headers } = asked
    const passed = request(stack.env.NEON_SQL_URL ?? '', { method, headers }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers)
      got.pipe(answer)
    })
    passed.end(body)
  })
  await new Promise<void>((done) => counting.listen(0, '127.0.0.1', done))
  stops.unshift(async () => counting.close())
  const NEON_SQL_URL = `http://127.0.0.1:${(counting.address() as AddressInfo).port}/sql`
  const worker = await startInWorkerd({ ...stack.env, NEON_SQL_URL })
  stops.unshift(worker.stop)
  port = worker.port
  useSqlUrl(stack.env.NEON_SQL_URL)
  await batch(stack.env.MASTER_DATABASE_URL ?? '', [
    sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from) values (${RUN}, 'tenant/9999_later', 'running', 1, 5, now())`,
  ])
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

it('a run is asked about each second while somebody follows it, and not once after they hung up', async () => {
  const login = await fetch(`http://localhost:${port}/platform/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(OPERATOR),
  })
  const { access_token } = (await login.json()) as { access_token: string }
  const headers = { Host: 'localhost', Authorization: `Bearer ${access_token}` }
  const at = { host: '127.0.0.1', port, path: `/platform/v1/migrations/${RUN}/events`, headers }
  const answer = await new Promise<IncomingMessage>((done) => get(at, done))
  expect(answer.headers['content-type']).toBe('text/event-stream')
  let text = ''
  answer.on('data', (part) => {
    text += part
  })
  answer.on('error', () => {})
  await vi.waitUntil(() => looks >= 3, { timeout: 60_000 })
  expect(text).toMatch(/^retry: 2000\n\nid: [0-9a-f]{16}\nevent: run\ndata: \{.*"state":"running".*\}\n\n(:\n\n)+$/)
  answer.destroy()
  const then = looks
  await new Promise((done) => setTimeout(done, 5_000))
  // One may have been under way, and the next finds nobody to send to.
  expect(looks - then).toBeLessThanOrEqual(2)
})
