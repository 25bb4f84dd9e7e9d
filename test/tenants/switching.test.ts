/** Threat: a tenant that was switched off goes on, because a copy of the registry still says that it is on. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { propagate } from '../../src/tenants/lifecycle/lifecycle.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { ADMIN, call, login, operatorToken, wanted } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let tenant: any
let session: any

beforeAll(async () => {
  token = await operatorToken()
  tenant = await copyTenant('switched')
  session = await login('switched')
})
afterEach(() => vi.useRealTimers())

const turn = (verb: string, id = tenant.id) => call('', `/platform/v1/tenants/${id}/${verb}`, { method: 'POST', token })
const off = [403, 'tenant_inactive']
const knocks: Record<string, () => Promise<{ status: number; body: any }>> = {
  me: () => call('switched', '/api/v1/auth/me', { token: session.access_token }),
  login: () => call('switched', '/api/v1/auth/login', { body: ADMIN }),
  refresh: () => call('switched', '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } }),
  'password-change': () =>
    call('switched', '/api/v1/auth/password-change', {
      token: session.access_token,
      body: { current_password: ADMIN.password, new_password: 'Violet-Anchor-38' },
    }),
  logout: () => call('switched', '/api/v1/auth/logout', { method: 'POST', token: session.access_token }),
}

describe('a tenant that is switched off', () => {
  it('is refused on the very next request, at every door, and let in again when it is switched on', async () => {
    expect((await knocks.me?.())?.status).toBe(200)
    const answer = await turn('deactivate')
    expect([answer.status, answer.body.status, answer.body.is_active]).toEqual([200, 'inactive', false])
    for (const [door, knock] of Object.entries(knocks)) {
      const { status, body } = await knock()
      expect([status, body.code], door).toEqual(off)
    }
    const again = await turn('activate')
    expect([again.status, again.body.status, again.body.is_active]).toEqual([200, 'active', true])
    expect((await knocks.me?.())?.status).toBe(200)
    expect((await knocks.login?.())?.status).toBe(200)
    const renewed = await knocks.refresh?.()
    expect(renewed?.status).toBe(200)
    session = renewed?.body
  })

  it('is refused also where memory and KV still say that it is on', async () => {
    const before = await env.TENANTS.get(kvKey('switched'))
    await knocks.me?.()
    await turn('deactivate')
    await env.TENANTS.put(kvKey('switched'), before ?? '')
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 20_000 })
    const answer = await call('switched', '/api/v1/auth/login', { body: ADMIN })
    expect([answer.status, answer.body.code, answer.master]).toEqual([...off, 0])
    vi.useRealTimers()
    await turn('activate')
  })

  it('is switched off although its first limit waits for somebody who creates and does not come to an end', async () => {
    const database = await databaseOf('switched')
    await master(sql`update platform.tenants set limits = '{"max_users": 50}' where id = ${tenant.id}`)
    const creating = database.asOwner(
      sql`select pg_advisory_xact_lock_shared(hashtext('access.limits'))`,
      sql`select pg_sleep(12)`,
    )
    const held = sql`select from pg_locks l where l.locktype = 'advisory' and l.mode = 'ShareLock' and l.database = (select d.oid from pg_database d where d.datname = current_database())`
    await vi.waitUntil(async () => (await database.asOwner(held)).length > 0, { timeout: 10_000, interval: 50 })
    expect((await turn('deactivate')).body.status).toBe('inactive')
    expect([(await knocks.me?.())?.status, (await knocks.me?.())?.body.code]).toEqual(off)
    const limits = () => database.asOwner(sql`select name, most from access.limits where most is not null`)
    expect(await limits()).toEqual([])
    await creating
    // Nothing is forgotten: the scheduled job tells it.
    await vi.waitFor(async () => {
      await reconcile(env, settings())
      expect(await limits()).toEqual([{ name: 'users', most: 50 }])
    })
    await master(sql`update platform.tenants set limits = '{}' where id = ${tenant.id}`)
    expect((await turn('activate')).body.status).toBe('active')
  })

  it('cannot be switched off twice, nor on twice', async () => {
    expect((await turn('deactivate')).status).toBe(200)
    const twice = await turn('deactivate')
    expect([twice.status, twice.body.code]).toEqual([409, 'illegal_state'])
    expect((await turn('activate')).status).toBe(200)
    const on = await turn('activate')
    expect([on.status, on.body.code]).toEqual([409, 'illegal_state'])
  })

  it('of two who switch it off at once, one did it', async () => {
    const answers = await Promise.all([turn('deactivate'), turn('deactivate')])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
    await turn('activate')
  })

  it('stands so in its own database, in KV and in both audits', async () => {
    await turn('deactivate')
    const database = await databaseOf('switched')
    expect(await database.asOwner(sql`select is_active from freehold.tenant`)).toEqual([{ is_active: false }])
    expect(await env.TENANTS.get(kvKey('switched'), 'json')).toMatchObject({ status: 'inactive' })
    const about = sql`select d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_type = 'tenant' and l.resource_id = ${tenant.id} order by l.at desc limit 1`
    expect((await master(about))[0]).toMatchObject({ before: { status: 'active' }, after: { status: 'inactive' } })
    expect((await database.asOwner(about))[0]).toMatchObject({ before: { is_active: true }, after: { is_active: false } })
    await turn('activate')
  })

  it('is not retried, since it has not failed', async () => {
    const answer = await turn('retry')
    expect([answer.status, answer.body.code]).toEqual([409, 'illegal_state'])
  })

  it('is published once for each change, and a publication is no change', async () => {
    const versions = async () => (await master(sql`select v, published_v from platform.tenants where id = ${tenant.id}`))[0]
    await turn('deactivate')
    const { updated_at } = (await turn('activate')).body
    const after = await versions()
    expect(after?.published_v).toBe(after?.v)
    expect((await call('', `/platform/v1/tenants/${tenant.id}`, { token })).body.updated_at).toBe(updated_at)
  })

  it('stands everywhere as the last word was, when two words cross', async () => {
    const { owner_url, asOwner } = await databaseOf('switched')
    const sources = { env, config: settings(), meter: { master: 0 }, trace_id: crypto.randomUUID() }
    const lock = rowsOf(
      owner_url,
      sql`set local role freehold_owner`,
      sql`select 1 from freehold.tenant for update`,
      sql`select pg_sleep(1)`,
    )
    await scheduler.wait(200)
    await master(sql`update platform.tenants set status = 'inactive' where id = ${tenant.id}`)
    const slow = propagate(sources, tenant.id)
    await scheduler.wait(200)
    await master(sql`update platform.tenants set status = 'active' where id = ${tenant.id}`)
    await propagate(sources, tenant.id)
    await Promise.all([lock, slow])
    const [there] = await asOwner(sql`select is_active from freehold.tenant`)
    await asOwner(sql`update freehold.tenant set is_active = true`)
    expect(there).toEqual({ is_active: true })
  })
})

describe('a tenant that is not there yet', () => {
  it('is being made: 503, and when to come back', async () => {
    await plantRun(await plantTenant('switched-halfway', 'provisioning'))
    const answer = await call('switched-halfway', '/api/v1/auth/login', { body: ADMIN })
    expect([answer.status, answer.body.code]).toEqual([503, 'tenant_provisioning'])
    expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await call('switched-halfway', '/.well-known/jwks.json')).status).toBe(503)
  })

  it('is not switched off, on or retried while it is being made', async () => {
    const [{ id }] = (await master(sql`select id from platform.tenants where subdomain = 'switched-halfway'`)) as [{ id: string }]
    for (const verb of ['deactivate', 'activate', 'retry']) {
      const answer = await turn(verb, id)
      expect([answer.status, answer.body.code], verb).toEqual([409, 'illegal_state'])
    }
  })

  it('is unknown: 404', async () => {
    const answer = await call('switched-never', '/api/v1/auth/login', { body: ADMIN })
    expect([answer.status, answer.body.code]).toEqual([404, 'tenant_not_found'])
  })

  it('failed, and goes on when it is retried', async () => {
    const id = await plantTenant('switched-failed')
    for (const path of ['/api/v1/auth/me', '/.well-known/jwks.json']) {
      const before = await call('switched-failed', path, { headers: { 'Accept-Language': 'es' } })
      expect([before.status, before.body.code, before.body.title]).toEqual([
        503,
        'tenant_unavailable',
        'El inquilino no se pudo crear',
      ])
      expect(Number(before.headers.get('Retry-After'))).toBeGreaterThan(60)
    }
    expect((await call('', '/problems/tenant_unavailable')).status).toBe(200)
    const answer = await turn('retry', id)
    expect([answer.status, answer.body.status, answer.headers.get('Location')]).toEqual([
      202,
      'provisioning',
      `/platform/v1/tenants/${id}/provisioning`,
    ])
    await vi.waitUntil(async () => (await call('', `/platform/v1/tenants/${id}`, { token })).body.status === 'active', {
      timeout: 20_000,
      interval: 200,
    })
  })

  it('is found within two seconds of being made, though it was asked for before', async () => {
    expect((await call('switched-late', '/api/v1/auth/login', { body: ADMIN })).status).toBe(404)
    await copyTenant('switched-late')
    await vi.waitUntil(async () => (await call('switched-late', '/.well-known/jwks.json')).status === 200, {
      timeout: 2_000,
      interval: 100,
    })
  })
  it('is let in within two seconds of being made, though it was asked for while it was being made', async () => {
    const { body } = await call('', '/platform/v1/tenants', { token, body: wanted('switched-eager') })
    expect((await call('switched-eager', '/.well-known/jwks.json')).status).toBe(503)
    await vi.waitUntil(async () => (await call('', `/platform/v1/tenants/${body.id}`, { token })).body.status === 'active', {
      timeout: 9_000,
      interval: 50,
    })
    await vi.waitUntil(async () => (await call('switched-eager', '/.well-known/jwks.json')).status === 200, {
      timeout: 2_000,
      interval: 100,
    })
  })

  it('is let in within two seconds of being switched on, though it was asked for while it was off', async () => {
    await turn('deactivate')
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 })
    expect((await knocks.login?.())?.status).toBe(403)
    await turn('activate')
    vi.setSystemTime(Date.now() + 2_000)
    expect((await knocks.login?.())?.status).toBe(200)
  })
})
