/**
 * A run of migrations in which something is killed or away. Threat: a tenant is left half-migrated, migrated twice, or never; or the run
 * waits for a process that is no more. The databases really are of the schema of the release before, with the rows that they have.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { migrationsIn, type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { compared, HOMES, ROLES, TENANTS } from '../faults/both-sides.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { HOLD, SHAPE, setBack } from '../support/node/behind.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { openDoor } from '../support/node/route.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const NAMES = Array.from({ length: 6 }, (_, i) => `moved-${i}`)
/** Tenants at once: so many are in the middle of their migration, and the others wait for them. */
const CONCURRENCY = 3
const databaseOf = (subdomain: string) => `freehold_${subdomain.replaceAll('-', '_')}`

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let door: Awaited<ReturnType<typeof openDoor>>
let worker: { stop: () => Promise<void> } | undefined
let port: number
let token = ''
let names: string[]

/** The Worker reaches Neon through a door that can be shut. */
const wake = async () => {
  const throughDoor = (url = '') => Object.assign(new URL(url), { port: door.port }).href
  const { NEON_API_URL, NEON_SQL_URL } = stack.env
  const env = { ...stack.env, NEON_API_URL: throughDoor(NEON_API_URL), NEON_SQL_URL: throughDoor(NEON_SQL_URL) }
  worker = await startWorker({ dataDir: folder.path, port, env, log: () => {} })
}

/** Runs SQL as Postgres' superuser. */
async function inDatabase(name: string, text: string, values: unknown[] = []): Promise<any[]> {
  const client = new Client({
    connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${name}` }).href,
    statement_timeout: 30_000,
  })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
const master = (text: string, values?: unknown[]) => inDatabase('freehold_master', text, values)
const inside = (subdomain: string, text: string, values?: unknown[]) => inDatabase(databaseOf(subdomain), text, values)

async function ask(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: any }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

async function until(what: string, ms: number, check: () => Promise<boolean>) {
  for (const from = Date.now(); Date.now() < from + ms; await pause(50)) if (await check().catch(() => false)) return
  throw new Error(`Not in ${ms} ms: ${what}`)
}

/** Three minutes later: whoever held a lease is taken for dead, and the schedule comes round. */
async function minutesLater() {
  await master("update platform.tenant_migrations set lease_until = now() - interval '1 second' where state = 'running'")
  const answer = await fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  expect(answer.status, await answer.text()).toBe(200)
}

const letGo = (which = NAMES) => Promise.all(which.map((name) => inside(name, 'delete from public.held')))
const heldNow = async () =>
  (await master(`select pid, datname from pg_stat_activity where wait_event = 'PgSleep'`)) as { pid: number; datname: string }[]
const shapeOf = async (subdomain: string) => (await inside(subdomain, SHAPE))[0]?.shape as string

type Counts = Map<string, number>
type Begun = { id: string; held: string[]; shapes: Map<string, string>; times: Counts; attempts: Counts }

/** How often the audit of the master says that a tenant has the newest schema. */
const recorded = async () =>
  new Map(
    (
      await master(
        `select t.subdomain, count(d.log_id)::integer as n from platform.tenants t left join freehold.audit_log l on l.resource_id = t.id::text
         left join freehold.audit_detail d on d.log_id = l.id and d.after ->> 'schema_version' = $1 group by 1`,
        [names.at(-1)],
      )
    ).map(({ subdomain, n }) => [String(subdomain), Number(n)]),
  )

const ATTEMPTS = 'select t.subdomain, m.attempts from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id'
/** Sets all tenants back, and begins a run that stands still with some tenants done, some in the middle, and some that wait. */
async function begin(): Promise<Begun> {
  // What a test before left, if it failed.
  await master(`update platform.migration_runs set state = 'stopped' where state = 'running'`)
  for (const name of NAMES) await inside(name, 'drop event trigger if exists hold; drop table if exists public.held')
  for (const name of NAMES) await setBack(stack, name, inside)
  const shapes = new Map(await Promise.all(NAMES.map(async (name) => [name, await shapeOf(name)] as const)))
  for (const name of NAMES) await inside(name, `${HOLD}; insert into public.held default values`)
  const times = await recorded()
  const attempts = new Map((await master(ATTEMPTS)).map(({ subdomain, attempts }) => [String(subdomain), Number(attempts)]))
  const { status, body } = await ask('/platform/v1/migrations', { rest: 'now', concurrency: CONCURRENCY, stop_percent: 0 })
  expect(status, JSON.stringify(body)).toBe(202)
  const waves = await master(
    'select t.subdomain, m.wave from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id where m.run_id = $1',
    [body.id],
  )
  expect(waves).toHaveLength(NAMES.length)
  await letGo(waves.filter(({ wave }) => wave < 3).map(({ subdomain }) => subdomain))
  const late = waves.filter(({ wave }) => wave >= 3).map(({ subdomain }) => String(subdomain))
  const held = async () => {
    const databases = (await heldNow()).map(({ datname }) => datname)
    return late.filter((name) => databases.includes(databaseOf(name)))
  }
  await until('as many as may are in the middle', 120_000, async () => (await held()).length === CONCURRENCY)
  return { id: body.id, held: await held(), shapes, times, attempts }
}

/** What was under way is as it was before, to the last function. */
async function expectUntouched({ held, shapes }: Begun) {
  await until('nobody is in the middle', 20_000, async () => (await heldNow()).length === 0)
  for (const name of held) expect(await shapeOf(name), name).toBe(shapes.get(name))
}

/** The run ends, each tenant was migrated and recorded once, and its people log in. */
async function expectDone({ id, times, attempts: before }: Begun, ms: number) {
  const stateOf = async () => (await master('select state, reason from platform.migration_runs where id = $1', [id]))[0]
  await until('the run ends', ms, async () => (await stateOf()).state !== 'running').catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await master('select * from platform.tenant_migrations'))}`)
  })
  expect(await stateOf()).toEqual({ state: 'done', reason: null })
  const found = await master(
    `select t.subdomain, t.schema_version, m.state, m.step, m.error, m.attempts, m.ms >= 0 as has_ms
     from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id where m.run_id = $1`,
    [id],
  )
  const rows = found.map(({ attempts, ...row }) => ({ ...row, attempts: attempts - (before.get(row.subdomain) ?? 0) }))
  expect(rows).toHaveLength(NAMES.length)
  const after = await recorded()
  for (const { subdomain, attempts, ...row } of rows) {
    expect(row, subdomain).toEqual({ schema_version: names.at(-1), state: 'done', step: null, error: null, has_ms: true })
    expect(attempts, subdomain).toBeLessThanOrEqual(2)
    expect(after.get(subdomain), `${subdomain} is recorded once`).toBe((times.get(subdomain) ?? 0) + 1)
    const ledger = await inside(subdomain, 'select name from freehold.migrations order by name')
    expect(ledger.map(({ name }) => name)).toEqual(names)
    const login = await ask('/api/v1/auth/login', ADMIN, { 'X-Tenant': subdomain, Authorization: '' })
    expect(login.status, JSON.stringify(login.body)).toBe(200)
  }
  return rows
}

beforeAll(async () => {
  folder = await folderWithMaster('freehold-moved')
  port = await freePort()
  names = (await migrationsIn('tenant')).map(({ name }) => name)
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS, MIGRATIONS: 'manual' }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: true, operationMs: 0, log: () => {} })
  door = await openDoor(Number(new URL(stack.neon.sqlUrl).port))
  await wake()
  token = (await ask('/platform/v1/auth/login', { email: OPERATOR.email, password: OPERATOR.password })).body.access_token
  const made = NAMES.map((subdomain) =>
    ask(
      '/platform/v1/tenants',
      {
        ...{ subdomain, legal_name: `${subdomain} S.A.C.`, tax_id: rucFor(subdomain) },
        ...{ admin_email: ADMIN.email, admin_password: ADMIN.password },
      },
      { Prefer: 'wait=30' },
    ),
  )
  for (const { status, body } of await Promise.all(made)) expect(status, JSON.stringify(body)).toBe(201)
})
afterAll(async () => {
  await worker?.stop()
  await door?.shut()
  await stack?.stop()
  await folder?.remove()
})

describe('a run in the middle of several tenants', () => {
  it('goes on after the Worker was killed, by the scheduled job of the next', async () => {
    const begun = await begin()
    process.kill(-Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1]), 'SIGKILL')
    await worker?.stop()
    await expectUntouched(begun)
    await letGo()
    await wake()
    await minutesLater()
    const rows = await expectDone(begun, 60_000)
    const twice = rows.filter(({ attempts }) => attempts === 2).map(({ subdomain }) => subdomain)
    expect(twice.sort(), 'whoever was in the middle has a second attempt').toEqual(begun.held.sort())
  }, 300_000)

  it('goes on after a server process of Postgres was killed, which takes all others with it', async () => {
    const begun = await begin()
    const before = (await heldNow()).map(({ pid }) => Number(pid))
    process.kill(Number(before[0]), 'SIGKILL')
    // It takes a moment until it notices, and until then it answers.
    await until('Postgres', 60_000, async () => (await heldNow()).every(({ pid }) => !before.includes(Number(pid))))
    await Promise.all(
      begun.held.map(async (name) =>
        expect(await inside(name, 'select name from freehold.migrations')).toHaveLength(names.length - 1),
      ),
    )
    await letGo()
    await expectDone(begun, 120_000)
  }, 300_000)

  it('goes on after the master was away while tenants are recorded', async () => {
    const begun = await begin()
    const admit = (allowed: boolean) => inDatabase('postgres', `alter database freehold_master allow_connections ${allowed}`)
    await admit(false)
    await inDatabase('postgres', `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'freehold_master'`)
    await letGo()
    expect((await ask('/readyz')).status).toBe(503)
    await pause(3_000)
    await admit(true)
    await expectDone(begun, 120_000)
  }, 300_000)

  it('survives forty seconds in which nobody can connect, without a word of an operator', async () => {
    const begun = await begin()
    await door.shut()
    await expectUntouched(begun)
    await letGo()
    await pause(40_000)
    await door.open()
    const rows = await expectDone(begun, 120_000)
    expect(new Set(rows.map(({ attempts }) => attempts))).toEqual(new Set([1]))
  }, 300_000)

  it('and nothing is there twice or left over: Neon and the master hold the same, and no transaction is open', async () => {
    const [hosts, tenants, roles] = [await master(HOMES), await master(TENANTS), await master(ROLES)]
    const neon = async (path: string) =>
      (await fetch(`${stack.neon.apiUrl}${path}`, { headers: { Authorization: `Bearer ${stack.neon.apiKey}` } })).json()
    const sides = await compared(neon, { hosts, tenants, roles })
    expect(sides.neon).toEqual(sides.known)
    expect(await master(`select datname, query from pg_stat_activity where state like 'idle in transaction%'`)).toEqual([])
  })
})
