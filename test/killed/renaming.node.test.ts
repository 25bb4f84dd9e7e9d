/** Threat: what renames a tenant is killed in the middle of it, and the tenant is one thing to some and another to others, for ever. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
/** What a rename asks of databases, in order. */
const STEPS = ['the change', 'what is to be told', 'telling the database', 'the entry', 'what KV has']
/** For so long a request is on its way when the kill comes. */
const HELD_MS = 1_500

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let worker: { stop: () => Promise<void> } | undefined
let port: number
let token: string

const wake = async () => {
  worker = await startWorker({ dataDir: folder.path, port, env: stack.env, log: () => {} })
}

/** Kills the Worker as a machine that goes down would: wrangler and workerd at once, with no word. */
async function killWorker() {
  process.kill(-Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1]), 'SIGKILL')
  await worker?.stop()
  worker = undefined
}

async function inDatabase(name: string, text: string, values: unknown[] = []): Promise<any[]> {
  const client = new Client({ connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${name}` }).href })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
const master = (text: string, values?: unknown[]) => inDatabase('freehold_master', text, values)

type Asked = { method?: string; body?: unknown; at?: string; as?: string }
async function ask(path: string, { method, body, at, as = token }: Asked = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      'Content-Type': 'application/json',
      ...(as && { Authorization: `Bearer ${as}` }),
      ...(at && { 'X-Tenant': at }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as any }
}
const rename = (id: string, subdomain: string) => ask(`/platform/v1/tenants/${id}`, { method: 'PATCH', body: { subdomain } })
const me = async (at: string, as: string) => {
  const { status, body } = await ask('/api/v1/auth/me', { at, as })
  return [status, body.code ?? body.tenant]
}

async function until(what: string, ms: number, check: () => Promise<boolean>) {
  for (const from = Date.now(); Date.now() < from + ms; await pause(20)) if (await check().catch(() => false)) return
  throw new Error(`Not in ${ms} ms: ${what}`)
}

const faults = new URL('/faults', 'http://127.0.0.1')
const faultsUrl = () => Object.assign(faults, { host: new URL(stack.neon.apiUrl).host }).href
const pending = async () => (await (await fetch(faultsUrl())).json()) as unknown[]
const switchOn = (list: unknown[]) => fetch(faultsUrl(), { method: 'PUT', body: JSON.stringify(list) })

/** The job of every minute. */
async function schedule() {
  const answer = await fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  expect(answer.status, await answer.text()).toBe(200)
}

beforeAll(async () => {
  folder = await folderWithMaster('freehold-renamed')
  port = await freePort()
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: true, operationMs: 0, log: () => {} })
  await wake()
  const { email, password } = OPERATOR
  token = (await ask('/platform/v1/auth/login', { body: { email, password }, as: '' })).body.access_token
})
afterAll(async () => {
  await worker?.stop()
  await stack?.stop()
  await folder?.remove()
})

const KILLS: Record<string, () => Promise<void>> = {
  'the Worker': async () => {
    await killWorker()
    await wake()
  },
  Postgres: async () => {
    // A server process that is killed takes all others with it: Postgres ends every connection and recovers from its log.
    const [backend] = await master(`select pid from pg_stat_activity where backend_type = 'checkpointer'`)
    process.kill(Number(backend.pid), 'SIGKILL')
    // It takes a moment until it notices, and until then it answers.
    await until(
      'Postgres',
      60_000,
      async () => (await master(`select from pg_stat_activity where pid = ${backend.pid}`)).length === 0,
    )
  },
  'the master, which is away for two seconds,': async () => {
    const admit = (allowed: boolean) => inDatabase('postgres', `alter database freehold_master allow_connections ${allowed}`)
    await admit(false)
    await inDatabase('postgres', `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'freehold_master'`)
    await pause(2_000)
    await admit(true)
  },
}

describe.each(Object.keys(KILLS))('when %s is killed', (what) => {
  it.each(STEPS.map((step, place) => ({ step, place })))(
    'while $step is on its way, the tenant has one name in the end, everywhere',
    async ({ place }) => {
      const from = `killed-${Object.keys(KILLS).indexOf(what)}-${place}`
      const to = `${from}-new`
      const made = await fetch(`http://127.0.0.1:${port}/platform/v1/tenants`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}`, Prefer: 'wait=30' },
        body: JSON.stringify({ subdomain: from, legal_name: from, admin_email: ADMIN.email, admin_password: ADMIN.password }),
      })
      const { id } = (await made.json()) as { id: string }
      expect(made.status).toBe(201)
      const { access_token } = (await ask('/api/v1/auth/login', { body: ADMIN, at: from, as: '' })).body
      expect(await me(from, access_token)).toEqual([200, from])
      // The job must not be what is held.
      expect((await ask(`/platform/v1/tenants/${id}`)).status).toBe(200)
      const sql = { path: '^/sql$' }
      await switchOn([
        { match: sql, times: place, kind: 'delay', ms: 1 },
        { match: sql, times: 1, kind: 'delay', ms: HELD_MS },
      ])
      const answer = rename(id, to).catch(() => null)
      await until('the request to be on its way', 10_000, async () => (await pending()).length === 0)
      await KILLS[what]?.()
      await answer
      await pause(HELD_MS)
      const [{ subdomain }] = (await master('select subdomain from platform.tenants where id = $1', [id])) as [
        { subdomain: string },
      ]
      expect([from, to]).toContain(subdomain)
      if (place > 0) expect(subdomain).toBe(to)
      if (subdomain === from) {
        expect(await me(from, access_token)).toEqual([200, from])
        expect(await master('select name from platform.subdomains where tenant_id = $1', [id])).toEqual([{ name: from }])
        expect((await rename(id, to)).status).toBe(200)
      }
      await schedule()
      const [row] = await master(
        'select t.subdomain, t.v = t.published_v as published, t.database_name from platform.tenants t where id = $1',
        [id],
      )
      expect(row).toMatchObject({ subdomain: to, published: true })
      expect(await inDatabase(row.database_name, 'select subdomain from freehold.tenant')).toEqual([{ subdomain: to }])
      expect(await me(to, access_token)).toEqual([200, to])
      await until('the former name to say so', 15_000, async () => (await me(from, access_token))[0] === 410)
      expect(await me(from, access_token)).toEqual([410, 'tenant_renamed'])
    },
    90_000,
  )
})

it('KV holds every name: after a start the former ones are answered without the master', async () => {
  await killWorker()
  await wake()
  const names = await master('select name, until is null as is_current from platform.subdomains order by name')
  expect(names.length).toBeGreaterThanOrEqual(2 * STEPS.length * Object.keys(KILLS).length)
  for (const { name, is_current } of names) {
    const answer = await fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`, { headers: { 'X-Tenant': name } })
    expect([answer.status, answer.headers.get('Server-Timing')], name).toEqual([
      is_current ? 200 : 410,
      expect.stringContaining('master;desc="0"'),
    ])
  }
})
