/** Threat: a route that a key reaches though it does not name what the route asks for; a setting by which a key hands itself more. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { PNG } from '../settings/images.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type KeyCast, keyCast } from './cast.ts'

let here: KeyCast
beforeAll(async () => {
  here = await keyCast('key-attack')
})

type Route = { method: string; path: string; permission: string; credential: string; body: unknown; type: string }
type Schema = { $ref?: string; type?: string; properties?: Record<string, Schema>; required?: string[]; [more: string]: any }

/** What a route takes, as little of it as it takes. */
const WRITTEN: Record<string, unknown> = {
  email: 'zoe@x.test',
  new_email: 'zoe@x.test',
  permission: 'unit:read',
  name: 'thing',
  kind: 'team',
  activity_type: 'THING_DONE',
  effect: 'deny',
  code: '123456',
  after: 0,
  ends_at: '2999-01-01T00:00:00Z',
  checks: [{ permission: 'unit:read' }],
  permissions: ['unit:read'],
}

/** Where a document does not say all. */
const BESIDE: Record<string, object> = {
  '/audiences': { identifier: 'urn:example:api' },
  '/permissions': { name: 'thing:read' },
  '/delegations': { permissions: ['unit:read'] },
  '/competency-types': { kind: 'training' },
  '/competencies': { level: 3, issued_at: '2026-01-15' },
  '/webhooks': { url: 'https://hooks.acme.example' },
  '/hooks': { url: 'https://hooks.acme.example' },
  '/settings/providers': { type: 'oidc', issuer: 'https://id.acme.example' },
}

function sampleOf(schema: Schema, all: Record<string, Schema>, name = ''): unknown {
  const known = schema.$ref ? (all[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema
  if (known.properties)
    return Object.fromEntries((known.required ?? []).map((key) => [key, sampleOf(known.properties?.[key] ?? {}, all, key)]))
  if (name === 'permissions' && known.items?.properties) return [{ permission: 'unit:read', scope: 'own' }]
  if (known.format === 'uuid') return crypto.randomUUID()
  if (name in WRITTEN) return WRITTEN[name]
  if (known.enum) return known.enum[0]
  return known.type === 'array' ? [] : known.type === 'boolean' ? true : 'thing'
}

async function routes(prefix: string): Promise<Route[]> {
  const document = (await (await exports.default.fetch('http://freehold.test/openapi.json')).json()) as any
  return Object.entries<Record<string, any>>(document.paths)
    .filter(([path]) => path.startsWith(prefix))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => {
        const [[type = '', content] = []] = Object.entries<any>(operation.requestBody?.content ?? {})
        return {
          method: method.toUpperCase(),
          path: path
            .slice('/api/v1'.length)
            .replace('{name}', 'unit:read')
            .replace('{permission}', 'unit:read')
            .replace(/\{[^}]+\}/g, () => crypto.randomUUID()),
          permission: operation['x-permission'],
          credential: operation['x-credential'],
          type,
          body: content && sampleOf(content.schema, document.components.schemas),
        }
      }),
    )
    .filter(({ credential }) => credential !== undefined)
}

/** Asks a route with a key. */
const knock = ({ method, path, type, body }: Route, key: { key: string }) => {
  const asked: Record<string, string> = {
    '/delegations/substitute': `?permission=unit:read&user_id=${crypto.randomUUID()}`,
    '/activities/export': '?format=csv',
    '/employees/headcount': '?from=2026-01-01&to=2026-01-02',
  }
  const url = `${path}${asked[path] ?? ''}`
  const whole = typeof body === 'object' ? { ...body, ...BESIDE[path] } : body
  const raw = type.startsWith('image/') ? PNG : JSON.stringify(whole)
  const sent = whole === undefined ? {} : { raw, headers: { 'Content-Type': type } }
  return call('key-attack', `/api/v1${url}`, { method, token: key.key, ...sent })
}

describe('of all routes that the document names', () => {
  it('a key reaches none whose permission it does not name, though it names all others', async () => {
    const closed = (await routes('/api/v1')).filter(
      ({ permission, credential }) => permission !== 'any' && credential !== 'session',
    )
    expect(closed.length).toBeGreaterThan(50)
    const held: string[] = (await here.ask('/auth/whoami')).body.permissions
    const wrong: string[] = []
    for (const [permission, same] of Map.groupBy(closed, (route) => route.permission)) {
      const others = held.filter((name) => name !== permission).slice(0, 99)
      const named = ['unit:read', 'user:read'].filter((name) => name !== permission)
      const key = await here.made([...new Set([...named, ...others])].slice(0, 100))
      for (const route of same) {
        const { status, body } = await knock(route, key)
        if (status !== 403 || body.detail !== `This API key does not include ${permission}.`)
          wrong.push(`${route.method} ${route.path}: ${status} ${JSON.stringify(body)}`)
      }
      await here.ask(`/api-keys/${key.id}`, { method: 'DELETE' })
    }
    expect(wrong).toEqual([])
  })

  it('a key reaches none that is for who logged in, whatever it names', async () => {
    const own = (await routes('/api/v1')).filter(({ credential }) => credential === 'session')
    const key = await here.made((await here.ask('/auth/whoami')).body.permissions.slice(0, 100))
    const wrong: string[] = []
    for (const route of own) {
      const { status, body } = await knock(route, key)
      if (status !== 403 || !/API key/.test(body.detail)) wrong.push(`${route.method} ${route.path}: ${status}`)
    }
    expect(own.length).toBeGreaterThan(12)
    expect(wrong).toEqual([])
  })

  it('five ask for no permission: who the key is of, and what it may', async () => {
    const free = (await routes('/api/v1')).filter(({ permission, credential }) => permission === 'any' && credential === 'any')
    expect(free.map(({ method, path }) => `${method} ${path}`).toSorted()).toEqual([
      'GET /auth/me',
      'GET /auth/me/avatar',
      'GET /auth/whoami',
      'GET /users/me',
      'POST /authz/check',
    ])
  })
})

describe('registration', () => {
  const set = (body: object, token?: string) => here.ask('/settings', { method: 'PATCH', body, ...(token && { token }) })
  const off = { registration: false, registration_role: null, registration_domains: [] }

  it('is not opened with a key that does not name what strangers will be given', async () => {
    await set(off)
    await here.role('guest', { 'unit:read': 'own' })
    const key = await here.made(['setting:update', 'setting:read'])
    const by = (body: object) => here.by(key, '/settings', { method: 'PATCH', body })
    expectProblem(await by({ registration: true }), 403, 'forbidden', 'with the fallback')
    expectProblem(await by({ registration: true, registration_role: 'admin' }), 403, 'forbidden', 'as administrators')
    expect((await by({ max_failures: 6 })).status).toBe(200)
    const enough = await here.made(['setting:update', 'unit:read'])
    expect(
      (await here.by(enough, '/settings', { method: 'PATCH', body: { registration: true, registration_role: 'guest' } })).status,
    ).toBe(200)
  })

  it('as somebody else opened it is not opened to other addresses by who does not hold the role', async () => {
    const clerk = await here.member('clerk', { can: { 'setting:update': 'all', 'setting:read': 'all' } })
    expect((await set({ registration: true, registration_role: 'admin', registration_domains: ['acme.test'] })).status).toBe(200)
    expectProblem(await set({ registration_domains: ['evil.test'] }, clerk.token), 403, 'forbidden', 'another domain')
    expectProblem(await set({ registration_domains: [] }, clerk.token), 403, 'forbidden', 'all domains')
    expect((await set({ registration: false }, clerk.token)).status, 'closing is for everybody').toBe(200)
    expect((await set({ registration_domains: ['acme.test'] }, clerk.token)).status, 'while it is closed').toBe(200)
    expectProblem(await set({ registration: true }, clerk.token), 403, 'forbidden', 'opening')
  })

  it('goes on with the same role when that is renamed, and no other role takes its name’s place', async () => {
    const guest = await here.role('visitor', { 'unit:read': 'own' })
    const might = await here.role('might', { 'user:delete': 'all' })
    expect((await set({ registration: true, registration_role: 'visitor', registration_domains: [] })).status).toBe(200)
    const rename = (id: string, name: string) => here.ask(`/roles/${id}`, { method: 'PATCH', body: { name } })
    expect((await rename(guest, 'once visitor')).status).toBe(200)
    expect((await rename(might, 'visitor')).status).toBe(200)
    expect((await here.ask('/settings')).body.registration_role).toBe('once visitor')
    expectProblem(await here.ask(`/roles/${guest}`, { method: 'DELETE' }), 409, 'in_use', 'strangers get it')
    await set(off)
    expect((await here.ask(`/roles/${guest}`, { method: 'DELETE' })).status).toBe(204)
  })
})

describe('an address list', () => {
  it('says of what is no network that it is none', async () => {
    for (const wrong of ['300.1.1.1', '10.0.0.0/33', '2001:db8::/129', '1.2.3', '::ffff:10.0.0.0/200', ':::', '1.2.3.4.5']) {
      const answer = await here.ask('/api-keys', {
        body: { name: 'x', permissions: ['unit:read'], addresses: ['192.0.2.1', wrong] },
      })
      expectProblem(answer, 400, 'invalid_request', wrong)
      expect(pointers(answer)).toEqual(['#/addresses/1'])
      expect(answer.body.errors[0].detail, wrong).toMatch(/^must be an address or a network/)
    }
  })

  it('lets in who comes from it in any form, and nobody whose address is unknown or is a network', async () => {
    const key = await here.made(['unit:read'], { addresses: ['::ffff:192.0.2.0/120', '2001:db8:1::/48', '198.51.100.7'] })
    expect(key.addresses).toEqual(['192.0.2.0/24', '198.51.100.7', '2001:db8:1::/48'])
    const from = async (address: string | null) =>
      (await here.by(key, '/units', { headers: address === null ? {} : { 'CF-Connecting-IP': address } })).status
    for (const inside of [
      '192.0.2.9',
      '::ffff:192.0.2.9',
      '::ffff:c000:209',
      '2001:DB8:1:0::5',
      '2001:db8:0001::',
      '198.51.100.7',
    ])
      expect(await from(inside), inside).toBe(200)
    const outside = [
      '192.0.3.9',
      '2001:db8:2::1',
      '198.51.100.8',
      '::192.0.2.9',
      '64:ff9b::c000:209',
      '192.0.2.0/24',
      '0.0.0.0/0',
      '::/0',
    ]
    for (const other of [null, '', 'garbage', '192.0.2.9, 10.0.0.1', 'fe80::1%eth0', ...outside])
      expect(await from(other), String(other)).toBe(403)
  })
})

describe('an owner', () => {
  it('who is deactivated, has no role, or loses what the key names, opens nothing with it', async () => {
    const kim = await here.member('kim', { can: { 'unit:read': 'all' } })
    const key = await here.made(['unit:read'], {}, kim.token)
    const status = async () => (await here.by(key, '/units')).status
    expect(await status()).toBe(200)
    await here.ask(`/users/${kim.id}/deactivate`, { method: 'POST' })
    expectProblem(await here.by(key, '/units'), 403, 'user_inactive')
    await here.ask(`/users/${kim.id}/reactivate`, { method: 'POST' })
    expect(await status()).toBe(200)
    await here.ask(`/users/${kim.id}/overrides`, { body: { permission: 'unit:read', effect: 'deny' } })
    expectProblem(await here.by(key, '/units'), 403, 'forbidden')
    await here.realm.asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${kim.id}`)
    expectProblem(await here.by(key, '/auth/me'), 403, 'user_inactive')
  })
})

describe('a credential', () => {
  it('is one: a key beside a token, a cookie’s account or another key is refused, and a key is none in a body, query or cookie', async () => {
    const key = await here.made(['unit:read'])
    const asked = (headers: Record<string, string>, path = '/units') => call('key-attack', `/api/v1${path}`, { headers })
    const both = { 'X-API-Key': key.key, Authorization: `Bearer ${here.bo.token}` }
    for (const headers of [
      both,
      { 'X-API-Key': key.key, Authorization: `Bearer ${key.key}` },
      { 'X-API-Key': `${key.key}, ${key.key}` },
      { 'X-API-Key': key.key, 'X-Account': here.bo.id },
    ])
      expectProblem(await asked(headers as Record<string, string>), 400, 'credentials_ambiguous')
    expectProblem(await asked({ Cookie: `__Host-fh_a_${here.bo.id}=${key.key}` }), 401, 'token_invalid')
    expectProblem(await asked({ Cookie: `X-API-Key=${key.key}` }), 401, 'token_missing')
    expectProblem(await asked({ Authorization: `Basic ${btoa(`${key.key}:`)}` }), 401, 'token_invalid')
    expect((await asked({}, `/units?api_key=${key.key}`)).status).not.toBe(200)
    const cookie = { Cookie: `__Host-fh_a_${here.bo.id}=${here.bo.token}` }
    expect((await asked({ ...cookie, 'X-API-Key': key.key }, '/auth/whoami')).body.api_key.id, 'the one that was meant').toBe(
      key.id,
    )
  })
})

describe('a rotation', () => {
  it('of a key that works until the last moment that can be written makes one that does, too', async () => {
    const expires_at = '9999-12-31T23:59:59.999999Z'
    const last = await here.made(['unit:read'], { expires_at })
    const { status, body } = await here.ask(`/api-keys/${last.id}/rotate`, { body: {} })
    expect([status, body.expires_at]).toEqual([201, expires_at])
    expect((await here.by(body, '/auth/whoami')).status).toBe(200)
  })

  it('of a key that never expires makes one that never does', async () => {
    const { body } = await here.ask(`/api-keys/${(await here.made(['unit:read'], { expires_at: null })).id}/rotate`, { body: {} })
    expect(body.expires_at).toBeNull()
  })
})

describe('an operator’s keys', () => {
  it('are seen and revoked by another who looks after keys, as a tenant’s are', async () => {
    const token = await operatorToken()
    const at = (path: string, more = {}) => call('', `/platform/v1${path}`, { token, ...more })
    const made = (await at('/api-keys', { body: { name: 'leaked', permissions: ['tenant:read'] } })).body
    const me = (await at('/auth/me')).body.sub
    const listed = await at(`/operators/${me}/api-keys`)
    expect(listed.body.data.map(({ id }: { id: string }) => id)).toContain(made.id)
    expectProblem(await at(`/operators/${me}/api-keys`, { token: made.key }), 403, 'forbidden')
    expect((await at(`/operators/${me}/api-keys/${made.id}`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await at('/tenants', { token: made.key }), 401, 'token_invalid')
  })
})
