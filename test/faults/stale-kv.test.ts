/** Threat: KV is a minute or two behind elsewhere, and what it still says lets in, shuts out, or leads into another tenant's database. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { encrypt } from '../../src/kernel/keyring.ts'
import { comparePass } from '../../src/tenants/lifecycle/kv-pass.ts'
import { propagate } from '../../src/tenants/lifecycle/lifecycle.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { type Entry, kvKey, type SignedEntry } from '../../src/tenants/registry/registry.ts'
import { signed } from '../../src/tenants/registry/signature.ts'
import { type Database, databaseOf, master, settings } from '../support/databases.ts'
import { forge, inside, publishKey } from '../support/inside.ts'
import { type Isolate, openIsolate, type Told } from '../support/isolates.ts'
import { compareNext } from '../support/kv-pass.ts'
import { lateKv } from '../support/late-kv.ts'
import { ADMIN, call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'

const NAME = 'late'
const OTHER = 'late-other'
const MALLORY = 'mallory@other.test'
const KEY = kvKey(NAME)
/** Seconds after a change: KV shows it a minute late, and what was read before that is given for another minute. */
const MOMENTS = [0, 29, 59, 61, 119, 121]
const off = [403, 'tenant_inactive']
const gone = [404, 'tenant_not_found']

let a: Database
let b: Database
let operator: string
let started: number
let now = Date.now()

/** Moves the clock of all isolates and of KV. */
const later = (seconds: number) => {
  now += seconds * 1000
  vi.setSystemTime(now)
}
const at = (seconds: number) => later((started - now) / 1000 + seconds)

beforeAll(async () => {
  operator = await operatorToken()
  await makeTenant(NAME, {}, operator)
  await makeTenant(OTHER, { admin_email: MALLORY }, operator)
  a = await databaseOf(NAME)
  b = await databaseOf(OTHER)
})
/** Each test begins when the last one's changes are known everywhere, and the memory of the file's own isolate is out of date. */
beforeEach(() => {
  now += 300_000
  started = now
  vi.useFakeTimers({ toFake: ['Date'], now })
})
afterEach(async () => {
  vi.restoreAllMocks()
  const [row] = await master(sql`select status from platform.tenants where id = ${a.id}`)
  if (row?.status === 'inactive') await turn('activate')
  vi.useRealTimers()
})

const turn = async (verb: 'activate' | 'deactivate') => {
  const token = await operatorToken()
  const answer = await call('', `/platform/v1/tenants/${a.id}/${verb}`, { method: 'POST', token })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}
const said = ({ status, body }: Told) => [status, body?.code]

type Session = { access_token: string; refresh_token: string }
const claimsOf = ({ access_token }: Session) =>
  JSON.parse(atob(access_token.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/') ?? ''))
const tenantOf = (session: Session): string => claimsOf(session).tid
const me = (isolate: Isolate, { access_token }: Session) => isolate(NAME, '/api/v1/auth/me', { token: access_token })
const logIn = (isolate: Isolate, email = ADMIN.email) =>
  isolate(NAME, '/api/v1/auth/login', { body: { email, password: ADMIN.password } })
const refresh = (isolate: Isolate, { refresh_token }: Session) =>
  isolate(NAME, '/api/v1/auth/refresh-token', { body: { refresh_token } })

/** Every door of a tenant; the last ends the session. */
const doors: [string, number, (isolate: Isolate, session: Session) => Promise<Told>][] = [
  ['me', 200, me],
  ['login', 200, (isolate) => logIn(isolate)],
  ['refresh', 200, refresh],
  [
    'password change',
    401,
    (isolate, { access_token: token }) =>
      isolate(NAME, '/api/v1/auth/password-change', {
        token,
        body: { current_password: 'Not-my-password-1', new_password: 'Violet-Anchor-38' },
      }),
  ],
  ['logout', 204, (isolate, { access_token: token }) => isolate(NAME, '/api/v1/auth/logout', { token, method: 'POST' })],
]

describe('a tenant that is switched off', () => {
  it('is refused on the very next request at every door, by an isolate that just served it and by one that never heard of it', async () => {
    const session = await login(NAME)
    const kv = lateKv()
    const warm = await openIsolate(kv)
    expect(said(await me(warm, session))).toEqual([200, undefined])
    await turn('deactivate')
    expect(await kv.get(KEY, 'json')).toMatchObject({ status: 'active' })
    for (const [door, , knock] of doors) {
      const answers = [await knock(warm, session), await knock(await openIsolate(kv), session)]
      for (const answer of answers) expect([...said(answer), answer.master], door).toEqual([...off, 0])
    }
  })

  it('is refused at every moment until KV has caught up, and after', async () => {
    const session = await login(NAME)
    const kv = lateKv()
    const warm = await openIsolate(kv)
    await me(warm, session)
    await turn('deactivate')
    const seen = []
    for (const moment of MOMENTS) {
      at(moment)
      const isolates = [warm, await openIsolate(kv), await openIsolate(lateKv())]
      for (const isolate of isolates) expect(said(await me(isolate, session)), `${moment} s`).toEqual(off)
      seen.push((await kv.get<Entry>(KEY, 'json'))?.status)
    }
    expect([seen[0], seen.at(-1)]).toEqual(['active', 'inactive'])
  })

  it('is let in at once when it is switched on again, and within two seconds by an isolate that knew it to be off', async () => {
    const session = await login(NAME)
    const kv = lateKv()
    const knowing = await openIsolate(kv)
    await turn('deactivate')
    later(130)
    expect(said(await me(knowing, session))).toEqual(off)
    expect(await kv.get(KEY, 'json')).toMatchObject({ status: 'inactive' })
    await turn('activate')
    started = now
    for (const moment of [0, 2, 30, 61, 121]) {
      at(moment)
      expect(said(await me(await openIsolate(kv), session)), `${moment} s`).toEqual([200, undefined])
      if (moment > 0) expect(said(await me(knowing, session)), `${moment} s, knowing`).toEqual([200, undefined])
    }
  })
})

describe('a new tenant', () => {
  it('is never “not found” once its creation was answered, but for two seconds where it was asked for before', async () => {
    vi.useRealTimers()
    const name = 'late-new'
    const knock = (isolate: Isolate) => isolate(name, '/.well-known/jwks.json')
    const kv = lateKv()
    const asked = await openIsolate(kv)
    expect(said(await knock(asked))).toEqual([404, 'tenant_not_found'])
    await makeTenant(name, {}, await operatorToken())
    expect(await kv.get(kvKey(name))).toBeNull()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2_000 })
    const after = [await knock(asked), await knock(await openIsolate(kv))]
    expect(after.map(said)).toEqual([
      [200, undefined],
      [200, undefined],
    ])
  })

  it('is found at every moment until KV has caught up, and after', async () => {
    const name = 'late-found'
    const knock = (isolate: Isolate) => isolate(name, '/.well-known/jwks.json')
    const kv = lateKv()
    expect(said(await knock(await openIsolate(kv)))).toEqual([404, 'tenant_not_found'])
    vi.useRealTimers()
    await makeTenant(name, {}, await operatorToken())
    vi.useFakeTimers({ toFake: ['Date'], now: Math.max(now, Date.now()) })
    const trips = []
    for (const moment of MOMENTS) {
      at(moment)
      const answer = await knock(await openIsolate(kv))
      expect(said(answer), `${moment} s`).toEqual([200, undefined])
      trips.push(answer.master)
    }
    expect([trips[0], trips.at(-1)]).toEqual([1, 0])
  })

  it('is “being made” from its reservation on, and from then on never “not found” again', async () => {
    vi.useRealTimers()
    const name = 'late-making'
    const kv = lateKv()
    const token = await operatorToken()
    const told: string[] = []
    let made = false
    const watch = async () => {
      for (; !made; await scheduler.wait(100))
        told.push(String((await (await openIsolate(kv))(name, '/.well-known/jwks.json')).body.code))
    }
    const making = async () => {
      const reserved = await call('', '/platform/v1/tenants', { token, body: wanted(name) })
      expect(reserved.status).toBe(202)
      told.push('pending')
      await vi.waitUntil(async () => (await call('', `/platform/v1/tenants/${reserved.body.id}`, { token })).body.is_active, {
        timeout: 15_000,
        interval: 50,
      })
      made = true
    }
    await Promise.all([watch(), making()])
    const after = told.slice(told.indexOf('pending') + 1)
    // One that asked before the reservation may be answered after it.
    expect(after.slice(1)).toContain('tenant_provisioning')
    expect(after.slice(1)).not.toContain('tenant_not_found')
  })
})

describe('an entry that points at a database which is another tenant’s by now', () => {
  /** KV as it is late: the wrong entry was there for half a minute, a minute ago. */
  async function wronglyLate(): Promise<KVNamespace> {
    const kept = (await env.TENANTS.get(KEY)) ?? ''
    const { signature: _, ...entry } = JSON.parse(kept) as SignedEntry
    const database = await encrypt(settings().ENCRYPTION_KEYS, a.id, 'app_url', b.app_url)
    await env.TENANTS.put(KEY, await signed(settings(), { ...entry, v: entry.v - 1, database }))
    later(30)
    await env.TENANTS.put(KEY, kept)
    later(45)
    const kv = lateKv()
    expect((await kv.get<Entry>(KEY, 'json'))?.database).toBe(database)
    return kv
  }
  /** What visitors would leave in the other tenant's database. */
  const traces = () =>
    b.asOwner(
      sql`select (select count(*)::integer from freehold.login_attempts) as attempts, (select count(*)::integer from freehold.sessions) as sessions,
        (select count(*)::integer from freehold.refresh_tokens) as tokens, (select count(*)::integer from freehold.audit_log) as audited`,
    )
  it.each(doors)('leads through no door into it: %s ends in the right one', async (_, status, knock) => {
    const session = await login(NAME)
    const before = await traces()
    const isolate = await openIsolate(await wronglyLate())
    const answer = await knock(isolate, session)
    expect(answer.status).toBe(status)
    expect(answer.master, 'round trips to the master').toBe(1)
    if (answer.body?.access_token) expect(tenantOf(answer.body)).toBe(a.id)
    if (answer.body?.email) expect(answer.body).toMatchObject({ email: ADMIN.email, tenant: NAME })
    expect(await traces()).toEqual(before)
  })

  it('lets nobody of the other tenant in: neither their password nor their refresh token', async () => {
    const theirs = await login(OTHER, { body: { email: MALLORY, password: ADMIN.password } })
    const before = await traces()
    const kv = await wronglyLate()
    expect(said(await logIn(await openIsolate(kv), MALLORY))).toEqual([401, 'invalid_credentials'])
    expect(said(await refresh(await openIsolate(kv), theirs))).toEqual([401, 'refresh_invalid'])
    expect(said(await me(await openIsolate(kv), theirs))).toEqual([401, 'token_wrong_tenant'])
    expect(await traces()).toEqual(before)
  })

  it('and that the master says too is a database that is away: 503 at every door', async () => {
    const session = await login(NAME)
    const wrong = await encrypt(settings().ENCRYPTION_KEYS, a.id, 'app_url', b.app_url)
    const [row] = await master(sql`select app_url_encrypted as right from platform.tenants where id = ${a.id}`)
    const kv = await wronglyLate()
    const before = await traces()
    await master(sql`update platform.tenants set app_url_encrypted = ${wrong} where id = ${a.id}`)
    try {
      for (const [door, , knock] of doors) {
        const answer = await knock(await openIsolate(kv), session)
        expect(said(answer), door).toEqual([503, 'database_unavailable'])
        expect(answer.headers.get('Retry-After'), door).toMatch(/^[1-9]\d*$/)
      }
      expect(said(await logIn(await openIsolate(kv), MALLORY))).toEqual([503, 'database_unavailable'])
    } finally {
      await master(sql`update platform.tenants set app_url_encrypted = ${row?.right} where id = ${a.id}`)
      await propagate({ env, config: settings(), meter: { master: 0 }, trace_id: crypto.randomUUID() }, a.id)
    }
    expect(await traces()).toEqual(before)
  })
})

describe('a signing key that was added', () => {
  const kids = (answer: Told) => answer.body.keys.map(({ kid }: { kid: string }) => kid)
  const keysOf = (isolate: Isolate) => isolate(NAME, '/.well-known/jwks.json').then(kids)
  const subjectOf = (session: Session) => {
    const { sub, sid } = claimsOf(session)
    return { sub, sid }
  }
  const add = async () => {
    const added = await publishKey(NAME, '1 day')
    await propagate({ env, config: settings(), meter: { master: 0 }, trace_id: crypto.randomUUID() }, a.id)
    return added
  }

  it('verifies where KV does not have it yet, for one request to the master; the one before it goes on', async () => {
    const session = await login(NAME)
    const kv = lateKv()
    const warm = await openIsolate(kv)
    expect((await me(warm, session)).status).toBe(200)
    const { kid, privateKey } = await add()
    const token = await forge(await inside(NAME), subjectOf(session), { header: { kid }, key: privateKey })
    for (const isolate of [warm, await openIsolate(kv)]) {
      const renewed = { ...session, access_token: token }
      const told = [await me(isolate, renewed), await me(isolate, renewed), await me(isolate, session)]
      expect(told.map(({ status, master }) => [status, master])).toEqual([
        [200, 1],
        [200, 0],
        [200, 0],
      ])
    }
  })

  it('is shown everywhere within 131 s: before it is used, which is after 180', async () => {
    const kv = lateKv()
    const warm = await openIsolate(kv)
    await keysOf(warm)
    const { kid } = await add()
    at(59)
    expect(await keysOf(await openIsolate(kv))).not.toContain(kid)
    expect(await keysOf(warm)).not.toContain(kid)
    at(131)
    expect(await keysOf(await openIsolate(kv))).toContain(kid)
    expect(await keysOf(warm)).toContain(kid)
  })

  it('is not forgotten again by an isolate that has learnt of it, when KV still shows what was before', async () => {
    const session = await login(NAME)
    const kv = lateKv()
    const isolate = await openIsolate(kv)
    const { kid, privateKey } = await add()
    const token = await forge(await inside(NAME), subjectOf(session), { header: { kid }, key: privateKey })
    expect((await me(isolate, { ...session, access_token: token })).status).toBe(200)
    later(11)
    expect(await keysOf(await openIsolate(kv))).not.toContain(kid)
    const answer = await isolate(NAME, '/.well-known/jwks.json')
    expect([kids(answer).includes(kid), answer.master]).toEqual([true, 1])
  })
})

describe('what is left in KV of something older', () => {
  it('that says the tenant is off does not shut it out', async () => {
    const session = await login(NAME)
    const kept = (await env.TENANTS.get(KEY)) ?? ''
    const { signature: _, ...entry } = JSON.parse(kept) as SignedEntry
    await env.TENANTS.put(KEY, await signed(settings(), { ...entry, v: entry.v - 1, status: 'inactive' }))
    later(130)
    const kv = lateKv()
    expect(await kv.get(KEY, 'json')).toMatchObject({ status: 'inactive' })
    const answer = await me(await openIsolate(kv), session)
    expect([answer.status, answer.master]).toEqual([200, 1])
    await env.TENANTS.put(KEY, kept)
  })

  it('is not written back over what is newer by the scheduled job, though the job reads it', async () => {
    await turn('deactivate')
    const kv = lateKv()
    expect(await kv.get(KEY, 'json')).toMatchObject({ status: 'active' })
    await compareNext(NAME)
    expect(await comparePass({ ...env, TENANTS: kv }, settings())).toBeGreaterThan(0)
    await reconcile({ ...env, TENANTS: kv }, settings())
    expect(await env.TENANTS.get(KEY, 'json')).toMatchObject({ status: 'inactive' })
    expect(await a.asOwner(sql`select is_active from freehold.tenant`)).toEqual([{ is_active: false }])
  })
})

describe('a tenant that was deleted, where KV still says that it is on,', () => {
  const elsewhere = async (kv: KVNamespace, name: string): Promise<Isolate> => {
    const isolate = await openIsolate(kv)
    return (_, path, ask) => isolate(name, path, ask)
  }
  const remove = async (id: string, query = '') => {
    const answer = await call('', `/platform/v1/tenants/${id}${query}`, { token: await operatorToken(), method: 'DELETE' })
    expect(answer.status, JSON.stringify(answer.body)).toBe(query ? 202 : 204)
  }
  /** A tenant, a session of it, and KV as it will be for two minutes more: it has read the entry just now. */
  async function published(name: string) {
    const { id } = await makeTenant(name, {}, await operatorToken())
    const session = await login(name)
    later(61)
    const kv = lateKv()
    expect(await kv.get(kvKey(name), 'json')).toMatchObject({ status: 'active', tenant_id: id })
    started = now
    return { id, session, kv }
  }

  it('is refused at every door, and let in again when it is restored', async () => {
    const { id, session, kv } = await published('late-deleted')
    await remove(id)
    for (const [door, , knock] of doors)
      expect(said(await knock(await elsewhere(kv, 'late-deleted'), session)), door).toEqual(off)
    const restored = await call('', `/platform/v1/tenants/${id}/restore`, { token: await operatorToken(), method: 'POST' })
    expect(restored.status).toBe(200)
    for (const moment of MOMENTS) {
      at(moment)
      expect(said(await me(await elsewhere(kv, 'late-deleted'), session)), `${moment} s`).toEqual([200, undefined])
    }
  })

  it('and erased, is refused at every door; who gets its name is never let into what was its, and is let into their own when KV has caught up', async () => {
    const name = 'late-again'
    const { id, session, kv } = await published(name)
    await remove(id, `?hard=true&confirm=${name}`)
    await vi.waitUntil(async () => (await master(sql`select from platform.tenants where id = ${id}`)).length === 0, 9_000)
    for (const [door, , knock] of doors) expect(said(await knock(await elsewhere(kv, name), session)), door).toEqual(gone)
    const next = await makeTenant(name, {}, await operatorToken())
    expect(await kv.get(kvKey(name), 'json')).toMatchObject({ tenant_id: id })
    for (const moment of MOMENTS) {
      at(moment)
      expect([401, 503], `${moment} s`).toContain((await me(await elsewhere(kv, name), session)).status)
      const entered = await logIn(await elsewhere(kv, name))
      if (moment < 61) expect(said(entered), `${moment} s`).not.toEqual([404, 'tenant_not_found'])
      else expect(said(entered), `${moment} s`).toEqual([200, undefined])
      if (entered.status === 200) expect(tenantOf(entered.body)).toBe(next.id)
    }
  })
})

describe('without KV', () => {
  const broken = async () => {
    throw new Error('KV GET failed: 503 Service Unavailable')
  }
  it.each<[string, () => Promise<unknown>]>([
    ['that has nothing', async () => null],
    ['that throws', broken],
  ])('(a KV %s) all works, for one request to the master in ten seconds', async (_, get) => {
    const session = await login(NAME)
    const isolate = await openIsolate({ get } as unknown as KVNamespace)
    const told = []
    for (const seconds of [0, 9, 2]) {
      later(seconds)
      told.push(await me(isolate, session))
    }
    expect(told.map(({ status, master }) => [status, master])).toEqual([
      [200, 1],
      [200, 0],
      [200, 1],
    ])
    expect((await logIn(isolate)).status).toBe(200)
  })

  it('that answers readiness fails, and liveness does not', async () => {
    const isolate = await openIsolate({ get: broken } as unknown as KVNamespace)
    expect((await isolate(NAME, '/healthz')).status).toBe(200)
    expect((await isolate(NAME, '/readyz')).status).toBeGreaterThanOrEqual(500)
  })

  it('that takes no write a tenant is switched off all the same, and the scheduled job publishes it later', async () => {
    const session = await login(NAME)
    const put = vi
      .spyOn(Object.getPrototypeOf(env.TENANTS), 'put')
      .mockRejectedValue(new Error('KV PUT failed: 429 Too Many Requests'))
    await turn('deactivate')
    put.mockRestore()
    expect(said(await me(await openIsolate(lateKv()), session))).toEqual(off)
    expect(await env.TENANTS.get(KEY, 'json')).toMatchObject({ status: 'active' })
    await reconcile(env, settings())
    expect(await env.TENANTS.get(KEY, 'json')).toMatchObject({ status: 'inactive' })
  })

  it('that takes a write at the third try a tenant is made', async () => {
    vi.useRealTimers()
    const refused = new Error('KV PUT failed: 429 Too Many Requests')
    const put = vi.spyOn(Object.getPrototypeOf(env.TENANTS), 'put').mockRejectedValueOnce(refused).mockRejectedValueOnce(refused)
    await makeTenant('late-third', {}, await operatorToken())
    expect(put.mock.calls.length).toBe(3)
    expect(await env.TENANTS.get(kvKey('late-third'), 'json')).toMatchObject({ status: 'active' })
  })
})
