/**
 * Threat: a page that a tenant's administrator never named, or named once and removed, logs visitors in, or reads what the tenant
 * answers; and a stranger's page costs the tenant's database a look-up for each of its requests.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import type { SignedEntry } from '../../src/tenants/registry/registry.ts'
import { signed } from '../../src/tenants/registry/signature.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { askWith, newAddress } from '../support/limiters.ts'
import { allowed, asked, expectForeign as foreign, LOGIN, later, patchOrigins, preflight, setOrigins } from '../support/pages.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'pages'
const NEXT = 'pages-next'
const APP = 'https://app.pages.test'
const ME = '/api/v1/auth/me'
let admin: string
let operator: string
let id: string

beforeAll(async () => {
  operator = await operatorToken()
  ;[{ id }] = await Promise.all([copyTenant(AT), copyTenant(NEXT)])
  admin = await tokenOf(AT)
  await set([APP])
})

afterEach(() => void vi.useRealTimers())

const patch = (origins: unknown, token = admin) => patchOrigins(AT, token, origins)
const set = (origins: string[]) => setOrigins(AT, admin, origins)
const ask = (origin: string, at = AT, path = LOGIN) => preflight(origin, at, path)
const expectForeign = (origin: string, at = AT) => foreign(origin, at)

describe('a page whose origin is in the settings', () => {
  it('may ask beforehand, log in, read what it may and what it may not, and log out', async () => {
    later()
    const before = await ask(APP)
    expect([before.status, allowed(before)]).toEqual([204, APP])
    const headers = { Origin: APP }
    const entered = await call(AT, LOGIN, { body: ADMIN, headers })
    expect([entered.status, allowed(entered)]).toEqual([200, APP])
    const { access_token: token, refresh_token } = entered.body
    const read = await call(AT, ME, { token, headers })
    expect([read.status, allowed(read), read.headers.get('Access-Control-Allow-Credentials')]).toEqual([200, APP, null])
    for (const [path, status] of [
      [ME, 401],
      ['/api/v1/nothing', 404],
    ] as const) {
      const refused = await call(AT, path, { headers })
      expect([refused.status, allowed(refused)]).toEqual([status, APP])
    }
    const form = { grant_type: 'refresh_token', refresh_token }
    const refreshed = await call(AT, '/oauth/token', { form, headers })
    expect([refreshed.status, allowed(refreshed)]).toEqual([200, APP])
    const out = await call(AT, '/api/v1/auth/logout', { method: 'POST', token: refreshed.body.access_token, headers })
    expect([out.status, allowed(out)]).toEqual([204, APP])
  })

  it('uses no cookies', async () => {
    const refused = await call(AT, LOGIN, { body: { ...ADMIN, cookie: true }, headers: { Origin: APP } })
    expectProblem(refused, 403, 'forbidden')
    expect(refused.headers.getSetCookie()).toEqual([])
  })

  it('may call with X-Tenant on the base domain, and logs in there too', async () => {
    const headers = { Origin: APP }
    const read = await call('', ME, { tenant: AT, token: admin, headers })
    expect([read.status, allowed(read)]).toEqual([200, APP])
    expect((await call('', LOGIN, { tenant: AT, body: ADMIN, headers })).status).toBe(200)
  })

  it('is a stranger to another tenant, and to the platform', async () => {
    later()
    await expectForeign(APP, NEXT)
    const there = await login(NEXT)
    for (const answer of [
      await call(NEXT, LOGIN, { body: ADMIN, headers: { Origin: APP } }),
      await call(NEXT, '/oauth/token', {
        form: { grant_type: 'refresh_token', refresh_token: there.refresh_token },
        headers: { Origin: APP },
      }),
    ]) {
      expect(answer.status).toBe(403)
      expect(allowed(answer)).toBeNull()
    }
    const answer = await call('', '/platform/v1/auth/logout', { method: 'POST', token: operator, headers: { Origin: APP } })
    expectProblem(answer, 403, 'forbidden')
    expect(allowed(answer)).toBeNull()
  })

  it.each([
    `${APP}:8443`,
    APP.replace('https', 'http'),
    `${APP}.evil.test`,
    'https://evil-app.pages.test',
    'null',
    '*',
    `${APP}/`,
  ])('lends nothing to %s', (origin) => expectForeign(origin))
})

describe('a change', () => {
  it('is felt after two seconds: a new origin is let in, a removed one is not', async () => {
    const OTHER = 'https://other.pages.test'
    later()
    await expectForeign(OTHER)
    await set([OTHER])
    later()
    expect((await ask(OTHER)).status).toBe(204)
    await expectForeign(APP)
    const refused = await call(AT, LOGIN, { body: ADMIN, headers: { Origin: APP } })
    expectProblem(refused, 403, 'forbidden')
    expect(allowed(await call(AT, ME, { token: admin, headers: { Origin: APP } }))).toBeNull()
    await set([APP])
  })

  it('is recorded, and undone by null nobody: a list is what a tenant has', async () => {
    expectProblem(await patch(null), 400, 'invalid_request')
    const realm = await inside(AT)
    const [entry] = await realm.asOwner(
      sql`select d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'TENANT_UPDATED' order by l.at desc limit 1`,
    )
    expect(Object.keys(entry?.after as object)).toContain('origins')
  })

  it('needs setting:update', async () => {
    const realm = await inside(AT)
    await realm.asOwner(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'pia', 'pia@pages.test', 'user') on conflict do nothing`,
    )
    expectProblem(await patch(['https://pia.test'], await tokenOf(AT, 'pia')), 403, 'forbidden')
    expectProblem(await patch(['https://pia.test'], await tokenOf(NEXT)), 401, 'token_wrong_tenant')
    expectProblem(await call(AT, '/api/v1/settings', { method: 'PATCH', body: { origins: [] } }), 401, 'token_missing')
  })
})

describe('the cost', () => {
  it('is nothing without an Origin, from the own host, and for what is public', async () => {
    later()
    for (const headers of [{}, { Origin: originOf(AT) }] as Record<string, string>[])
      expect(asked(await call(AT, ME, { token: admin, headers }))).toBe(0)
    expect(asked(await ask(originOf(AT)))).toBe(0)
    for (const path of ['/.well-known/jwks.json', '/.well-known/openid-configuration'])
      expect(asked(await knock(`${originOf(AT)}${path}`, { headers: { Origin: 'https://evil.test' } }))).toBe(0)
  })

  it('is one look-up in two seconds, however many origins a stranger invents', async () => {
    later()
    const first = await ask('https://evil-0.test')
    expect([asked(first), first.headers.get('Server-Timing')]).toEqual([1, 'db;desc="0", master;desc="0", origins;desc="1"'])
    for (let n = 1; n <= 20; n++) expect(asked(await ask(`https://evil-${n}.test`))).toBe(0)
    expect(asked(await ask(APP))).toBe(0)
    later()
    expect(asked(await ask('https://evil-21.test'))).toBe(1)
  })

  it('is one look-up for twenty at once, and each gets its own answer', async () => {
    later()
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => ask(n % 2 ? APP : `https://evil-${n}.test`)))
    expect(all.reduce((sum, answer) => sum + asked(answer), 0)).toBe(1)
    expect(all.map(({ status }) => status)).toEqual(all.map((_, n) => (n % 2 ? 204 : 403)))
  })

  it('is none for what can be no origin of a page', async () => {
    later()
    for (const origin of [
      'null',
      `https://${'a.'.repeat(4_000)}test`,
      'https://app.pages.test, https://evil.test',
      originOf(NEXT),
    ])
      expect(asked(await ask(origin))).toBe(0)
  })

  it('counts as a failure of the network, and beyond the limit of those it is told what is known', async () => {
    const bindings = { FAILURES: { limit: async () => ({ success: false }) } }
    const [here, there] = [newAddress(), newAddress()]
    const from = async (address: string, Origin: string) => {
      const headers = { Origin, 'Access-Control-Request-Method': 'POST', 'CF-Connecting-IP': address }
      const answer = await askWith(bindings, `${originOf(AT)}${LOGIN}`, { method: 'OPTIONS', headers })
      return [answer.status, asked(answer)]
    }
    later()
    expect(await from(here, APP)).toEqual([204, 1])
    later()
    expect(await from(here, 'https://evil-1.test')).toEqual([403, 1])
    later()
    expect(await from(here, 'https://evil-2.test')).toEqual([403, 0])
    expect(await from(here, APP)).toEqual([204, 0])
    expect(await from(there, APP)).toEqual([204, 1])
    later(60_000)
    expect(await from(here, APP)).toEqual([204, 1])
  })

  it('is in no answer more than one look-up beside the budget of its route', async () => {
    for (const [path, init] of [
      [ME, { token: admin }],
      ['/api/v1/sessions', { token: admin }],
      [LOGIN, { body: ADMIN }],
      ['/logo', {}],
    ] as const) {
      later()
      const answer = await call(AT, path, { ...init, headers: { Origin: APP } })
      expect([path, asked(answer), answer.trips <= 2]).toEqual([path, 1, true])
    }
  })

  it('stays within the budget of the route', async () => {
    later()
    const answer = await call(AT, ME, { token: admin, headers: { Origin: APP } })
    expect([answer.status, answer.trips, asked(answer)]).toEqual([200, 1, 1])
  })
})

describe('a demo tenant', () => {
  const LOCAL = [
    'http://localhost:5173',
    'http://localhost',
    'http://127.0.0.1:3000',
    'http://[::1]:8080',
    'https://localhost:5173',
  ]

  it('lets in pages of the machine of whoever looks at it, unlisted, and asks nobody', async () => {
    for (const origin of LOCAL) await expectForeign(origin)
    const path = `/platform/v1/tenants/${id}`
    await call('', path, { method: 'PATCH', token: operator, body: { environment: 'demo' } })
    later(10_001)
    for (const origin of [...LOCAL, 'http://pages.localhost:5173']) {
      const answer = await ask(origin)
      expect([answer.status, allowed(answer), asked(answer)], origin).toEqual([204, origin, 0])
    }
    const [Origin = ''] = LOCAL
    expect((await call(AT, LOGIN, { body: ADMIN, headers: { Origin } })).status).toBe(200)
    for (const origin of [
      'http://localhost.evil.test',
      'http://127.0.0.2',
      'http://pages-next.localhost:8787',
      'http://192.168.0.1',
    ])
      await expectForeign(origin)
    await call('', path, { method: 'PATCH', token: operator, body: { environment: 'production' } })
    later(10_001)
    await expectForeign(LOCAL[0] ?? '')
  })
})

describe('where the settings cannot say', () => {
  it('on the schema of the release before, the origins of the registry count', async () => {
    await copyTenant('pages-behind', { is_behind: true, config: { origins: ['https://given.test'] } })
    expect((await ask('https://given.test', 'pages-behind')).status).toBe(204)
    await expectForeign(APP, 'pages-behind')
    const entered = await call('pages-behind', LOGIN, { body: ADMIN, headers: { Origin: 'https://given.test' } })
    expect([entered.status, allowed(entered)]).toEqual([200, 'https://given.test'])
  })

  it('once its database is upgraded, the settings count as well', async () => {
    const realm = await databaseOf('pages-behind')
    await migrate(realm.owner_url, tenantMigrations)
    await realm.asOwner(sql`update freehold.tenant set origins = array[${APP}]`)
    later()
    for (const origin of [APP, 'https://given.test']) expect((await ask(origin, 'pages-behind')).status, origin).toBe(204)
  })

  it('a database that is silent is waited for once in two seconds, which count from when it failed', async () => {
    vi.useRealTimers()
    const realm = await inside(AT)
    await realm.asOwner(
      sql`alter function access.origins(uuid) rename to origins_away`,
      sql`create function access.origins(uuid) returns text[] language sql as 'select pg_catalog.pg_sleep(10); select array[]::text[]'`,
      sql`grant execute on function access.origins(uuid) to freehold_app`,
    )
    await new Promise((done) => setTimeout(done, 2_100))
    const first = ask(APP)
    const others = Array.from({ length: 5 }, () => ask(APP))
    const answers = [await first, ...(await Promise.all(others)), await ask(APP)]
    expect(answers.map(({ status }) => status)).toEqual(Array(7).fill(204))
    expect(answers.reduce((sum, answer) => sum + asked(answer), 0)).toBe(1)
    await realm.asOwner(sql`drop function access.origins(uuid)`, sql`alter function access.origins_away(uuid) rename to origins`)
  })

  it('a database that does not answer leaves what it said last, and is asked again two seconds later', async () => {
    later()
    expect((await ask(APP)).status).toBe(204)
    const realm = await inside(AT)
    await realm.asOwner(sql`alter function access.origins(uuid) rename to origins_away`)
    later()
    expect((await ask(APP)).status).toBe(204)
    await expectForeign('https://evil.test')
    await realm.asOwner(sql`alter function access.origins_away(uuid) rename to origins`)
    await set([])
    later()
    await expectForeign(APP)
    await set([APP])
    later()
    expect((await ask(APP)).status).toBe(204)
  })

  it('an entry of KV that the release before wrote is served: the settings count, and nobody is taken for a demo', async () => {
    const KEY = `tenant:${AT}`
    const kept = await env.TENANTS.get<SignedEntry>(KEY, 'json')
    const { signature: _, origins: __, origin_patterns: ___, is_demo: ____, ...older } = kept as SignedEntry
    await env.TENANTS.put(KEY, await signed(settings(), older))
    later(10_001)
    expect((await ask(APP)).status).toBe(204)
    await expectForeign('http://localhost:5173')
    await env.TENANTS.put(KEY, JSON.stringify(kept))
  })

  it('a suspended tenant refuses its pages as it does everybody', async () => {
    const { id: off } = await copyTenant('pages-off')
    await setOrigins('pages-off', await tokenOf('pages-off'), ['https://off.test'])
    const realm = await inside('pages-off')
    await realm.asOwner(sql`update freehold.tenant set is_active = false`)
    later()
    expectProblem(await ask('https://off.test', 'pages-off'), 403, 'forbidden')
    await call('', `/platform/v1/tenants/${off}/deactivate`, { method: 'POST', token: operator })
    later(10_001)
    const answer = await ask('https://off.test', 'pages-off')
    expectProblem(answer, 403, 'tenant_inactive')
    expect(asked(answer)).toBe(0)
  })
})

describe('the platform', () => {
  const SETTINGS = '/platform/v1/settings'
  const CONSOLE = 'https://console.operators.test'
  const put = (origins: string[]) => call('', SETTINGS, { method: 'PATCH', token: operator, body: { origins } })

  it('has origins of its own, which are no tenant’s', async () => {
    expect((await put([CONSOLE])).body.origins).toEqual([CONSOLE])
    later()
    const at = '/platform/v1/auth/login'
    expect(allowed(await ask(CONSOLE, '', at))).toBe(CONSOLE)
    await expectForeign(CONSOLE)
    const refused = await put([originOf(AT).replace('http:', 'https:')])
    expect(pointers(refused)).toEqual(['#/origins/0'])
    await put([])
    later()
    expectProblem(await ask(CONSOLE, '', at), 403, 'forbidden')
  })
})
