/** Threat: a process is killed in the middle of making a tenant, and the tenant is never made, or made twice. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { startWorker } from '../../scripts/dev/worker.ts'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { temporaryFolder } from '../../scripts/local-neon/temporary-folder.ts'
import { freePort } from '../dev/running.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const OPERATION_MS = 300
type Isolation = 'database' | 'branch'

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let worker: { stop: () => Promise<void> } | undefined
let port: number
let token: string

const given = () => ({ BASE_URL: `http://localhost:${port}`, ENCRYPTION_KEYS: `k1:${'Zm9vYmFy'.repeat(5)}Zm8` })
const options = () => ({
  dataDir: folder.path,
  given: given(),
  operator: OPERATOR,
  durable: true,
  operationMs: OPERATION_MS,
  log: () => {},
})
const wake = async () => {
  worker = await startWorker({ dataDir: folder.path, port, env: stack.env, log: () => {} })
}

/** Kills the Worker as a machine that goes down would: wrangler and workerd at once, with no word. */
async function killWorker() {
  const group = Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1])
  process.kill(-group, 'SIGKILL')
  await worker?.stop()
  worker = undefined
}

/** Runs SQL on the master as Postgres' superuser. */
async function master(text: string, values: unknown[] = []): Promise<any[]> {
  const url = new URL(stack.neon.postgresUrl)
  url.pathname = '/freehold_master'
  const client = new Client({ connectionString: url.href })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}

async function ask(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: any }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

const create = async (subdomain: string, isolation: Isolation) => {
  const answer = await ask('/platform/v1/tenants', {
    subdomain,
    legal_name: `${subdomain} S.A.C.`,
    tax_id: rucFor(subdomain),
    admin_email: ADMIN.email,
    admin_password: ADMIN.password,
    isolation,
  })
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return answer.body.id as string
}

async function until(what: string, ms: number, check: () => Promise<boolean>) {
  for (const from = Date.now(); Date.now() < from + ms; await pause(20)) if (await check().catch(() => false)) return
  throw new Error(`Not in ${ms} ms: ${what}`)
}

const statusOf = async (id: string) => (await master('select status from platform.tenants where id = $1', [id]))[0]?.status
const reaches = (id: string, step: string) =>
  until(`${id} at ${step}`, 20_000, async () => {
    const [row] = await master('select state from platform.provisioning_steps where tenant_id = $1 and name = $2', [id, step])
    return row?.state === 'running' || row?.state === 'done'
  })
const settled = (id: string, ms = 60_000) => until(`${id} to be settled`, ms, async () => (await statusOf(id)) !== 'provisioning')

/** Three minutes later: whoever held a lease is taken for dead, and the schedule comes round. */
async function minutesLater() {
  await master("update platform.provisioning_runs set lease_until = now() - interval '1 second' where state = 'running'")
  await master("update platform.homes set lease_until = now() where state = 'opening'")
  const answer = await fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  expect(answer.status, await answer.text()).toBe(200)
}

async function neon(path: string): Promise<any> {
  const answer = await fetch(`${stack.neon.apiUrl}${path}`, { headers: { Authorization: `Bearer ${stack.neon.apiKey}` } })
  return answer.json()
}
const switchOn = (...faults: Fault[]) =>
  fetch(new URL('/faults', stack.neon.apiUrl), { method: 'PUT', body: JSON.stringify(faults) })

/** A tenant whose parts are there once, in the master and in Neon; whose administrator logs in. */
async function expectOnce(id: string, name: string) {
  const steps = await master('select name, state, error from platform.provisioning_steps where tenant_id = $1 and state <> $2', [
    id,
    'done',
  ])
  expect([await statusOf(id), steps]).toEqual(['active', []])
  const [row] = await master(
    `select t.database_name, t.branch_id, t.isolation, h.project_id, h.taken = (select count(*) from platform.tenants x where x.home_id = h.id) as counted,
       (select count(*)::integer from platform.signing_keys k where k.realm_id = t.id) as keys,
       (select count(*)::integer from pg_roles where rolname like 'freehold%' || left(replace(t.id::text, '-', ''), 12) || '%') as roles,
       (select count(*)::integer from platform.provisioning_runs r where r.tenant_id = t.id and r.state in ('running', 'done')) as ended
     from platform.tenants t join platform.homes h on h.id = t.home_id where t.id = $1`,
    [id],
  )
  expect(row).toMatchObject({ counted: true, keys: 1, roles: 2 })
  const { projects } = await neon('/projects?limit=400')
  const homes = await master('select name from platform.homes')
  expect(projects.map((project: any) => project.name).sort()).toEqual(
    ['freehold-master', ...homes.map((home) => home.name)].sort(),
  )
  const found: string[] = []
  for (const branch of (await neon(`/projects/${row.project_id}/branches`)).branches)
    for (const database of (await neon(`/projects/${row.project_id}/branches/${branch.id}/databases`)).databases)
      if (branch.name === `tenant-${id}` || database.name === row.database_name) found.push(`${branch.id} ${database.name}`)
  expect(found).toHaveLength(1)
  if (row.isolation === 'branch') expect(found).toEqual([`${row.branch_id} ${row.database_name}`])
  const login = await ask('/api/v1/auth/login', ADMIN, { 'X-Tenant': name, Authorization: '' })
  expect(login.status, JSON.stringify(login.body)).toBe(200)
}

beforeAll(async () => {
  folder = await temporaryFolder('freehold-killed')
  port = await freePort()
  stack = await startStack(options())
  await wake()
  token = ''
  token = (await ask('/platform/v1/auth/login', { email: OPERATOR.email, password: OPERATOR.password })).body.access_token
}, 120_000)
afterEach(() => switchOn())
afterAll(async () => {
  await worker?.stop()
  await stack?.stop()
  await folder?.remove()
}, 60_000)

describe('the Worker is killed', () => {
  it.each<[Isolation, string]>([
    ['database', 'place'],
    ['database', 'operations'],
    ['database', 'migrate'],
    ['branch', 'database'],
    ['branch', 'logins'],
    ['branch', 'publish'],
  ])(
    'while a tenant of isolation %s is at %s: it is made once after the start',
    async (isolation, step) => {
      const name = `killed-${isolation}-${step}`
      const id = await create(name, isolation)
      await reaches(id, step)
      await killWorker()
      expect(await statusOf(id)).not.toBe('failed')
      await wake()
      await minutesLater()
      await settled(id)
      await expectOnce(id, name)
    },
    120_000,
  )
})

describe('Postgres is killed, and with it the master', () => {
  it.each<[Isolation, string]>([
    ['database', 'operations'],
    ['branch', 'logins'],
  ])(
    'while a tenant of isolation %s is at %s: it is made once after the recovery',
    async (isolation, step) => {
      const name = `crashed-${isolation}-${step}`
      const id = await create(name, isolation)
      await reaches(id, step)
      // A server process that is killed takes all others with it: Postgres ends every connection and recovers from its log.
      const [backend] = await master(`select pid from pg_stat_activity where backend_type = 'checkpointer'`)
      process.kill(Number(backend.pid), 'SIGKILL')
      await until('Postgres', 30_000, async () => (await master('select 1')).length === 1)
      await settled(id, 30_000).catch(() => undefined)
      if ((await statusOf(id)) === 'provisioning') {
        await minutesLater()
        await settled(id)
      }
      if ((await statusOf(id)) === 'failed') {
        expect((await ask(`/platform/v1/tenants/${id}/retry`, {})).status).toBe(202)
        await settled(id)
      }
      await expectOnce(id, name)
    },
    120_000,
  )
})

describe('operations that take their time', () => {
  it.each<[Isolation, number]>([
    ['database', 20],
    ['branch', 6],
  ])(
    '%s: many at once in one project are all active, whoever meets 423',
    async (isolation, many) => {
      const names = Array.from({ length: many }, (_, i) => `slow-${isolation}-${i}`)
      const ids = await Promise.all(names.map((name) => create(name, isolation)))
      await Promise.all(ids.map((id) => settled(id, 150_000)))
      const ends = await master(
        `select t.status, s.name, s.error from platform.tenants t left join platform.provisioning_steps s on s.tenant_id = t.id and s.state = 'failed' where t.id = any ($1)`,
        [ids],
      )
      expect(ends.filter((end) => end.status !== 'active')).toEqual([])
      for (const [i, id] of ids.entries()) if (i % 5 === 0) await expectOnce(id, names[i] ?? '')
    },
    200_000,
  )
})

it('an operation that failed for good leaves a tenant that a retry finishes', async () => {
  // Nothing can be copied from a database that somebody is in.
  const url = new URL(stack.neon.postgresUrl)
  url.pathname = '/template1'
  const intruder = new Client({ connectionString: url.href })
  await intruder.connect()
  const id = await create('for-good', 'database')
  try {
    await settled(id, 90_000)
  } finally {
    await intruder.end()
  }
  const [step] = await master(`select name, error from platform.provisioning_steps where tenant_id = $1 and state = 'failed'`, [
    id,
  ])
  expect([await statusOf(id), step?.name]).toEqual(['failed', 'operations'])
  expect(step.error).toMatch(/failed/)
  expect((await ask(`/platform/v1/tenants/${id}/retry`, {})).status).toBe(202)
  await settled(id, 90_000)
  await expectOnce(id, 'for-good')
}, 240_000)
