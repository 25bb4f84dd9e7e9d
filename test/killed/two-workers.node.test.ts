/** Threat: what was ended, switched off or taken away through one Worker goes on through another, which has a KV and a memory of its own. */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const WRONG = 100

type Site = { name: string; dataDir: string; port: number; stop: () => Promise<void> }
type Answer = { status: number; body: any; master: number }
type Ask = { at?: string; token?: string; body?: unknown; method?: string; headers?: Record<string, string> }
type Session = { access_token: string; refresh_token: string }

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let one: Site
let two: Site
let operator: string

/** Starts a Worker; one that was here before finds its KV again, and nothing in its memory. */
async function wake(name: string, port: number): Promise<Site> {
  const dataDir = join(folder.path, name)
  await mkdir(dataDir, { recursive: true })
  const { stop } = await startWorker({ dataDir, port, env: stack.env, log: () => {} })
  return { name, dataDir, port, stop }
}

/** Kills a Worker as a machine that goes down would: wrangler and workerd at once, with no word. */
async function kill({ dataDir, stop }: Site) {
  process.kill(-Number((await readFile(join(dataDir, 'worker.pid'), 'utf8')).split(' ')[1]), 'SIGKILL')
  await stop()
}

/** A request of one of the Workers; `at` names the tenant. */
async function ask(site: Site, path: string, { at, token, body, method, headers }: Ask = {}): Promise<Answer> {
  const answer = await fetch(`http://127.0.0.1:${site.port}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...(at && { 'X-Tenant': at }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const master = Number(/master;desc="(\d+)"/.exec(answer.headers.get('Server-Timing') ?? '')?.[1])
  return { status: answer.status, body: text ? JSON.parse(text) : null, master }
}

const said = ({ status, body }: Answer) => [status, body?.code]
const ok = [200, undefined]
const me = (site: Site, at: string, { access_token: token }: Session) => ask(site, '/api/v1/auth/me', { at, token })
const knock = (site: Site, at: string, password = ADMIN.password) =>
  ask(site, '/api/v1/auth/login', { at, body: { email: ADMIN.email, password } })
const refresh = (site: Site, at: string, { refresh_token }: Session) =>
  ask(site, '/api/v1/auth/refresh-token', { at, body: { refresh_token } })
const logout = (site: Site, at: string, { access_token: token }: Session) =>
  ask(site, '/api/v1/auth/logout', { at, token, method: 'POST' })
const turn = (site: Site, verb: string, id: string) =>
  ask(site, `/platform/v1/tenants/${id}/${verb}`, { token: operator, method: 'POST' })

async function login(site: Site, at: string): Promise<Session> {
  const answer = await knock(site, at)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}

const create = (site: Site, subdomain: string, headers: Record<string, string> = { Prefer: 'wait=30' }) =>
  ask(site, '/platform/v1/tenants', {
    token: operator,
    headers,
    body: {
      subdomain,
      legal_name: `${subdomain} S.A.C.`,
      tax_id: rucFor(subdomain),
      admin_email: ADMIN.email,
      admin_password: ADMIN.password,
    },
  })

/** A tenant made through one Worker, with a session that both have served. */
async function settled(subdomain: string): Promise<{ id: string; session: Session }> {
  const made = await create(one, subdomain)
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const session = await login(one, subdomain)
  for (const site of [one, two]) expect(said(await me(site, subdomain, session)), site.name).toEqual(ok)
  return { id: made.body.id, session }
}

/** Runs SQL as the owner of everything in a database: for what no route does yet. */
async function asOwner(database: string, text: string, values: unknown[] = []): Promise<any[]> {
  const client = new Client({
    connectionString: Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${database}` }).href,
  })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
const inside = (subdomain: string, text: string) => asOwner(`freehold_${subdomain.replaceAll('-', '_')}`, text)
const master = (text: string, values: unknown[] = []) => asOwner('freehold_master', text, values)

/** The job of every minute, at one Worker. */
async function schedule(site: Site) {
  const answer = await fetch(`http://127.0.0.1:${site.port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  expect(answer.status, await answer.text()).toBe(200)
}

async function until(what: string, ms: number, check: () => Promise<boolean>) {
  for (const from = Date.now(); Date.now() < from + ms; await pause(20)) if (await check()) return
  throw new Error(`Not in ${ms} ms: ${what}`)
}

beforeAll(async () => {
  folder = await folderWithMaster('freehold-two')
  const given = { ...LOW_COST, BASE_URL: 'http://localhost:8787', ...KEYS }
  stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: false, operationMs: 0, log: () => {} })
  const [first, second] = [await freePort(), await freePort()]
  ;[one, two] = await Promise.all([wake('one', first), wake('two', second)])
  const { email, password } = OPERATOR
  operator = (await ask(one, '/platform/v1/auth/login', { body: { email, password } })).body.access_token
})
afterAll(async () => {
  await Promise.all([one?.stop(), two?.stop()])
  await stack?.stop()
  await folder?.remove()
})

describe('what is done through one Worker is felt by the next request of the other', () => {
  it('a session that was ended', async () => {
    await settled('two-ended')
    for (const [here, there] of [[one, two] as const, [two, one] as const]) {
      const session = await login(here, 'two-ended')
      expect(said(await me(there, 'two-ended', session))).toEqual(ok)
      expect((await logout(here, 'two-ended', session)).status).toBe(204)
      expect(said(await me(there, 'two-ended', session)), there.name).toEqual([401, 'session_ended'])
      expect(said(await refresh(there, 'two-ended', session)), there.name).toEqual([401, 'refresh_invalid'])
    }
  })

  it('a password that was changed: the other sessions end, and the old password opens nothing', async () => {
    const { session } = await settled('two-changed')
    const other = await login(two, 'two-changed')
    const body = { current_password: ADMIN.password, new_password: 'Violet-Anchor-38' }
    const { access_token: token } = session
    expect((await ask(one, '/api/v1/auth/password-change', { at: 'two-changed', token, body })).status).toBe(204)
    expect(said(await me(two, 'two-changed', other))).toEqual([401, 'session_ended'])
    expect(said(await me(two, 'two-changed', session))).toEqual(ok)
    expect(said(await knock(two, 'two-changed'))).toEqual([401, 'invalid_credentials'])
    expect(said(await knock(two, 'two-changed', body.new_password))).toEqual(ok)
  })

  /** Somebody must hold the administrator's role: another does, so that bo can lose it. */
  const DEPUTY = `insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'deputy', 'deputy@acme.test', 'admin')`
  const OF_BO = `user_id = (select id from freehold.users where username = 'bo')`
  it.each([
    ['a user who was switched off', 'two-user', `update freehold.users set is_active = false where username = 'bo'`],
    ['the only role of a user, which was taken away', 'two-taken', `delete from freehold.user_roles where ${OF_BO}`],
    [
      'the only role of a user, which was switched off',
      'two-role',
      `update freehold.user_roles set role_id = (select id from freehold.roles where name = 'user') where ${OF_BO};
       update freehold.roles set is_active = false where name = 'user'`,
    ],
  ])('%s', async (_, name, change) => {
    const { session } = await settled(name)
    await inside(name, DEPUTY)
    for (const site of [one, two]) expect(said(await me(site, name, session)), site.name).toEqual(ok)
    await inside(name, change)
    // Whether that ends the session as well is not what is asked here.
    for (const site of [one, two])
      expect(['user_inactive', 'session_ended'], site.name).toContain((await me(site, name, session)).body.code)
  })

  it('a role that was exchanged for a lesser one', async () => {
    const { id } = await settled('two-lesser')
    const roles = 'update freehold.user_roles set role_id = (select id from freehold.roles where name = $1)'
    for (const site of [one, two]) expect(said(await turn(site, 'retry', id)), site.name).toEqual([409, 'illegal_state'])
    await master(roles, ['auditor'])
    for (const site of [one, two]) {
      expect(said(await turn(site, 'deactivate', id)), site.name).toEqual([403, 'forbidden'])
      expect(said(await ask(site, `/platform/v1/tenants/${id}`, { token: operator })), site.name).toEqual(ok)
    }
    await master(roles, ['owner'])
    for (const site of [one, two]) expect(said(await turn(site, 'retry', id)), site.name).toEqual([409, 'illegal_state'])
  })

  it('a permission taken from a role, an override, a role taken away, a person switched off, each by its route', async () => {
    const at = 'two-routes'
    const { session } = await settled(at)
    const bo = (path: string, body?: unknown, method?: string) =>
      ask(one, `/api/v1${path}`, {
        at,
        token: session.access_token,
        ...(body !== undefined && { body }),
        ...(method && { method }),
      })
    const permissions = [{ permission: 'unit:read', scope: 'all' }]
    const { id: role_id } = (await bo('/roles', { name: 'surveyor', permissions })).body
    const { id: spare_id } = (await bo('/roles', { name: 'spare', permissions: [] })).body
    const password = 'Violet-Anchor-38'
    const { id } = (await bo('/users', { email: 'cy@acme.test', role: 'surveyor', password })).body
    await bo(`/users/${id}/roles`, { role_id: spare_id })
    const enter = async (secret: string) =>
      (await ask(two, '/api/v1/auth/login', { at, body: { email: 'cy@acme.test', password: secret } })).body.access_token
    const body = { current_password: password, new_password: 'Amber-Lantern-47' }
    await ask(two, '/api/v1/auth/password-change', { at, token: await enter(password), body })
    const token = await enter(body.new_password)
    const units = async () => said(await ask(two, '/api/v1/units', { at, token }))

    expect(await units()).toEqual(ok)
    expect((await bo(`/roles/${role_id}/permissions/unit:read`, undefined, 'DELETE')).status).toBe(204)
    expect(await units()).toEqual([403, 'forbidden'])
    expect((await bo(`/users/${id}/overrides`, { permission: 'unit:read', effect: 'grant', scope: 'all' })).status).toBe(201)
    expect(await units()).toEqual(ok)
    expect((await bo(`/users/${id}/overrides`, { permission: 'unit:read', effect: 'deny' })).status).toBe(201)
    expect(await units()).toEqual([403, 'forbidden'])
    const { data } = (await bo(`/users/${id}/overrides`)).body
    for (const override of data) await bo(`/users/${id}/overrides/${override.id}`, undefined, 'DELETE')
    await bo(`/roles/${role_id}/permissions`, { permissions })
    expect(await units()).toEqual(ok)
    expect((await bo(`/users/${id}/roles/${role_id}`, undefined, 'DELETE')).status).toBe(204)
    expect(await units()).toEqual([403, 'forbidden'])
    expect((await bo(`/users/${id}/deactivate`, undefined, 'POST')).status).toBe(200)
    expect(await units()).toEqual([403, 'user_inactive'])
  })

  it('a tenant that was switched off, also when the other was started since and its KV still says that it is on', async () => {
    const { id, session } = await settled('two-off')
    // The second has a KV of its own: the daily comparison finds what is missing in it, and the next minute writes it.
    await schedule(two)
    await master("update platform.kv_pass set part = 'tenants', place = '', started_at = now(), lease_until = now()")
    for (let minute = 0; minute < 2; minute++) await schedule(two)
    expect((await turn(one, 'deactivate', id)).status).toBe(200)
    expect(said(await me(two, 'two-off', session))).toEqual([403, 'tenant_inactive'])
    await two.stop()
    two = await wake('two', two.port)
    const first = await me(two, 'two-off', session)
    // No trip to the master: what it went by is what its KV says.
    expect([...said(first), first.master]).toEqual([403, 'tenant_inactive', 0])
    for (const answer of [await knock(two, 'two-off'), await refresh(two, 'two-off', session)])
      expect(said(answer)).toEqual([403, 'tenant_inactive'])
    expect((await turn(two, 'activate', id)).status).toBe(200)
    await until('the first lets the tenant in', 2_500, async () => (await me(one, 'two-off', session)).status === 200)
    expect(said(await refresh(one, 'two-off', session))).toEqual(ok)
  })

  it('a tenant that was made', async () => {
    for (const [here, there, name] of [[one, two, 'two-made-a'] as const, [two, one, 'two-made-b'] as const]) {
      expect((await create(here, name)).status).toBe(201)
      const session = await login(there, name)
      expect(said(await me(there, name, session)), there.name).toEqual(ok)
      expect(said(await me(here, name, session)), here.name).toEqual(ok)
    }
  })
})

describe('on both at once', () => {
  it('one refresh token gets one successor, and nobody is logged out', async () => {
    let { session } = await settled('two-refresh')
    for (let i = 0; i < 15; i++) {
      const answers = await Promise.all([one, two, one, two].map((site) => refresh(site, 'two-refresh', session)))
      expect(answers.map(said)).toEqual([ok, ok, ok, ok])
      expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
      for (const { body } of answers) for (const site of [one, two]) expect(said(await me(site, 'two-refresh', body))).toEqual(ok)
      session = answers[i % 4]?.body
    }
    expect(
      await inside(
        'two-refresh',
        'select count(*)::integer as tokens, count(distinct session_id)::integer as sessions from freehold.refresh_tokens',
      ),
    ).toEqual([{ tokens: 16, sessions: 1 }])
  })

  it('a logout and a refresh: afterwards nothing of the session works, whichever came first', async () => {
    await settled('two-crossing')
    for (let i = 0; i < 12; i++) {
      const session = await login(one, 'two-crossing')
      const [here, there] = i % 2 ? [one, two] : [two, one]
      // Each is given a start of some milliseconds in turn, so that both orders are met.
      const [left, answer] = await Promise.all([
        pause(i % 4).then(() => logout(here, 'two-crossing', session)),
        pause(3 - (i % 4)).then(() => refresh(there, 'two-crossing', session)),
      ])
      expect(left.status).toBe(204)
      expect([200, 401]).toContain(answer.status)
      const all = answer.status === 200 ? [session, answer.body] : [session]
      for (const site of [one, two])
        for (const old of all) {
          expect(said(await me(site, 'two-crossing', old)), site.name).toEqual([401, 'session_ended'])
          expect((await refresh(site, 'two-crossing', old)).status, site.name).toBe(401)
        }
    }
  })

  it(`${WRONG} wrong passwords are five comparisons, and lock the person on both`, async () => {
    await settled('two-guessed')
    const answers = await Promise.all(
      Array.from({ length: WRONG }, (_, i) => knock(i % 2 ? one : two, 'two-guessed', `Wrong-password-${i}`)),
    )
    expect(answers.filter(({ status }) => status !== 401 && status !== 429)).toEqual([])
    const states = await inside(
      'two-guessed',
      `select state, count(*)::integer as n from freehold.login_attempts where state <> 'succeeded' group by state order by state`,
    )
    expect(states.find(({ state }) => state === 'failed')).toEqual({ state: 'failed', n: 5 })
    expect(states.map(({ state }) => state)).toEqual(['failed', 'refused'])
    for (const site of [one, two]) expect(said(await knock(site, 'two-guessed')), site.name).toEqual([401, 'invalid_credentials'])
  })

  it('creations of one subdomain: one is made, the others are refused', async () => {
    const answers = await Promise.all([one, two, one, two].map((site) => create(site, 'two-raced')))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409])
    for (const site of [one, two]) expect(said(await knock(site, 'two-raced')), site.name).toEqual(ok)
  })
})

describe('when one Worker is killed', () => {
  it('the other answers everybody, and makes what the first had begun', async () => {
    const { session } = await settled('two-killed')
    const begun = await create(one, 'two-begun', {})
    expect(begun.status).toBe(202)
    let over = false
    const load = async (site: Site) => {
      const answers: string[] = []
      while (!over)
        answers.push(
          await me(site, 'two-killed', session).then(
            ({ status }) => String(status),
            () => 'no answer',
          ),
        )
      return answers
    }
    const loads = [one, two].map((site) => Promise.all(Array.from({ length: 6 }, () => load(site))))
    await pause(1_000)
    await kill(one)
    await pause(3_000)
    over = true
    const [first = [], second = []] = (await Promise.all(loads)).map((answers) => answers.flat())
    expect(new Set(first)).toEqual(new Set(['200', 'no answer']))
    expect(new Set(second)).toEqual(new Set(['200']))
    expect(second.length).toBeGreaterThan(20)

    // Three minutes later whoever held a lease is taken for dead.
    await master("update platform.provisioning_runs set lease_until = now() - interval '1 second' where state = 'running'")
    await schedule(two)
    await until('the tenant is active', 30_000, async () => (await knock(two, 'two-begun')).status === 200)
    one = await wake('one', one.port)
    expect(said(await me(one, 'two-killed', session))).toEqual(ok)
    expect(said(await knock(one, 'two-begun'))).toEqual(ok)
  })
})
