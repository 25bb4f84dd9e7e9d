/** Threat: the Worker is killed while it sends events, a receiver is dead, another slow, and events are lost, or come in another order. */
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
/** They take four minutes on two cores that do nothing else, and a quarter of an hour on busy ones. */
const EVENTS = Number(process.env.EVENTS ?? 10_000)
const SLOW_MS = 15
const KILLS = 3

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let worker: { stop: () => Promise<void> } | undefined
let port: number
let database: Client
const servers: Server[] = []

async function wake() {
  worker = await startWorker({ dataDir: folder.path, port, env: stack.env, log: () => {} })
}

/** Kills the Worker as a machine that goes down would. */
async function killWorker() {
  const group = Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1])
  process.kill(-group, 'SIGKILL')
  await worker?.stop()
  worker = undefined
}

async function ask(path: string, body: unknown, headers: Record<string, string> = {}): Promise<any> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return answer.json()
}

/** A minute: the schedule comes round. */
const minute = () => fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`).catch(() => null)
/** What is written past the Worker, the schedule is told. */
async function visitNext() {
  const { pathname } = new URL(String(stack.env.MASTER_DATABASE_URL))
  const client = new Client({ connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname }).href })
  await client.connect()
  await client.query('update platform.maintenance set due_at = now()').finally(() => client.end())
}

/** A receiver, and the numbers of what it took, in the order in which it came. */
async function receiver(delay_ms: number, status = 200) {
  const taken: { seq: number; id: string }[] = []
  const server = createServer((asked, answer) => {
    let body = ''
    asked.on('data', (part) => {
      body += part
    })
    asked.on('end', async () => {
      if (delay_ms) await pause(delay_ms)
      taken.push({ seq: JSON.parse(body).data.seq, id: String(asked.headers['webhook-id']) })
      answer.writeHead(status).end()
    })
  })
  servers.push(server)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
  return { taken, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

beforeAll(async () => {
  folder = await folderWithMaster('freehold-events-killed')
  port = await freePort()
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: true, operationMs: 0, log: () => {} })
  await wake()
  const { email, password } = OPERATOR
  const { access_token } = await ask('/platform/v1/auth/login', { email, password })
  const made = await ask(
    '/platform/v1/tenants',
    {
      subdomain: 'sent',
      legal_name: 'Sent S.A.C.',
      tax_id: rucFor('sent'),
      admin_email: ADMIN.email,
      admin_password: ADMIN.password,
    },
    { Authorization: `Bearer ${access_token}`, Prefer: 'wait=30' },
  )
  database = new Client({
    connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${made.database_name}` }).href,
  })
  await database.connect()
}, 240_000)

afterAll(async () => {
  await database?.end()
  for (const server of servers) server.close()
  await worker?.stop()
  await stack?.stop()
  await folder?.remove()
})

it('each living receiver gets every event, in order, beside a dead and a slow one, though the Worker is killed three times', async () => {
  const at = { 'X-Tenant': 'sent' }
  const { access_token } = await ask('/api/v1/auth/login', ADMIN, at)
  const [fast, slow, dead] = [await receiver(0), await receiver(SLOW_MS), await receiver(0, 503)]
  for (const { url } of [dead, slow, fast])
    await ask('/api/v1/webhooks', { url, kinds: ['custom.*'] }, { ...at, Authorization: `Bearer ${access_token}` })
  await database.query(
    `select access.record('SAMPLE_TAKEN', 'take', 'sample', i::text, null, null) from generate_series(1, $1::integer) i`,
    [EVENTS],
  )
  for (let i = 0; i < 100; i++) {
    await database.query('select access.checkpoint_audit(5000)')
    if (!(await database.query('select from freehold.audit_log where checkpoint is null')).rowCount) break
    await pause(100)
  }
  /** What failed is tried again at once, and what a Worker that was killed had claimed is free. */
  const due = (was_killed: boolean) =>
    database
      .query(
        'update freehold.webhook_progress set next_at = now(), leased_until = case when $1 then null else leased_until end where $1 or lease is null',
        [was_killed],
      )
      .then(visitNext)
  const taken = () => Math.min(fast.taken.length, slow.taken.length)

  for (let i = 1; i <= KILLS; i++) {
    await due(true)
    const [run, goal] = [minute(), taken() + EVENTS / 20]
    for (const until = Date.now() + 30_000; taken() < goal && Date.now() < until; ) await pause(5)
    expect(taken()).toBeGreaterThanOrEqual(goal)
    await killWorker()
    await run
    await wake()
  }
  const seqs = (receiver: { taken: { seq: number }[] }) => new Set(receiver.taken.map(({ seq }) => seq))
  let is_first = true
  for (const until = Date.now() + 900_000; Date.now() < until; ) {
    if (seqs(fast).size >= EVENTS && seqs(slow).size >= EVENTS) break
    await due(is_first)
    await minute()
    is_first = false
    // The Queue sends them after the schedule has run.
    await pause(2_000)
  }

  for (const { taken: got } of [fast, slow]) {
    const first = Math.min(...got.map(({ seq }) => seq))
    expect([...new Set(got.map(({ seq }) => seq))].sort((a, b) => a - b)).toEqual(
      Array.from({ length: EVENTS }, (_, i) => first + i),
    )
    // In order, but where it goes back to what was not recorded before a kill: at most so often, and by what is recorded at once.
    const back = got.flatMap(({ seq }, i) => (i > 0 && seq <= (got[i - 1]?.seq ?? 0) ? [(got[i - 1]?.seq ?? 0) - seq] : []))
    expect(back.length).toBeLessThanOrEqual(KILLS)
    for (const n of back) expect(n).toBeLessThan(200)
    expect(got.every(({ seq }, i) => i === 0 || seq <= (got[i - 1]?.seq ?? 0) + 1)).toBe(true)
    // What comes twice has the same id.
    for (const same of Map.groupBy(got, ({ seq }) => seq).values()) expect(new Set(same.map(({ id }) => id)).size).toBe(1)
  }
  // The dead one was tried again, and got no further.
  expect(dead.taken.length).toBeGreaterThan(0)
  expect(seqs(dead).size).toBe(1)
  expect(dead.taken.length).toBeLessThan(100)
}, 1_200_000)
