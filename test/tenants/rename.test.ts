/**
 * Threat: a tenant gets a new name, and with it its users are thrown out, its clients send their tokens to whoever has the old one, or of
 * many that want a name two get it.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { propagate } from '../../src/tenants/lifecycle/lifecycle.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { freeSubdomains } from '../../src/tenants/lifecycle/subdomains.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { knock } from '../support/knock.ts'
import { type Answer, call, login, operatorToken, wanted } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})

const at = (id: string) => `/platform/v1/tenants/${id}`
const change = (id: string, body: unknown) => call('', at(id), { token, method: 'PATCH', body })
const rename = (id: string, subdomain: string) => change(id, { subdomain })
const me = (host: string, access_token: string, more = {}) => call(host, '/api/v1/auth/me', { token: access_token, ...more })
const said = ({ status, body }: Answer) => [status, body?.code]
const MOVED = (name: string) => `http://${name}.freehold.test`
const claimsOf = (access_token: string) =>
  JSON.parse(atob((access_token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))

function expectRenamed(answer: Answer, to: string) {
  expectProblem(answer, 410, 'tenant_renamed')
  expect(answer.body.url).toBe(MOVED(to))
  expect(answer.body.detail).toContain(MOVED(to))
  expect(answer.headers.get('Cache-Control')).toBe('no-store')
}

describe('a tenant that is renamed', () => {
  let id: string
  let session: Awaited<ReturnType<typeof plantSession>>
  let before: any
  beforeAll(async () => {
    id = (await copyTenant('moniker-one')).id
    session = await plantSession('moniker-one')
    expect((await me('moniker-one', session.access_token)).status).toBe(200)
    before = (await call('', at(id), { token })).body
    const answer = await rename(id, 'moniker-two')
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 1])
    const { updated_at: _, used: __, ...rest } = before
    expect(answer.body).toMatchObject({
      ...rest,
      subdomain: 'moniker-two',
      url: MOVED('moniker-two'),
      former_subdomains: [{ subdomain: 'moniker-one', until: expect.stringMatching(/Z$/) }],
    })
    const days = (Date.parse(answer.body.former_subdomains[0].until) - Date.now()) / 86_400_000
    expect(days).toBeCloseTo(30, 1)
    expect((await call('', at(id), { token })).body).toEqual({ ...answer.body, used: expect.anything() })
  })

  it('is served at its new name at once: tokens, refresh tokens and passwords of before go on', async () => {
    expect((await me('moniker-two', session.access_token)).body).toMatchObject({ tenant: 'moniker-two' })
    const renewed = await call('moniker-two', '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } })
    expect(renewed.status, JSON.stringify(renewed.body)).toBe(200)
    expect(claimsOf(renewed.body.access_token)).toMatchObject({ iss: MOVED('moniker-two'), aud: MOVED('moniker-two'), tid: id })
    expect((await me('moniker-two', renewed.body.access_token)).status).toBe(200)
    const fresh = await login('moniker-two')
    expect(claimsOf(fresh.access_token).iss).toBe(MOVED('moniker-two'))
    expect((await me('', session.access_token, { tenant: 'moniker-two' })).status).toBe(200)
  })

  it('is found by a token of before that alone names it', async () => {
    expect(claimsOf(session.access_token).tenant).toBe('moniker-one')
    expect((await me('', session.access_token)).body).toMatchObject({ tenant: 'moniker-two' })
  })

  it('is found by a setting of before that alone names it', async () => {
    const settings = { DEFAULT_TENANT: 'moniker-one' }
    const answer = await call('', '/.well-known/openid-configuration', { settings })
    expect([answer.status, answer.body.issuer]).toEqual([200, MOVED('moniker-two')])
  })

  it.each(['GET', 'HEAD'])(
    'redirects %s of pages and of /.well-known from its former host, path and query kept',
    async (method) => {
      for (const path of [
        '/',
        '/docs',
        '/docs?a=1&b=%2F',
        '/problems/forbidden',
        '/.well-known/jwks.json',
        '/.well-known/openid-configuration?x=y',
      ]) {
        const answer = await knock(`${MOVED('moniker-one')}${path}`, { method })
        expect([answer.status, answer.headers.get('Location')], path).toEqual([308, `${MOVED('moniker-two')}${path}`])
        expect(answer.headers.get('Cache-Control'), path).toBe('no-store')
      }
      // Keys are read by pages of any origin, through the redirect, too.
      const keys = await knock(`${MOVED('moniker-one')}/.well-known/jwks.json`, { headers: { Origin: 'https://any.test' } })
      expect(keys.headers.get('Access-Control-Allow-Origin')).toBe('*')
    },
  )

  it('redirects to no other host, whatever the path', async () => {
    for (const path of [
      '/docs//evil.test/',
      '/docs/%2f%2fevil.test',
      '/docs/..//evil.test',
      '/.well-known//evil.test',
      '/docs/@evil.test',
    ])
      for (const answer of [await knock(`${MOVED('moniker-one')}${path}`)])
        if (answer.status === 308)
          expect(new URL(answer.headers.get('Location') ?? '').host, path).toBe('moniker-two.freehold.test')
  })

  it('refuses the API at its former host and says where it is: whoever asks, with whatever credential, in both languages', async () => {
    expectRenamed(await me('moniker-one', session.access_token), 'moniker-two')
    expectRenamed(await call('moniker-one', '/api/v1/auth/me'), 'moniker-two')
    expectRenamed(await call('moniker-one', '/api/v1/auth/login', { body: { email: 'a@b.test', password: 'x' } }), 'moniker-two')
    expectRenamed(await call('moniker-one', '/api/v1/users', { headers: { 'X-API-Key': 'fh_none' } }), 'moniker-two')
    expectRenamed(await call('moniker-one', '/api/v1/nothing-here'), 'moniker-two')
    const spanish = await call('moniker-one', '/api/v1/auth/me', { headers: { 'Accept-Language': 'es' } })
    expect(spanish.body.title).toBe('El inquilino tiene ahora otro nombre')
    expect(spanish.body.detail).toContain(`su dirección es ${MOVED('moniker-two')}`)
  })

  it('refuses the header X-Tenant with its former name alike, also where a host would be redirected', async () => {
    expectRenamed(await me('', session.access_token, { tenant: 'moniker-one' }), 'moniker-two')
    expectRenamed(await call('', '/api/v1/auth/login', { tenant: 'Moniker-One', body: {} }), 'moniker-two')
    expectRenamed(await call('', '/.well-known/jwks.json', { tenant: 'moniker-one' }), 'moniker-two')
    expectRenamed(await call('moniker-one', '/.well-known/jwks.json', { tenant: 'moniker-one' }), 'moniker-two')
    expectProblem(await call('moniker-two', '/.well-known/jwks.json', { tenant: 'moniker-one' }), 400, 'tenant_ambiguous')
  })

  it('does not redirect what changes something', async () => {
    for (const path of ['/docs', '/.well-known/jwks.json'])
      expectRenamed(await call('moniker-one', path, { method: 'POST', body: {} }), 'moniker-two')
  })

  it('lets its pages of both hosts read the refusal, and no foreign page', async () => {
    const ask = (origin: string, method: string) =>
      knock(`${MOVED('moniker-one')}/api/v1/auth/me`, {
        method,
        headers: { Origin: origin, ...(method === 'OPTIONS' && { 'Access-Control-Request-Method': 'GET' }) },
      })
    for (const origin of [MOVED('moniker-one'), MOVED('moniker-two')]) {
      expect([(await ask(origin, 'OPTIONS')).status, (await ask(origin, 'GET')).status], origin).toEqual([204, 410])
      expect((await ask(origin, 'GET')).headers.get('Access-Control-Allow-Origin')).toBe(origin)
    }
    expect((await ask('https://evil.test', 'OPTIONS')).status).toBe(403)
    expect((await ask('https://evil.test', 'GET')).headers.get('Access-Control-Allow-Origin')).toBeNull()
  })

  it('takes its tokens of before for nobody else’s: another tenant refuses them', async () => {
    await copyTenant('moniker-other')
    expectProblem(await me('moniker-other', session.access_token), 401, 'token_wrong_tenant')
  })

  it('is in step in KV: the entry under its new name, under the former one where it is, with no secret', async () => {
    const [row] = await master(sql`select v, published_v from platform.tenants where id = ${id}`)
    expect(row?.v).toBe(row?.published_v)
    expect(await env.TENANTS.get(kvKey('moniker-two'), 'json')).toMatchObject({
      tenant_id: id,
      v: Number(row?.v),
      former_names: [{ name: 'moniker-one' }],
    })
    const former = (await env.TENANTS.get<Record<string, unknown>>(kvKey('moniker-one'), 'json')) ?? {}
    expect(Object.keys(former).sort()).toEqual(['former', 'signature', 'subdomain', 'tenant_id', 'until', 'v'])
    expect(former).toMatchObject({ former: 'moniker-one', subdomain: 'moniker-two', tenant_id: id })
  })

  it('is in the audit of the platform with who did it, and in its own', async () => {
    const rows = await master(
      sql`select l.user_id is not null as by_somebody, d.before ->> 'subdomain' as before, d.after ->> 'subdomain' as after
          from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${id} and l.action = 'update' and d.after ? 'subdomain'`,
    )
    expect(rows).toEqual([{ by_somebody: true, before: 'moniker-one', after: 'moniker-two' }])
    const { asOwner } = await databaseOf('moniker-two')
    const own = await asOwner(
      sql`select d.before ->> 'subdomain' as before, d.after ->> 'subdomain' as after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_type = 'tenant' and l.action = 'update' and d.after ? 'subdomain'`,
    )
    expect(own).toEqual([{ before: 'moniker-one', after: 'moniker-two' }])
    expect(await asOwner(sql`select subdomain from freehold.tenant`)).toEqual([{ subdomain: 'moniker-two' }])
  })

  it('is found in the list by the name that it had', async () => {
    const { body } = await call('', '/platform/v1/tenants?search=MONIKER-ONE', { token })
    expect(body.data.map(({ subdomain }: { subdomain: string }) => subdomain)).toEqual(['moniker-two'])
  })

  it('keeps its former name from all others: nobody is made under it, nobody is renamed to it', async () => {
    const { id: other } = await copyTenant('moniker-wanting')
    for (const answer of [
      await rename(other, 'moniker-one'),
      await call('', '/platform/v1/tenants', { token, body: wanted('moniker-one') }),
    ]) {
      expectProblem(answer, 409, 'subdomain_taken')
      expect(answer.body.detail).toMatch(
        /^The subdomain moniker-one is the former name of another tenant and kept for it until 20..-..-..T..:..:..Z\.$/,
      )
    }
    expect((await call('', at(other), { token })).body.subdomain).toBe('moniker-wanting')
  })

  it('may go back, and come again: each name says the other', async () => {
    expect((await rename(id, 'moniker-one')).body).toMatchObject({
      subdomain: 'moniker-one',
      former_subdomains: [{ subdomain: 'moniker-two' }],
    })
    expect((await me('moniker-one', session.access_token)).status).toBe(200)
    expectRenamed(await me('moniker-two', session.access_token), 'moniker-one')
    expect((await rename(id, 'moniker-two')).status).toBe(200)
    expect((await me('moniker-two', session.access_token)).status).toBe(200)
    expectRenamed(await me('moniker-one', session.access_token), 'moniker-two')
    expect((await rename(id, 'moniker-three')).status).toBe(200)
    for (const name of ['moniker-one', 'moniker-two']) expectRenamed(await me(name, session.access_token), 'moniker-three')
    expect((await me('moniker-three', session.access_token)).status).toBe(200)
  })

  it('that is called what it is called already changes nothing, and has no former name by it', async () => {
    const { body } = await call('', at(id), { token })
    expect((await rename(id, 'moniker-three')).body).toEqual({ ...body, used: expect.anything() })
  })
})

describe('a name', () => {
  let held: string
  beforeAll(async () => {
    held = (await copyTenant('moniker-held')).id
  })

  it.each<[string, string, number, string, string]>([
    ['reserved', 'admin', 409, 'subdomain_taken', 'The subdomain admin is reserved.'],
    ['reserved by its form', 'xn--mnich-kva', 409, 'subdomain_taken', 'The subdomain xn--mnich-kva is reserved.'],
    ['taken', 'moniker-held', 409, 'subdomain_taken', 'The subdomain moniker-held is taken.'],
  ])('that is %s is refused', async (_, name, status, code, detail) => {
    const { id } = await copyTenant(`moniker-to-${name.slice(0, 5).replaceAll('-', '')}`)
    const answer = await rename(id, name)
    expectProblem(answer, status, code)
    expect(answer.body.detail).toBe(detail)
  })

  it.each([7, null, '', '-a', 'a-', 'A', 'a.b', 'a_b', 'a'.repeat(64), '../x', 'ä', ['a']])(
    'that is %j is no label',
    async (subdomain) => {
      const answer = await change(held, { subdomain })
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.errors[0].pointer).toBe('#/subdomain')
    },
  )

  it('that twenty tenants want at once one gets, and the others are told that it is taken', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await copyTenant(`moniker-of-20-${i}`)).id))
    const answers = await Promise.all(ids.map((id) => rename(id, 'moniker-prize')))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(409)])
    for (const answer of answers) if (answer.status === 409) expectProblem(answer, 409, 'subdomain_taken')
    const winner = answers.findIndex(({ status }) => status === 200)
    const rows = await master(
      sql`select id, subdomain from platform.tenants where subdomain = 'moniker-prize' or subdomain like 'moniker-of-20-%'`,
    )
    expect(rows).toHaveLength(20)
    expect(rows.find(({ subdomain }) => subdomain === 'moniker-prize')?.id).toBe(ids[winner])
  })

  it('is given to a new tenant or to a renamed one, when both want it at once', async () => {
    const { id } = await copyTenant('moniker-or-new')
    const [renamed, made] = await Promise.all([
      rename(id, 'moniker-contended'),
      call('', '/platform/v1/tenants', { token, headers: { Prefer: 'wait=30' }, body: wanted('moniker-contended') }),
    ])
    expect([renamed.status === 200, made.status === 201].filter(Boolean), JSON.stringify([renamed.body, made.body])).toHaveLength(
      1,
    )
    expect([said(renamed), said(made)]).toContainEqual([409, 'subdomain_taken'])
  })

  it('of another tenant is taken by neither of two that swap theirs, at once or not: neither waits for the other', async () => {
    const [a, b] = [await copyTenant('moniker-swap-a'), await copyTenant('moniker-swap-b')]
    for (let i = 0; i < 5; i++) {
      const answers = await Promise.all([rename(a.id, 'moniker-swap-b'), rename(b.id, 'moniker-swap-a')])
      for (const answer of answers) expectProblem(answer, 409, 'subdomain_taken')
    }
    // Nor by way of a third name: each keeps what it had.
    expect((await rename(a.id, 'moniker-swap-c')).status).toBe(200)
    expectProblem(await rename(b.id, 'moniker-swap-a'), 409, 'subdomain_taken')
  })

  it('is one of twenty that one tenant is given at once: it has one, each other leads there, and the database agrees', async () => {
    const { id } = await copyTenant('moniker-many')
    const names = Array.from({ length: 20 }, (_, i) => `moniker-many-${i}`)
    const answers = await Promise.all(names.map((name) => rename(id, name)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    const { body } = await call('', at(id), { token })
    expect(body.former_subdomains.map(({ subdomain }: { subdomain: string }) => subdomain).sort()).toEqual(
      ['moniker-many', ...names].filter((name) => name !== body.subdomain).sort(),
    )
    const { asOwner } = await databaseOf(body.subdomain)
    expect(await asOwner(sql`select subdomain from freehold.tenant`)).toEqual([{ subdomain: body.subdomain }])
    const full = await rename(id, 'moniker-many-more')
    expectProblem(full, 409, 'limit_reached')
    // What is used is counted anew for each answer.
    expect((await call('', at(id), { token })).body).toEqual({ ...body, used: expect.anything() })
    // One that it has had is no further one.
    expect((await rename(id, 'moniker-many')).status).toBe(200)
    for (const name of names) expectRenamed(await me(name, 'x'), 'moniker-many')
  })

  it('of a tenant that is erased is free, and so are those that it had', async () => {
    const id = await plantTenant('moniker-gone')
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    expect((await rename(id, 'moniker-gone-2')).status).toBe(200)
    await master(sql`delete from platform.tenants where id = ${id}`)
    expect(await master(sql`select from platform.subdomains where tenant_id = ${id}`)).toEqual([])
    expect((await call('moniker-gone', '/api/v1/auth/me')).status).toBeGreaterThanOrEqual(404)
    await plantTenant('moniker-gone')
  })

  it('is given with others that are wrong, or under a condition that does not hold, by nobody', async () => {
    const { id } = await copyTenant('moniker-kept')
    expectProblem(await change(id, { subdomain: 'moniker-kept-2', plan: 'No Plan' }), 400, 'invalid_request')
    const stale = await call('', at(id), {
      token,
      method: 'PATCH',
      body: { subdomain: 'moniker-kept-2' },
      headers: { 'If-Match': '"then"' },
    })
    expectProblem(stale, 412, 'etag_mismatch')
    const foreign = await change(id, { subdomain: 'moniker-kept-2', config: { origins: ['https://moniker-kept.freehold.test'] } })
    expectProblem(foreign, 400, 'invalid_request')
    expect((await call('', at(id), { token })).body).toMatchObject({ subdomain: 'moniker-kept', former_subdomains: [] })
    expect(await master(sql`select from platform.subdomains where name = 'moniker-kept-2'`)).toEqual([])
  })
})

describe('a tenant', () => {
  it.each(['provisioning', 'failed', 'deleted', 'erasing'])('that is %s is not renamed', async (status) => {
    const id = await plantTenant(`moniker-is-${status}`)
    await master(
      sql`update platform.tenants set status = ${status}, deleted_at = case when ${status} in ('deleted', 'erasing') then now() end, erasing_until = now() + interval '1 day' where id = ${id}`,
    )
    expectProblem(await rename(id, `moniker-was-${status}`), 409, 'illegal_state')
    const [row] = await master(sql`select subdomain from platform.tenants where id = ${id}`)
    expect(row?.subdomain).toBe(`moniker-is-${status}`)
    await master(sql`update platform.tenants set status = 'failed' where id = ${id}`)
  })

  it('that is switched off is renamed, and says so under both names', async () => {
    const { id } = await copyTenant('moniker-off')
    const access_token = await tokenOf('moniker-off')
    expect((await call('', `${at(id)}/deactivate`, { token, method: 'POST' })).status).toBe(200)
    expect((await rename(id, 'moniker-off-2')).status).toBe(200)
    expectRenamed(await me('moniker-off', access_token), 'moniker-off-2')
    expectProblem(await me('moniker-off-2', access_token), 403, 'tenant_inactive')
    expect((await call('', `${at(id)}/activate`, { token, method: 'POST' })).status).toBe(200)
    // For two seconds it is remembered as it was.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_000 })
    expect((await me('moniker-off-2', access_token)).status).toBe(200)
    vi.useRealTimers()
  })

  it('whose own host is among its origins keeps that one under its new name, and no other is touched', async () => {
    const origins = [
      'https://app.acme.test',
      'http://moniker-origin.freehold.test:3000',
      'http://moniker-origin.localhost:5173',
      'https://moniker-origin.freehold.test.acme.test',
    ]
    const { id } = await copyTenant('moniker-origin', { config: { origins } })
    expect((await rename(id, 'moniker-origin-2')).body.config.origins).toEqual([
      'https://app.acme.test',
      'http://moniker-origin-2.freehold.test:3000',
      'http://moniker-origin-2.localhost:5173',
      'https://moniker-origin.freehold.test.acme.test',
    ])
  })

  it('is renamed by nobody who may not', async () => {
    const { id } = await copyTenant('moniker-not-yours')
    const body = { subdomain: 'moniker-stolen' }
    expectProblem(await call('', at(id), { method: 'PATCH', body }), 401, 'token_missing')
    const theirs = await tokenOf('moniker-not-yours')
    expect((await call('', at(id), { token: theirs, method: 'PATCH', body })).status).toBe(401)
    expectProblem(await rename(crypto.randomUUID(), 'moniker-stolen'), 404, 'not_found')
    expect(await master(sql`select from platform.subdomains where name = 'moniker-stolen'`)).toEqual([])
  })
})

describe('a former name whose time is over', () => {
  const lapse = (name: string) =>
    master(sql`update platform.subdomains set until = now() - interval '1 second' where name = ${name}`)

  it('is somebody else’s at once who takes it: with a database of their own, and the tokens of before count nowhere', async () => {
    const { id } = await copyTenant('moniker-lapsing')
    const session = await plantSession('moniker-lapsing')
    expect((await rename(id, 'moniker-lapsed')).status).toBe(200)
    await lapse('moniker-lapsing')
    // As the entry would say by itself, thirty days later.
    await master(sql`update platform.tenants set v = nextval('platform.registry_v') where id = ${id}`)
    await propagate({ env, config: settings(), meter: { master: 0 }, trace_id: 'a'.repeat(32) }, id)
    const made = await call('', '/platform/v1/tenants', {
      token,
      headers: { Prefer: 'wait=30' },
      body: wanted('moniker-lapsing'),
    })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect(made.body.database_name).toBe(`freehold_moniker_lapsing_${made.body.id.replaceAll('-', '').slice(0, 12)}`)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expectProblem(await me('moniker-lapsing', session.access_token), 401, 'token_wrong_tenant')
    expect((await login('moniker-lapsing')).token_type).toBe('Bearer')
    // It was remembered for ten seconds with the realm, and is no issuer any more.
    expectProblem(await me('moniker-lapsed', session.access_token), 401, 'token_invalid')
    vi.useRealTimers()
    expect((await call('', at(id), { token })).body.former_subdomains).toEqual([])
    expectProblem(await rename(id, 'moniker-lapsing'), 409, 'subdomain_taken')
  })

  it('is freed by the scheduled job: it is nobody’s, in the master, in KV and in the entry of its tenant', async () => {
    const { id } = await copyTenant('moniker-freed')
    expect((await rename(id, 'moniker-freed-2')).status).toBe(200)
    expect(await freeSubdomains(env, settings())).not.toContain('moniker-freed')
    await lapse('moniker-freed')
    expect(await freeSubdomains(env, settings())).toContain('moniker-freed')
    await reconcile(env, settings())
    expect(await master(sql`select from platform.subdomains where name = 'moniker-freed'`)).toEqual([])
    expect(await env.TENANTS.get(kvKey('moniker-freed'))).toBeNull()
    expect(await env.TENANTS.get(kvKey('moniker-freed-2'), 'json')).toMatchObject({ former_names: [] })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expectProblem(await call('moniker-freed', '/api/v1/auth/me'), 404, 'tenant_not_found')
    vi.useRealTimers()
    expect((await call('', at(id), { token })).body).toMatchObject({ subdomain: 'moniker-freed-2', former_subdomains: [] })
  })

  it('and the name of a tenant of an earlier release, which has no row yet, is noted by the job and kept all the same', async () => {
    const { id } = await copyTenant('moniker-earlier')
    await master(sql`delete from platform.subdomains where tenant_id = ${id}`)
    const other = await plantTenant('moniker-earlier-other')
    await master(sql`update platform.tenants set status = 'inactive' where id = ${other}`)
    expectProblem(await rename(other, 'moniker-earlier'), 409, 'subdomain_taken')
    await freeSubdomains(env, settings())
    expect(await master(sql`select until from platform.subdomains where tenant_id = ${id}`)).toEqual([{ until: null }])
    await master(sql`delete from platform.subdomains where tenant_id = ${id}`)
    expect((await rename(id, 'moniker-earlier-2')).body.former_subdomains).toMatchObject([{ subdomain: 'moniker-earlier' }])
    expectProblem(await rename(other, 'moniker-earlier'), 409, 'subdomain_taken')
  })
})
