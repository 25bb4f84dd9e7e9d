/**
 * Rotations of signing keys whose round trips are lost, while KV, the master or a tenant's database is away, or the Worker is killed.
 * Threat: a key that is used before all know it, one that never is, or two.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { newSigningKey } from '../../src/tenants/registry/keys.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { tendSigningKeys } from '../../src/tenants/rotations/signing.ts'
import { master, settings } from '../support/databases.ts'
import { codes, settle } from '../support/doctor.ts'
import { pending, switchOn } from '../support/faults.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

afterEach(async () => {
  vi.restoreAllMocks()
  await switchOn()
})

const SQL = { method: 'POST', path: '^/sql$' }
const turn = async (id: string, token: string) =>
  call('', `/platform/v1/tenants/${id}/rotate-signing-key`, { method: 'POST', token })
const tend = async () => {
  await tendSigningKeys(env, settings())
  await reconcile(env, settings())
}

/** One new key, with a time, known in KV, in the tenant's database and to the doctor; and people log in. */
async function expectWhole(id: string, name: string) {
  const keys = await master(
    sql`select kid, follows, use_from < now() + interval '181 seconds' as has_time from platform.signing_keys where realm_id = ${id} order by use_from`,
  )
  expect(keys).toEqual([
    { kid: expect.any(String), follows: null, has_time: true },
    { kid: expect.any(String), follows: keys[0]?.kid, has_time: true },
  ])
  const [row] = await master(sql`select v, published_v from platform.tenants where id = ${id}`)
  expect(row?.v).toBe(row?.published_v)
  const entry = await env.TENANTS.get<Entry>(kvKey(name), 'json')
  expect([entry?.v, entry?.signing_keys.map(({ kid }) => kid)]).toEqual([Number(row?.v), keys.map(({ kid }) => kid)])
  await settle(name)
  for (const check of ['registry', 'kv', 'work']) expect(await codes(check, name), check).toEqual([])
  expect((await call(name, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
}

/** Round trips to the master and to the tenant's database of a request that does all of it. */
const TRIPS = 11
const FAULTS: [string, Omit<Fault, 'match' | 'times'>][] = [
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is lost', { kind: 'drop_before' }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"away"}', headers: { 'Content-Type': 'application/json' } }],
]

describe.each(FAULTS)('when one round trip %s', (what, fault) => {
  it.each(Array.from({ length: TRIPS }, (_, i) => i))('that is number %i, the key is rotated once', async (place) => {
    const name = `signlost-${what.replace(/\W+/g, '-')}-${place}`
    const { id } = await copyTenant(name)
    const token = await operatorToken()
    await call('', `/platform/v1/tenants/${id}`, { token })
    const first: Fault[] = place ? [{ match: SQL, times: place, kind: 'delay', ms: 1 }] : []
    await switchOn(...first, { match: SQL, times: 1, ...fault })
    const answer = await turn(id, token)
    expect(await pending(), 'the fault happened').toEqual([])
    if (![200, 202].includes(answer.status)) expectProblem(answer, 503, 'database_unavailable')
    await tend()
    await tend()
    // Where nothing was begun this begins it; else it joins it.
    expect([200, 202]).toContain((await turn(id, token)).status)
    await tend()
    await expectWhole(id, name)
  })
})

it('while KV is away the new key has no time, and gets one three minutes after KV is back', async () => {
  const { id } = await copyTenant('signkv-away')
  const token = await operatorToken()
  const away = vi.spyOn(Object.getPrototypeOf(env.TENANTS), 'put').mockRejectedValue(new Error('KV is away.'))
  const answer = await turn(id, token)
  expect([answer.status, answer.body.used_from]).toEqual([202, null])
  await tend()
  expect((await turn(id, token)).body).toEqual(answer.body)
  const [row] = await master(
    sql`select max(use_from) > now() + interval '1 year' as never from platform.signing_keys where realm_id = ${id}`,
  )
  expect(row?.never).toBe(true)
  expect((await call('signkv-away', '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
  away.mockRestore()
  await tend()
  await tend()
  const again = await turn(id, token)
  expect([again.status, again.body.kid]).toEqual([200, answer.body.kid])
  await expectWhole(id, 'signkv-away')
})

it('while its database is away the new key has no time, and the scheduled job goes on', async () => {
  const { id } = await copyTenant('signdb-away')
  const token = await operatorToken()
  await call('', `/platform/v1/tenants/${id}`, { token })
  // The first round trip is the master's; all others fail.
  await switchOn({ match: SQL, times: 1, kind: 'delay', ms: 1 }, { match: SQL, times: 1_000, kind: 'drop_before' })
  expectProblem(await turn(id, token), 503, 'database_unavailable')
  await switchOn()
  await tend()
  await tend()
  await expectWhole(id, 'signdb-away')
})

it('when the Worker is killed after it published the key in the master, the scheduled job goes on', async () => {
  const { id } = await copyTenant('signkilled')
  const { kid, public_jwk, private_jwk } = await newSigningKey(settings(), id)
  await master(
    sql`insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from, follows)
        select ${kid}, ${id}, ${public_jwk}::jsonb, ${private_jwk}, '9999-01-01 00:00+00', k.kid from platform.signing_keys k where k.realm_id = ${id}`,
  )
  await tend()
  await tend()
  await expectWhole(id, 'signkilled')
})

it('of a tenant that is erased meanwhile no key is left', async () => {
  const { id } = await copyTenant('signerased')
  const token = await operatorToken()
  expect((await turn(id, token)).status).toBe(200)
  await call('', `/platform/v1/tenants/${id}?hard=true&confirm=signerased`, { method: 'DELETE', token })
  const left = () => master(sql`select from platform.signing_keys where realm_id = ${id}`)
  await vi.waitUntil(async () => (await left()).length === 0, { timeout: 60_000, interval: 100 })
  await tend()
  expect(await left()).toEqual([])
})
