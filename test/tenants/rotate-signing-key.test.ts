/**
 * Threat: a token that is signed with a key which those who verify it do not know, or whose key is gone before it ends; two keys of two
 * rotations at once; a private half that signs nothing more and can still be stolen.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { decrypt } from '../../src/kernel/keyring.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { tendSigningKeys } from '../../src/tenants/rotations/signing.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { type Isolate, openIsolate } from '../support/isolates.ts'
import { lateKv } from '../support/late-kv.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let made = 0
let name: string
let id: string
let operator: string

beforeAll(async () => {
  operator = await operatorToken()
})
/** Each test has a tenant that was never rotated. */
beforeEach(async () => {
  name = `signer-${++made}`
  ;({ id } = await copyTenant(name))
})
afterEach(() => vi.useRealTimers())

const turn = (whose = id, token = operator) =>
  call('', `/platform/v1/tenants/${whose}/rotate-signing-key`, { method: 'POST', token })
type Key = { kid: string; follows: string | null; use_from: string; published_until: string | null; private: unknown }
async function keys(): Promise<Key[]> {
  const rows = await master(sql`select * from platform.signing_keys where realm_id = ${id} order by use_from, created_at`)
  return Promise.all(
    rows.map(async (row) => ({
      ...(row as Key),
      private: JSON.parse(await decrypt(settings().ENCRYPTION_KEYS, id, `signing_key:${row.kid}`, row.private_jwk_encrypted)),
    })),
  )
}
const published = async () => (await call(name, '/.well-known/jwks.json')).body.keys.map(({ kid }: { kid: string }) => kid)
const kidOf = (token: string) => JSON.parse(atob(token.split('.')[0]?.replaceAll('-', '+').replaceAll('_', '/') ?? '')).kid
const logIn = (isolate?: Isolate) =>
  isolate ? isolate(name, '/api/v1/auth/login', { body: ADMIN }) : call(name, '/api/v1/auth/login', { body: ADMIN })
/** What happened so long ago, by the master's clock, which is not ours. */
const ago = async (minutes: number) => {
  const back = sql`make_interval(mins => ${minutes}::integer)`
  await master(
    sql`update platform.signing_keys set use_from = use_from - ${back}, published_until = published_until - ${back} where realm_id = ${id}`,
  )
  await reconcile(env, settings())
}
const tend = async () => {
  await tendSigningKeys(env, settings())
  await reconcile(env, settings())
}

describe('a rotation of the signing key', () => {
  it('publishes the new key at once, and signs with it three minutes later; tokens of the former one stay valid', async () => {
    const [first] = await keys()
    const before = (await logIn()).body.access_token
    const answer = await turn()
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(Object.keys(answer.body).sort()).toEqual(['kid', 'used_from'])
    const wait = (Date.parse(answer.body.used_from) - Date.now()) / 1000
    expect(wait).toBeGreaterThan(170)
    expect(wait).toBeLessThan(185)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect((await published()).sort()).toEqual([first?.kid, answer.body.kid].sort())
    const entry = await env.TENANTS.get<Entry>(kvKey(name), 'json')
    expect(entry?.signing_keys.map(({ kid }) => kid)).toEqual([first?.kid, answer.body.kid])
    const used_from = Date.parse(answer.body.used_from)
    vi.setSystemTime(used_from - 1000)
    expect(kidOf((await logIn()).body.access_token)).toBe(first?.kid)
    vi.setSystemTime(used_from + 1000)
    const after = (await logIn()).body.access_token
    expect(kidOf(after)).toBe(answer.body.kid)
    for (const token of [before, after]) expect((await call(name, '/api/v1/auth/me', { token })).status).toBe(200)
    const jwks = createLocalJWKSet((await call(name, '/.well-known/jwks.json')).body)
    for (const token of [before, after]) expect((await jwtVerify(token, jwks, { algorithms: ['ES256'] })).payload.tid).toBe(id)
    expectDiscreet(answer, (await keys())[1]?.private ? JSON.stringify((await keys())[1]?.private) : '-')
  })

  it('is in the platform’s audit with who asked, and without the private key', async () => {
    const { body } = await turn()
    const entries = await master(
      sql`select l.activity_type, l.action, d.user_name, d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_id = ${id} and l.action = 'rotate_signing_key'`,
    )
    expect(entries).toEqual([
      {
        activity_type: 'TENANT_UPDATED',
        action: 'rotate_signing_key',
        user_name: 'ada',
        before: null,
        after: { signing_key: body.kid },
      },
    ])
  })

  it('of twenty at once is one, and all are told the same', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => turn()))
    expect(new Set(answers.map(({ status }) => status)).size).toBeLessThanOrEqual(2)
    for (const { status } of answers) expect([200, 202]).toContain(status)
    expect(new Set(answers.map(({ body }) => body.kid)).size).toBe(1)
    const all = await keys()
    expect(all).toHaveLength(2)
    for (const { body } of answers.filter(({ status }) => status === 200))
      expect(Date.parse(body.used_from)).toBe(Date.parse(all[1]?.use_from ?? ''))
  })

  it('again before the new key is used joins it; after that it is refused for half an hour, and then makes another', async () => {
    const { body } = await turn()
    expect((await turn()).body).toEqual(body)
    await ago(4)
    const refused = await turn()
    expectProblem(refused, 409, 'illegal_state')
    expect(refused.body.detail).toMatch(/^The signing key that is used from 2.*Z is new: rotate it again half an hour later\.$/)
    await ago(30)
    const again = await turn()
    expect(again.status).toBe(200)
    expect(again.body.kid).not.toBe(body.kid)
    expect(await keys()).toHaveLength(3)
  })

  it('is refused with eight keys that are published', async () => {
    await master(
      sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
          select k.kid || n, k.realm_id, k.public_jwk, k.private_jwk_encrypted, k.use_from - make_interval(days => n) from platform.signing_keys k, generate_series(1, 7) n where k.realm_id = ${id}`,
    )
    const refused = await turn()
    expectProblem(refused, 409, 'illegal_state')
    expect(refused.body.detail).toMatch(/^Eight signing keys are published/)
    await master(sql`delete from platform.signing_keys where realm_id = ${id} and length(kid) > 16`)
  })

  it('is of an inactive tenant, too; not of one that is made, failed, deleted, or that is not there', async () => {
    await call('', `/platform/v1/tenants/${id}/deactivate`, { method: 'POST', token: operator })
    expect((await turn()).status).toBe(200)
    await call('', `/platform/v1/tenants/${id}/activate`, { method: 'POST', token: operator })
    expect(await published()).toHaveLength(2)
    await call('', `/platform/v1/tenants/${id}`, { method: 'DELETE', token: operator })
    expectProblem(await turn(), 409, 'illegal_state')
    expectProblem(await turn('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'), 404, 'not_found')
    expectProblem(await turn('nobody'), 400, 'invalid_request')
    for (const status of ['failed', 'provisioning'] as const) {
      const other = await plantTenant(`signer-${status}`, status)
      const refused = await turn(other)
      expectProblem(refused, 409, 'illegal_state')
      expect(refused.body.detail).toBe(`The tenant is ${status}.`)
      expect(await master(sql`select from platform.signing_keys where realm_id = ${other}`)).toEqual([])
    }
    await master(sql`update platform.tenants set status = 'failed' where subdomain = 'signer-provisioning'`)
  })
})

describe('where KV is late', () => {
  it('nobody signs with a key that another isolate does not know, at any moment', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const [late, here] = [await openIsolate(lateKv()), await openIsolate(env.TENANTS)]
    await plantSession(name)
    const start = Date.now()
    for (const isolate of [late, here]) expect((await logIn(isolate)).status).toBe(200)
    const { used_from } = (await turn()).body
    const kids = new Set<string>()
    for (const seconds of [0, 1, 30, 61, 119, 121, 170, 179, 182, 200, 240, 320]) {
      vi.setSystemTime(start + seconds * 1000)
      for (const isolate of [late, here]) {
        const { access_token } = (await logIn(isolate)).body
        kids.add(kidOf(access_token))
        for (const other of [late, here])
          expect((await other(name, '/api/v1/auth/me', { token: access_token })).status, `after ${seconds} s`).toBe(200)
      }
    }
    expect(Date.parse(used_from)).toBeLessThan(start + 200_000)
    expect(kids.size).toBe(2)
  })
})

describe('the former key', () => {
  it('loses its private half when it signs nothing more, and leaves when its last token has ended', async () => {
    const [first] = await keys()
    await turn()
    await tend()
    expect((await keys())[0]?.private).toMatchObject({ kty: 'EC' })
    await ago(9)
    await tend()
    expect((await keys())[0]?.private, 'it may sign somewhere').toMatchObject({ kty: 'EC' })
    await ago(5)
    await tend()
    const [former, newer] = await keys()
    expect(former).toMatchObject({ kid: first?.kid, private: null })
    expect(newer?.private).toMatchObject({ kty: 'EC' })
    // Tokens of this tenant live 15 minutes.
    const minutes = (Date.parse(former?.published_until ?? '') - Date.now()) / 60_000
    expect(minutes).toBeGreaterThan(19)
    expect(minutes).toBeLessThan(21)
    const isolate = await openIsolate(env.TENANTS)
    expect((await isolate(name, '/.well-known/jwks.json')).body.keys).toHaveLength(2)
    expect(kidOf((await logIn(isolate)).body.access_token)).toBe(newer?.kid)
    await ago(21)
    await tend()
    expect((await keys()).map(({ kid, follows }) => [kid, follows])).toEqual([[newer?.kid, null]])
    const entry = await env.TENANTS.get<Entry>(kvKey(name), 'json')
    expect(entry?.signing_keys.map(({ kid }) => kid)).toEqual([newer?.kid])
    const [row] = await master(sql`select v, published_v from platform.tenants where id = ${id}`)
    expect(row?.v).toBe(row?.published_v)
  })

  it('stays as long as the longest life that tokens had in the last week, also where it is shorter now', async () => {
    const { asOwner, owner_url } = await databaseOf(name)
    await rowsOf(owner_url, sql`set local role freehold_owner`, sql`update freehold.tenant set access_minutes = 10080`)
    await asOwner(sql`update freehold.tenant set access_minutes = 5`)
    await turn()
    await ago(14)
    await tend()
    const days = (Date.parse((await keys())[0]?.published_until ?? '') - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(6.9)
    expect(days).toBeLessThan(7.1)
  })

  it('is not destroyed while KV does not have the time of the new one, because it signs elsewhere', async () => {
    await turn()
    await ago(14)
    await master(sql`update platform.tenants set published_v = -1 where id = ${id}`)
    await tendSigningKeys(env, settings())
    expect((await keys())[0]?.private).toMatchObject({ kty: 'EC' })
    await tend()
    await tend()
    expect((await keys())[0]?.private).toBeNull()
  })
})
