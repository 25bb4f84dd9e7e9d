/** Threat: one database that is away takes others with it, hangs who asks, or tells what is inside. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { type Database, databaseOf, master, rowsOf } from '../support/databases.ts'
import { askNeon, on, switchOn } from '../support/faults.ts'
import { ADMIN, type Answer, call, login, makeTenant } from '../support/people.ts'

const AWAY = 'away-gone'
const HERE = 'away-here'
const INSIDE = /\n\s+at |NeonDbError|postgres|select |freehold_|127\.0\.0\.1|neon\.tech/i
let gone: Database
let tokens: Record<string, string>

beforeAll(async () => {
  await makeTenant(AWAY)
  await makeTenant(HERE)
  gone = await databaseOf(AWAY)
  tokens = { [AWAY]: (await login(AWAY)).access_token, [HERE]: (await login(HERE)).access_token }
})
afterEach(async () => {
  vi.useRealTimers()
  await switchOn()
})

const me = (name: string) => call(name, '/api/v1/auth/me', { token: tokens[name] })
const logIn = (name: string) => call(name, '/api/v1/auth/login', { body: ADMIN })

function expectAway(answer: Answer, what: string) {
  expect(answer.body, what).toMatchObject({ status: 503, code: 'database_unavailable' })
  expect(answer.status).toBe(503)
  expect(answer.headers.get('Retry-After'), what).toMatch(/^[1-9]\d*$/)
  expect(JSON.stringify(answer.body), what).not.toMatch(INSIDE)
}

/** Asks for the tenant that is away and for another, both at once and many times: one is refused in time, the other feels nothing. */
async function expectAlone(withinMs: number, times = 10) {
  const timed = async (ask: Promise<Answer>) => {
    const from = Date.now()
    return { answer: await ask, ms: Date.now() - from }
  }
  const others = async () => {
    const answers = []
    for (let i = 0; i < 10; i++) answers.push(...(await Promise.all(Array.from({ length: 5 }, () => timed(me(HERE))))))
    return answers
  }
  const [refused, served] = await Promise.all([
    Promise.all(Array.from({ length: times }, (_, i) => timed(i % 3 === 2 ? logIn(AWAY) : me(AWAY)))),
    others(),
  ])
  for (const { answer, ms } of refused) {
    expectAway(answer, 'the one that is away')
    expect(ms).toBeLessThan(withinMs)
  }
  expect(served.filter(({ answer }) => answer.status !== 200)).toEqual([])
  expect(served).toHaveLength(50)
  expect(Math.max(...served.map(({ ms }) => ms)), 'the slowest of the others').toBeLessThan(5_000)
  return served
}

/** The database under another name, as its host's API shows it. */
async function renamed(from: string, to: string) {
  const [host] = await master(
    sql`select h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${gone.id}`,
  )
  await askNeon(`/projects/${host?.project_id}/branches/${host?.branch_id}/databases/${from}`, {
    method: 'PATCH',
    body: JSON.stringify({ database: { name: to } }),
  })
}

describe('a tenant whose database is away is told so in time, and others feel nothing', () => {
  it('when the database is gone', async () => {
    await renamed(gone.name, 'moved_away')
    try {
      await expectAlone(3_000)
    } finally {
      await renamed('moved_away', gone.name)
    }
    expect((await me(AWAY)).status).toBe(200)
    expect((await logIn(AWAY)).status).toBe(200)
  })

  it('when nobody may connect to it', async () => {
    const user = new URL(gone.app_url).username
    const change = (verb: string) => rowsOf(gone.host_url, sql.raw(verb))
    await change(`revoke connect on database ${gone.name} from ${user}`)
    // Who is connected stays; a login that is switched off and on again is connected no more.
    for (const word of ['nologin', 'login']) await change(`alter role ${user} ${word}`)
    try {
      await expectAlone(3_000)
    } finally {
      await change(`grant connect on database ${gone.name} to ${user}`)
    }
    expect((await me(AWAY)).status).toBe(200)
  })

  it('when its login’s password is another', async () => {
    const { username, password } = new URL(gone.app_url)
    const change = (word: string) => rowsOf(gone.host_url, sql.raw(`alter role ${username} password '${word}'`))
    await change('another-password-than-before-1')
    try {
      await expectAlone(3_000)
    } finally {
      await change(password)
    }
    expect((await me(AWAY)).status).toBe(200)
  })

  it('when it answers nothing, after 15 s', async () => {
    // Not by the Worker's driver, which waits no longer than the Worker itself.
    const queries = [
      'set local role freehold_owner',
      'lock table freehold.users, freehold.sessions in access exclusive mode',
      'select pg_sleep(19)',
    ].map((query) => ({ query, params: [] }))
    const headers = { 'Neon-Connection-String': gone.owner_url }
    const held = fetch(inject('settings').NEON_SQL_URL ?? '', { method: 'POST', headers, body: JSON.stringify({ queries }) })
    await scheduler.wait(300)
    await expectAlone(18_000, 3)
    expect((await held).status).toBe(200)
    expect((await me(AWAY)).status).toBe(200)
  })
})

describe('when the way to all databases is broken', () => {
  const broken: [string, Omit<Fault, 'match' | 'times'>][] = [
    [
      '500 of the control plane',
      {
        kind: 'status',
        status: 500,
        body: '{"message":"Control plane request failed"}',
        headers: { 'content-type': 'application/json' },
      },
    ],
    ['500 in no JSON', { kind: 'status', status: 500, body: 'upstream says\n    at handler (/srv/proxy.js:1:1)' }],
    [
      '429',
      {
        kind: 'status',
        status: 429,
        body: '{"message":"too many requests"}',
        headers: { 'content-type': 'application/json', 'Retry-After': '7' },
      },
    ],
    [
      '524 in HTML',
      {
        kind: 'status',
        status: 524,
        body: '<html><body>A timeout occurred</body></html>',
        headers: { 'content-type': 'text/html' },
      },
    ],
    [
      '200 in HTML',
      { kind: 'status', status: 200, body: '<html><body>Welcome</body></html>', headers: { 'content-type': 'text/html' } },
    ],
    [
      '200 that means nothing',
      { kind: 'status', status: 200, body: '{"hello":"world"}', headers: { 'content-type': 'application/json' } },
    ],
    ['a lost answer', { kind: 'drop_before' }],
  ]
  it.each(broken)('(%s) a person of a tenant is told so', async (_, fault) => {
    await switchOn({ match: on('POST ^/sql$'), times: 100, ...fault })
    for (const answer of [await me(HERE), await logIn(HERE)]) expectAway(answer, 'the tenant')
    await switchOn()
    expect((await me(HERE)).status).toBe(200)
  })

  it.each(broken)('(%s) an operator is told so, and readiness fails while liveness does not', async (_, fault) => {
    await switchOn({ match: on('POST ^/sql$'), times: 100, ...fault })
    expectAway(await call('', '/platform/v1/auth/login', { body: ADMIN }), 'the platform')
    expectAway(await call('', '/readyz'), 'readiness')
    expect((await call('', '/healthz')).status).toBe(200)
    expect((await call(HERE, '/.well-known/jwks.json')).status).toBe(200)
  })
})

describe('when the master is away', () => {
  const NAME = 'freehold_master'
  async function rename(from: string, to: string) {
    const { projects } = await askNeon('/projects?search=freehold-master')
    const { branches } = await askNeon(`/projects/${projects[0].id}/branches`)
    await askNeon(`/projects/${projects[0].id}/branches/${branches[0].id}/databases/${from}`, {
      method: 'PATCH',
      body: JSON.stringify({ database: { name: to } }),
    })
  }
  beforeAll(async () => {
    await me(HERE)
    await rename(NAME, 'master_away')
  })
  afterAll(() => rename('master_away', NAME))

  it('tenants go on from memory', async () => {
    for (let i = 0; i < 20; i++) expect((await me(HERE)).status).toBe(200)
    expect((await logIn(HERE)).status).toBe(200)
  })

  it('tenants go on from KV, when memory is out of date', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    const answer = await logIn(HERE)
    expect(answer.status).toBe(200)
    expect(answer.master).toBe(0)
    expect((await call(HERE, '/.well-known/jwks.json')).status).toBe(200)
  })

  it('a name that KV does not have, the platform and readiness are 503, in time', async () => {
    const from = Date.now()
    expectAway(await call('away-nobody', '/.well-known/jwks.json'), 'a name')
    expectAway(await call('', '/platform/v1/auth/login', { body: ADMIN }), 'the platform')
    expectAway(await call('', '/readyz'), 'readiness')
    expect(Date.now() - from).toBeLessThan(5_000)
  })

  it('a tenant that memory has and KV has not is served from what is remembered', async () => {
    const kept = (await env.TENANTS.get(kvKey(HERE))) ?? ''
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 40_000 })
    expect((await me(HERE)).status).toBe(200)
    await env.TENANTS.delete(kvKey(HERE))
    expect((await me(HERE)).status).toBe(200)
    await env.TENANTS.put(kvKey(HERE), kept)
  })
})

it('an empty KV costs the master one request, and works', async () => {
  await env.TENANTS.delete(kvKey(HERE))
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 90_000 })
  const slow = await logIn(HERE)
  expect([slow.status, slow.master]).toEqual([200, 1])
  const quick = await logIn(HERE)
  expect([quick.status, quick.master]).toEqual([200, 0])
})
