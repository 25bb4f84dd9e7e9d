/**
 * Threat: the rename of a tenant stops half-way, and it is one thing to some and another to others, or nothing to anybody; a request of
 * before the rename reaches another's database; a request fails of which nobody said so.
 */
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { about, settle } from '../support/doctor.ts'
import { hold, pending, switchOn } from '../support/faults.ts'
import { type Isolate, openIsolate, type Told } from '../support/isolates.ts'
import { lateKv } from '../support/late-kv.ts'
import { type Answer, call, operatorToken } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  await switchOn()
})
afterAll(() => vi.useRealTimers())

const SQL: Fault['match'] = { path: '^/sql$' }
const change = (id: string, body: unknown) => call('', `/platform/v1/tenants/${id}`, { token, method: 'PATCH', body })
const rename = (id: string, subdomain: string) => change(id, { subdomain })
const me = (host: string, access_token: string) => call(host, '/api/v1/auth/me', { token: access_token })
const said = ({ status, body }: Pick<Answer, 'status' | 'body'>) => [status, body?.code ?? body?.tenant]
const nameOf = async (id: string) => (await master(sql`select subdomain from platform.tenants where id = ${id}`))[0]?.subdomain

/** A tenant with a token, whose operator is known here: a rename of it asks no more than it must. */
async function ready(name: string) {
  const { id } = await copyTenant(name)
  const access_token = await tokenOf(name)
  expect(said(await me(name, access_token))).toEqual([200, name])
  expect((await call('', `/platform/v1/tenants/${id}`, { token })).status).toBe(200)
  return { id, access_token }
}

/** Master, KV, the tenant's own database and two isolates, of which one knows nothing, all say the same; the doctor finds nothing. */
async function expectRenamed(id: string, from: string, to: string, access_token: string) {
  const [row] = await master(
    sql`select t.subdomain, t.v = t.published_v as published, t.v, (select jsonb_agg(s.name) from platform.subdomains s where s.tenant_id = t.id and s.until > now()) as former
        from platform.tenants t where t.id = ${id}`,
  )
  expect(row).toMatchObject({ subdomain: to, published: true, former: [from] })
  const { asOwner } = await databaseOf(to)
  expect(await asOwner(sql`select subdomain, is_active from freehold.tenant`)).toEqual([{ subdomain: to, is_active: true }])
  expect((await env.TENANTS.get<Entry>(kvKey(to), 'json'))?.v).toBe(Number(row?.v))
  expect(await env.TENANTS.get(kvKey(from), 'json')).toMatchObject({ former: from, subdomain: to })
  // What the job does is not known to this isolate for ten seconds.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
  expect(said(await me(to, access_token))).toEqual([200, to])
  expect(said(await me(from, access_token))).toEqual([410, 'tenant_renamed'])
  vi.useRealTimers()
  const elsewhere = await openIsolate(env.TENANTS)
  expect(said(await elsewhere(to, '/api/v1/auth/me', { token: access_token }))).toEqual([200, to])
  expect(said(await elsewhere(from, '/api/v1/auth/me', { token: access_token }))).toEqual([410, 'tenant_renamed'])
  await settle(to)
  for (const check of ['registry', 'kv', 'work'])
    for (const subject of [from, to, kvKey(from), kvKey(to)]) expect(await about(check, subject), check).toEqual([])
}

const STEPS = [
  'the change in the master',
  'reading what is to be told',
  'telling the database',
  'reading the entry',
  'noting what KV has',
]
const KINDS: [string, Omit<Fault, 'match' | 'times'>][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is done and answered to nobody', { kind: 'drop_after' }],
  [
    'is a 500',
    { kind: 'status', status: 500, body: '{"message":"internal error"}', headers: { 'Content-Type': 'application/json' } },
  ],
  [
    'is a page of a proxy',
    { kind: 'status', status: 524, body: '<html>A timeout</html>', headers: { 'Content-Type': 'text/html' } },
  ],
]

describe.each(STEPS.map((step, place) => ({ step, place })))('a rename of which $step', ({ place }) => {
  it.each(KINDS)(
    '%s ends in the new name: what was lost is done again, by who asked or by the scheduled job',
    async (what, kind) => {
      const from = `swerve-${place}-${KINDS.findIndex(([name]) => name === what)}`
      const to = `${from}-new`
      const { id, access_token } = await ready(from)
      await switchOn({ match: SQL, times: place, kind: 'delay', ms: 1 }, { match: SQL, times: 1, ...kind })
      const answer = await rename(id, to)
      expect(await pending(), 'the fault happened').toEqual([])
      await switchOn()
      const is_done = (await nameOf(id)) === to
      // The master decides. What its answer did not reach is told later.
      if (answer.status === 503) {
        expect(said(answer)).toEqual([503, 'database_unavailable'])
        expect(answer.headers.get('Retry-After')).toMatch(/^[1-9]\d*$/)
      } else expect([answer.status, answer.body.subdomain, is_done]).toEqual([200, to, true])
      expect(answer.status === 503).toBe(place === 0)
      expect(is_done).toBe(place > 0 || kind.kind === 'drop_after')
      // Whoever asks again changes nothing that is done; the job does what nobody asks again for.
      if (!is_done || place % 2 === 0) expect((await rename(id, to)).status).toBe(200)
      await reconcile(env, settings())
      await expectRenamed(id, from, to, access_token)
      const entries = await master(
        sql`select d.after ->> 'subdomain' as after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_id = ${id} and l.action = 'update' and d.after ? 'subdomain'`,
      )
      expect(entries, 'renamed once').toEqual([{ after: to }])
    },
  )
})

describe('a rename while', () => {
  it('the database of the tenant is away waits there, is told by the job, and no name leads nowhere', async () => {
    const { id, access_token } = await ready('swerve-away')
    const { owner_url, host_url } = await databaseOf('swerve-away')
    const owner = new URL(owner_url).username
    await rowsOf(host_url, sql.raw(`alter role ${owner} nologin`))
    try {
      expect((await rename(id, 'swerve-away-new')).body).toMatchObject({ subdomain: 'swerve-away-new', is_applied: false })
      expect(await nameOf(id)).toBe('swerve-away-new')
      await reconcile(env, settings())
      // Who knows it as it was goes on there; who asks the master is told the truth. Neither is another's.
      expect(said(await me('swerve-away-new', access_token))).toEqual([200, 'swerve-away-new'])
      expect([200, 410]).toContain((await me('swerve-away', access_token)).status)
    } finally {
      await rowsOf(host_url, sql.raw(`alter role ${owner} login`))
    }
    await reconcile(env, settings())
    await expectRenamed(id, 'swerve-away', 'swerve-away-new', access_token)
  })

  it.each([
    ['takes no write', 0],
    ['takes the new name and not the former one', 1],
  ])('KV %s is done: this Worker knows at once, and the job writes what is missing', async (_, taken) => {
    const from = `swerve-kv-${taken}`
    const { id, access_token } = await ready(from)
    const real = Object.getPrototypeOf(env.TENANTS) as KVNamespace
    const { put } = real
    let puts = 0
    vi.spyOn(real, 'put').mockImplementation(async function (this: KVNamespace, ...given: unknown[]) {
      if (puts++ >= taken) throw new Error('KV PUT failed: 429 Too Many Requests')
      return (put as (...all: unknown[]) => Promise<void>).apply(this, given)
    } as never)
    expect((await rename(id, `${from}-new`)).status).toBe(200)
    expect(puts).toBe(taken + 1)
    vi.restoreAllMocks()
    expect(said(await me(from, access_token))).toEqual([410, 'tenant_renamed'])
    expect(said(await me(`${from}-new`, access_token))).toEqual([200, `${from}-new`])
    expect(await env.TENANTS.get(kvKey(from), 'json')).toMatchObject({ status: 'active', subdomain: from })
    await reconcile(env, settings())
    await expectRenamed(id, from, `${from}-new`, access_token)
  })

  it('KV answers no read asks the master: both names say what they say', async () => {
    const { id, access_token } = await ready('swerve-blind')
    expect((await rename(id, 'swerve-blind-new')).status).toBe(200)
    const get = async () => {
      throw new Error('KV GET failed: 503 Service Unavailable')
    }
    const isolate = await openIsolate({ get } as unknown as KVNamespace)
    expect(said(await isolate('swerve-blind', '/api/v1/auth/me', { token: access_token }))).toEqual([410, 'tenant_renamed'])
    expect(said(await isolate('swerve-blind-new', '/api/v1/auth/me', { token: access_token }))).toEqual([200, 'swerve-blind-new'])
  })

  it('the master is away changes nothing; a former name is answered all the same, from KV', async () => {
    const { id, access_token } = await ready('swerve-master')
    expect((await rename(id, 'swerve-master-2')).status).toBe(200)
    await switchOn({ match: SQL, times: 1_000, kind: 'drop_before' })
    expect(said(await rename(id, 'swerve-master-3'))).toEqual([503, 'database_unavailable'])
    const isolate = await openIsolate(env.TENANTS)
    const api = await isolate('swerve-master', '/api/v1/auth/me', { token: access_token })
    expect([...said(api), api.master]).toEqual([410, 'tenant_renamed', 0])
    const page = await isolate('swerve-master', '/docs')
    expect([page.status, page.headers.get('Location'), page.master]).toEqual([
      308,
      'http://swerve-master-2.freehold.test/docs',
      0,
    ])
    await switchOn()
    expect(await nameOf(id)).toBe('swerve-master-2')
  })

  it('a page of a host is asked for and the master is away gives the page, also where nobody is known by that name', async () => {
    await switchOn({ match: SQL, times: 1_000, kind: 'drop_before' })
    const isolate = await openIsolate({ get: async () => null } as unknown as KVNamespace)
    expect((await isolate('swerve-nobody', '/problems/forbidden')).status).toBe(200)
  })
})

describe('a rename of a tenant that is being migrated', () => {
  it('waits for the migration or is told to its database afterwards, and the tenant has one name in the end', async () => {
    const { id } = await copyTenant('swerve-behind')
    const access_token = await tokenOf('swerve-behind')
    const { owner_url } = await databaseOf('swerve-behind')
    // As a migration does that changes this table.
    const held = hold(
      owner_url,
      'set local role freehold_owner',
      'lock table freehold.tenant in access exclusive mode',
      'select pg_sleep(3)',
    )
    await vi.waitUntil(
      async () =>
        (
          await master(
            sql`select from pg_locks where mode = 'AccessExclusiveLock' and granted and database = (select oid from pg_database where datname = ${new URL(owner_url).pathname.slice(1)})`,
          )
        ).length > 0,
      { timeout: 10_000 },
    )
    const answer = await rename(id, 'swerve-behind-new')
    expect([200, 503]).toContain(answer.status)
    await held.answer
    expect(await nameOf(id)).toBe('swerve-behind-new')
    await reconcile(env, settings())
    await expectRenamed(id, 'swerve-behind', 'swerve-behind-new', access_token)
  })
})

describe('elsewhere, where KV is a minute behind,', () => {
  let now: number
  const at = (seconds: number) => vi.setSystemTime(now + seconds * 1000)
  const ask = (isolate: Isolate, name: string, access_token: string): Promise<Told> =>
    isolate(name, '/api/v1/auth/me', { token: access_token })

  it('a former name is served as before until KV has caught up, and the new one at once; no token is refused at either', async () => {
    const { id, access_token } = await ready('swerve-late')
    now = Date.now() + 120_000
    vi.useFakeTimers({ toFake: ['Date'], now })
    const kv = lateKv()
    await kv.get(kvKey('swerve-late'))
    const warm = await openIsolate(kv)
    expect((await ask(warm, 'swerve-late', access_token)).status).toBe(200)
    // Of all isolates the last one is asked to rename.
    await openIsolate(env.TENANTS)
    expect((await rename(id, 'swerve-late-new')).status).toBe(200)
    const fresh = await tokenOf('swerve-late-new')
    const isolates = [warm, await openIsolate(kv)]
    for (const isolate of isolates) {
      expect(said(await ask(isolate, 'swerve-late', access_token))).toEqual([200, 'swerve-late'])
      for (const one of [access_token, fresh])
        expect(said(await ask(isolate, 'swerve-late-new', one))).toEqual([200, 'swerve-late-new'])
      // A token with the new name in it shows such a place that it is behind.
      expect(said(await ask(isolate, 'swerve-late', fresh))).toEqual([410, 'tenant_renamed'])
    }
    at(131)
    for (const isolate of [...isolates, await openIsolate(kv)]) {
      expect(said(await ask(isolate, 'swerve-late', access_token))).toEqual([410, 'tenant_renamed'])
      expect(said(await ask(isolate, 'swerve-late-new', access_token))).toEqual([200, 'swerve-late-new'])
    }
  })

  it('a tenant that has gone back is let in again at its old name, and is nowhere without a way in for longer than KV is behind', async () => {
    const { id, access_token } = await ready('swerve-back')
    now = Date.now() + 120_000
    vi.useFakeTimers({ toFake: ['Date'], now })
    expect((await rename(id, 'swerve-back-new')).status).toBe(200)
    at(131)
    const kv = lateKv()
    const isolate = await openIsolate(kv)
    expect(said(await ask(isolate, 'swerve-back', access_token))).toEqual([410, 'tenant_renamed'])
    await openIsolate(env.TENANTS)
    expect((await rename(id, 'swerve-back')).status).toBe(200)
    expect(said(await me('swerve-back', access_token)), 'at once where it was renamed').toEqual([200, 'swerve-back'])
    expect(said(await me('swerve-back-new', access_token))).toEqual([410, 'tenant_renamed'])
    at(131 + 131)
    for (const one of [isolate, await openIsolate(kv)]) {
      expect(said(await ask(one, 'swerve-back', access_token))).toEqual([200, 'swerve-back'])
      expect(said(await ask(one, 'swerve-back-new', access_token))).toEqual([410, 'tenant_renamed'])
    }
  })

  it('what somebody copied from one key of KV to another leads nowhere: neither a former name’s entry nor one that is over', async () => {
    const { id } = await ready('swerve-forged')
    expect((await rename(id, 'swerve-forged-new')).status).toBe(200)
    const { access_token } = await ready('swerve-victim')
    const former = String(await env.TENANTS.get(kvKey('swerve-forged')))
    const own = String(await env.TENANTS.get(kvKey('swerve-victim')))
    const over = JSON.stringify({ ...JSON.parse(former), until: '2020-01-01T00:00:00Z' })
    const bent = JSON.stringify({ ...JSON.parse(former), former: 'swerve-victim' })
    for (const planted of [former, over, bent]) {
      await env.TENANTS.put(kvKey('swerve-victim'), planted)
      expect(said(await ask(await openIsolate(env.TENANTS), 'swerve-victim', access_token))).toEqual([200, 'swerve-victim'])
    }
    await env.TENANTS.put(kvKey('swerve-victim'), own)
    // And the pass finds and mends it, as any entry.
    for (const [key, planted] of [
      [kvKey('swerve-forged'), null],
      [kvKey('swerve-forged'), own],
    ] as const) {
      if (planted === null) await env.TENANTS.delete(key)
      else await env.TENANTS.put(key, planted)
      await settle('swerve-forged-new')
      expect((await about('kv', 'swerve-forged-new')).map(({ code }) => code)).toEqual([
        planted === null ? 'kv_missing' : 'kv_other',
      ])
      await master(sql`update platform.tenants set published_v = -1 where id = ${id}`)
      await reconcile(env, settings())
      await settle('swerve-forged-new')
      expect(await about('kv', 'swerve-forged-new')).toEqual([])
      expect(JSON.parse(String(await env.TENANTS.get(key)))).toMatchObject({
        former: 'swerve-forged',
        subdomain: 'swerve-forged-new',
      })
    }
  })
})

describe('a tenant in use', () => {
  const CLIENTS = 12
  const RENAMES = 6

  it('is renamed six times: each request is answered by its own database or told where it is now, and no write is lost', {
    timeout: 120_000,
  }, async () => {
    const { id } = await copyTenant('swerve-busy')
    const { access_token } = await plantSession('swerve-busy')
    const neighbour = await ready('swerve-neighbour')
    let is_over = false
    const written: string[] = []
    const others = new Map<string, number>()
    const client = async (n: number) => {
      let host = 'swerve-busy'
      for (let i = 0; !is_over; i++) {
        const name = `unit ${n} ${i}`
        const body = JSON.stringify({ kind: 'department', name })
        const headers = { Authorization: `Bearer ${access_token}`, 'Content-Type': 'application/json' }
        const init = n % 3 ? { headers } : { method: 'POST', body, headers }
        const answer = await exports.default.fetch(
          new Request(`http://${host}.freehold.test/api/v1/${n % 3 ? 'auth/me' : 'units'}`, init),
        )
        const said = (await answer.json()) as any
        if (answer.status === 201) written.push(name)
        else if (answer.status === 410) host = new URL(said.url).hostname.split('.')[0] ?? ''
        else if (answer.status !== 200 || !String(said.tenant).startsWith('swerve-busy'))
          others.set(`${answer.status} ${said.code ?? said.tenant}`, (others.get(`${answer.status} ${said.code}`) ?? 0) + 1)
      }
    }
    const beside = async () => {
      const seen = new Set<string>()
      while (!is_over) seen.add(said(await me('swerve-neighbour', neighbour.access_token)).join(' '))
      return [...seen]
    }
    const clients = Array.from({ length: CLIENTS }, (_, n) => client(n))
    const seen = beside()
    for (let i = 1; i <= RENAMES; i++) {
      await scheduler.wait(400)
      expect((await rename(id, i % 3 ? `swerve-busy-${i}` : 'swerve-busy')).status).toBe(200)
    }
    await scheduler.wait(400)
    is_over = true
    await Promise.all(clients)
    expect(await seen).toEqual(['200 swerve-neighbour'])
    expect([...others]).toEqual([])
    expect(written.length).toBeGreaterThan(RENAMES)
    const { asOwner } = await databaseOf(String(await nameOf(id)))
    const there = (await asOwner(sql`select name from freehold.units`)).map(({ name }) => name)
    expect(there.sort()).toEqual([...written].sort())
    const other = await databaseOf('swerve-neighbour')
    expect(await other.asOwner(sql`select name from freehold.units`)).toEqual([])
  })
})
