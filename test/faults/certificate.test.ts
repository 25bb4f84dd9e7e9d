/**
 * Certificates of erasures. Threat: an erasure that nobody can prove, one that is certified and did not happen, two certificates of one
 * erasure, and a certificate that keeps what was to be erased.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { compactVerify, createLocalJWKSet, decodeJwt, decodeProtectedHeader } from 'jose'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { erase, eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { checkpointAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { switchOn } from '../support/faults.ts'
import { call, login, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { makeIsolated } from '../support/stranger.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})
afterEach(() => switchOn())

const path = (id: string) => `/platform/v1/tenants/${id}/certificate`
const certificateOf = (id: string) => call('', path(id), { token })
const mark = (id: string) => master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${id}`)
const left = async (id: string) => (await master(sql`select from platform.tenants where id = ${id}`)).length
const gone = (id: string) => vi.waitUntil(async () => !(await left(id)), { timeout: 60_000, interval: 50 })

/** What a certificate says, if the platform's published keys verify it. */
async function verified(certificate: string): Promise<any> {
  const { body } = await call('', '/platform/v1/.well-known/jwks.json')
  const { payload, protectedHeader } = await compactVerify(certificate, createLocalJWKSet(body), { algorithms: ['ES256'] })
  expect(protectedHeader.typ).toBe('freehold-erasure+jwt')
  return JSON.parse(new TextDecoder().decode(payload))
}

/** Certificates of a tenant, in their table and in the audit of the platform. */
const counted = async (id: string) =>
  (
    await master(sql`select (select count(*)::integer from platform.erasure_certificates c where c.tenant_id = ${id}) as kept,
      (select count(*)::integer from freehold.audit_log l where l.resource_type = 'erasure_certificate' and l.resource_id = ${id}) as audited`)
  )[0]

/** Goes on with an erasure as the scheduled job does when the lease has run out. */
async function goOn(id: string): Promise<void> {
  for (let tries = 0; tries < 5 && (await left(id)); tries++) {
    await master(sql`update platform.tenants set erasing_until = now() where id = ${id}`)
    await eraseStale(env as never, settings())
  }
}

describe('an erasure', () => {
  it.each(['database', 'branch', 'project', 'external'])(
    'of isolation %s says what it destroyed, for whom, and up to where the audit went',
    async (isolation) => {
      const name = `certified-${isolation}`
      const { id } = await makeIsolated(name, isolation, token)
      await login(name)
      await vi.waitUntil(async () => {
        await checkpointAudit(settings(), name)
        return (await master(sql`select from platform.audit_heads where realm_id = ${id}`)).length
      }, 60_000)
      expectProblem(await certificateOf(id), 404, 'not_found')
      const { app_url, owner_url, name: database } = await databaseOf(name)
      const [row] = await master(
        sql`select t.tax_id, t.legal_name, t.admin_email, t.branch_id, h.project_id, h.branch_id as main, a.no, a.hash, a.entries::integer as entries,
            (select array_agg(k.kid) from platform.signing_keys k where k.realm_id = t.id) as kids
          from platform.tenants t join platform.hosts h on h.id = t.host_id join platform.audit_heads a on a.realm_id = t.id where t.id = ${id}`,
      )
      expect((await call('', `/platform/v1/tenants/${id}?hard=true&confirm=${name}`, { method: 'DELETE', token })).status).toBe(
        202,
      )
      await gone(id)
      const { status, body } = await certificateOf(id)
      expect([status, body.tenant_id, body.subdomain]).toEqual([200, id, name])
      const said = await verified(body.certificate)
      const own = { branch: [row?.branch_id], project: [row?.main] }[isolation] ?? []
      expect(said).toMatchObject({
        iss: 'http://freehold.test',
        sub: id,
        tenant: { id, subdomain: name, isolation },
        destroyed: {
          project: isolation === 'project' ? row?.project_id : null,
          branches: own,
          database: isolation === 'external' ? null : database,
          schemas: ['access', 'freehold'],
          logins: [new URL(app_url).username, new URL(owner_url).username],
          signing_keys: row?.kids,
          kv: [`tenant:${name}`],
        },
        left: null,
        requested_by: decodeJwt(token).sub,
        audit_checkpoint: { no: row?.no, hash: row?.hash, entries: row?.entries },
      })
      expect(Date.parse(said.requested_at)).toBeLessThanOrEqual(Date.parse(said.erased_at))
      for (const personal of [row?.tax_id, row?.legal_name, row?.admin_email, 'ada', new URL(owner_url).password])
        expect(JSON.stringify(said)).not.toContain(personal)
      expect(await counted(id)).toEqual({ kept: 1, audited: 1 })
    },
  )

  it('of a tenant that was renamed leaves no name of it in KV, and names them all', async () => {
    const { id } = await copyTenant('certified-before')
    const renamed = await call('', `/platform/v1/tenants/${id}`, {
      method: 'PATCH',
      token,
      body: { subdomain: 'certified-after' },
    })
    expect(renamed.status).toBe(200)
    const names = ['tenant:certified-after', 'tenant:certified-before']
    for (const name of names) expect(await env.TENANTS.get(name)).not.toBeNull()
    await mark(id)
    await erase(env as never, settings(), id, 'a'.repeat(32))
    for (const name of names) expect(await env.TENANTS.get(name)).toBeNull()
    expect((await verified((await certificateOf(id)).body.certificate)).destroyed.kv).toEqual(names)
  })

  it('that left a database alone, which is somebody else’s, does not say that it destroyed it', async () => {
    const { id } = await copyTenant('certified-mistaken')
    const { asOwner, name } = await databaseOf('certified-mistaken')
    await asOwner(sql`update freehold.tenant set id = gen_random_uuid()`)
    await mark(id)
    await erase(env as never, settings(), id, 'a'.repeat(32))
    const said = await verified((await certificateOf(id)).body.certificate)
    expect(said).toMatchObject({ left: name, destroyed: { database: null, schemas: [], logins: [] }, requested_by: null })
  })
})

describe('what is lost of an erasure', () => {
  // What it asks of the master and of the tenant's database, one after another; beyond the last nothing is lost.
  const places = Array.from({ length: 14 }, (_, place) => place)
  const lose = (place: number, ...then: Parameters<typeof switchOn>) =>
    switchOn({ match: { path: '^/sql$' }, times: place, kind: 'delay', ms: 0 }, ...then)

  it.each(places)('the answer to its request %i leaves one certificate', async (place) => {
    const { id } = await copyTenant(`uncertain-a${place}`)
    await mark(id)
    await lose(place, { match: { path: '^/sql$' }, times: 1, kind: 'drop_after' })
    await erase(env as never, settings(), id, 'a'.repeat(32)).catch(() => undefined)
    await switchOn()
    await goOn(id)
    expect(await counted(id)).toEqual({ kept: 1, audited: 1 })
    expect((await verified((await certificateOf(id)).body.certificate)).sub).toBe(id)
  })

  it.each(places)('a Worker that is killed at its request %i leaves one certificate', async (place) => {
    const { id } = await copyTenant(`uncertain-k${place}`)
    await mark(id)
    await lose(
      place,
      { match: { path: '^/sql$' }, times: 1, kind: 'drop_after' },
      { match: { path: '' }, times: 1000, kind: 'drop_before' },
    )
    await erase(env as never, settings(), id, 'a'.repeat(32)).catch(() => undefined)
    await switchOn()
    await goOn(id)
    expect(await counted(id)).toEqual({ kept: 1, audited: 1 })
  })

  it('is certified by nobody while KV or Neon is away, and once afterwards', async () => {
    const { id } = await copyTenant('uncertain-kv')
    await mark(id)
    const TENANTS = new Proxy(env.TENANTS, {
      get: (kv, name) => (name === 'delete' ? () => Promise.reject(new Error('KV is away')) : Reflect.get(kv, name).bind(kv)),
    })
    await erase({ ...(env as never as object), TENANTS } as never, settings(), id, 'a'.repeat(32))
    expect([await left(id), await counted(id)]).toEqual([1, { kept: 0, audited: 0 }])
    await switchOn({ match: { method: 'DELETE', path: '/databases/' }, times: 100, kind: 'status', status: 500 })
    await erase(env as never, settings(), id, 'a'.repeat(32))
    expect([await left(id), await counted(id)]).toEqual([1, { kept: 0, audited: 0 }])
    await switchOn()
    await goOn(id)
    expect(await counted(id)).toEqual({ kept: 1, audited: 1 })
  })

  it('twenty who erase at once leave one certificate', async () => {
    const { id } = await copyTenant('uncertain-many')
    await mark(id)
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        await master(sql`update platform.tenants set erasing_until = now() where id = ${id}`)
        await erase(env as never, settings(), id, 'a'.repeat(32))
      }),
    )
    await goOn(id)
    expect(await counted(id)).toEqual({ kept: 1, audited: 1 })
  })
})

describe('a certificate', () => {
  it('is for operators and auditors, and is of one tenant', async () => {
    const { id } = await copyTenant('certified-who')
    await copyTenant('certified-other')
    const foreign = (await plantSession('certified-other')).access_token
    await mark(id)
    await erase(env as never, settings(), id, 'a'.repeat(32))
    const reader = `certified-${crypto.randomUUID().slice(0, 8)}`
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${reader}, ${`${reader}@freehold.test`}, 'auditor')`,
    )
    expect((await call('', path(id), { token: await tokenOf('', reader) })).status).toBe(200)
    expectProblem(await call('', path(id)), 401, 'token_missing')
    expectProblem(await call('', path(id), { token: foreign }), 401, 'token_wrong_tenant')
    expectProblem(await call('certified-other', path(id), { token }), 404, 'not_found')
    expectProblem(await certificateOf(crypto.randomUUID()), 404, 'not_found')
    expectProblem(await certificateOf('x'), 400, 'invalid_request')
    expect((await call('', path(id), { method: 'POST', token, body: {} })).status).toBe(405)
  })

  it('is not taken for a token, nor a token for it', async () => {
    const { id } = await copyTenant('certified-token')
    await mark(id)
    await erase(env as never, settings(), id, 'a'.repeat(32))
    const { certificate } = (await certificateOf(id)).body
    expect(decodeProtectedHeader(certificate)).toMatchObject({ alg: 'ES256', typ: 'freehold-erasure+jwt' })
    expectProblem(await call('', '/platform/v1/auth/me', { token: certificate }), 401, 'token_invalid')
    const [head = '', body = '', seal = ''] = certificate.split('.')
    const forged = `${head}.${body.slice(0, -4)}${body.endsWith('AAAA') ? 'BBBB' : 'AAAA'}.${seal}`
    await expect(verified(forged)).rejects.toThrow()
  })
})
