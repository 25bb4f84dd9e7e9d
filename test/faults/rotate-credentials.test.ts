/**
 * Rotations of logins whose round trips are lost or refused one after another, while KV, the master or Postgres is away, or the Worker is
 * killed. Threat: a tenant without a login that works, or one that nobody knows of.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { rotateCredentials } from '../../src/tenants/rotations/credentials.ts'
import { afterKnown, expectOnePair, loginsOf, pairNames, shownLogins, tendLogins, turnLoginsNow } from '../support/credentials.ts'
import { databaseOf, master, refusalOf, settings } from '../support/databases.ts'
import { codes, settle } from '../support/doctor.ts'
import { pending, switchOn } from '../support/faults.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { strangersDatabase } from '../support/stranger.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await switchOn()
})

const SQL = { method: 'POST', path: '^/sql$' }

/** A rotation that was asked for, and on which nobody works yet. */
async function plant(id: string): Promise<string> {
  const rotation = crypto.randomUUID()
  await master(
    sql`update platform.tenants set move_id = ${rotation} where id = ${id} and move_id is null`,
    sql`insert into platform.credential_rotations (id, tenant_id, state, step, lease_until, trace_id) values (${rotation}, ${id}, 'running', 'logins', now(), ${'c'.repeat(32)})`,
  )
  return rotation
}
const stateOf = async (rotation: string) =>
  (await master(sql`select state, step, error from platform.credential_rotations where id = ${rotation}`))[0] ?? {}

async function expectWell(id: string, name: string, pair: 'a' | 'b') {
  await expectOnePair(id, name, pair)
  await settle(name)
  for (const check of ['registry', 'kv', 'work']) expect(await codes(check, name), check).toEqual([])
  expect((await call(name, '/.well-known/jwks.json')).status).toBe(200)
  expect(await refusalOf((await databaseOf(name)).app_url, sql`select 1`)).toBe('none')
}
/** Lets the scheduled job go on until it is over. */
async function untilOver(id: string, rotation: string): Promise<string> {
  for (let runs = 0; runs < 20; runs++) {
    await afterKnown(id)
    const { state } = await stateOf(rotation)
    if (state === 'done' || state === 'failed') return state
  }
  return String((await stateOf(rotation)).state)
}

/** Round trips of what follows the answer, until the former logins wait to be dropped. */
const TRIPS = 15
/** Those of the drop. */
const DROP_TRIPS = 5
const FAULTS: [string, number, Omit<Fault, 'match' | 'times'>][] = [
  ['is answered to nobody', 1, { kind: 'drop_after' }],
  ['is lost', 3, { kind: 'drop_before' }],
  ['is a 500', 4, { kind: 'status', status: 500, body: '{"message":"away"}', headers: { 'Content-Type': 'application/json' } }],
]
const places = (all: number, every: number) => Array.from({ length: all }, (_, i) => i).filter((i) => i % every === 0)
const afterTrips = (place: number, fault: Fault): Fault[] => [
  ...(place ? [{ match: SQL, times: place, kind: 'delay', ms: 1 } as const] : []),
  fault,
]

describe.each(FAULTS)('when one round trip %s', (what, every, fault) => {
  const name = `loglost-${what.replace(/\W+/g, '-')}`

  it.each(places(TRIPS, every))('that is number %i, the logins are rotated once', { timeout: 60_000 }, async (place) => {
    const subdomain = `${name}-${place}`
    const { id } = await copyTenant(subdomain)
    const rotation = await plant(id)
    await switchOn(...afterTrips(place, { match: SQL, times: 1, ...fault }))
    await rotateCredentials(env, settings(), rotation).catch(() => undefined)
    expect(await pending(), 'the fault happened').toEqual([])
    expect(await untilOver(id, rotation)).toBe('done')
    await expectWell(id, subdomain, 'b')
  })

  it.each(places(DROP_TRIPS, every))(
    'of the drop that is number %i, the former logins are dropped',
    { timeout: 60_000 },
    async (place) => {
      const subdomain = `${name}-drop-${place}`
      const { id } = await copyTenant(subdomain)
      const rotation = await plant(id)
      await rotateCredentials(env, settings(), rotation)
      await master(sql`update platform.credential_rotations set left_until = now() where id = ${rotation}`)
      await switchOn(...afterTrips(place, { match: SQL, times: 1, ...fault }))
      await rotateCredentials(env, settings(), rotation).catch(() => undefined)
      expect(await pending(), 'the fault happened').toEqual([])
      expect(await untilOver(id, rotation)).toBe('done')
      await expectWell(id, subdomain, 'b')
    },
  )
})

describe('when the Worker is killed', () => {
  it.each(['logins', 'prove', 'exchange', 'publish', 'drop'])(
    'at the step %s, the scheduled job goes on',
    { timeout: 60_000 },
    async (step) => {
      const subdomain = `logkilled-${step}`
      const { id } = await copyTenant(subdomain)
      const rotation = await plant(id)
      // A statement that never ends for this Worker: nothing after it happens, and its lease stays.
      const place = { logins: 1, prove: 8, exchange: 10, publish: 11, drop: 14 }[step] ?? 0
      await switchOn({ match: SQL, times: place, kind: 'delay', ms: 1 }, { match: SQL, times: 1_000, kind: 'drop_before' })
      await rotateCredentials(env, settings(), rotation).catch(() => undefined)
      await switchOn()
      await master(
        sql`update platform.credential_rotations set lease_until = now() + interval '2 minutes' where id = ${rotation}`,
      )
      await rotateCredentials(env, settings(), rotation)
      const { state } = await stateOf(rotation)
      expect(['running', 'leaving'], 'its lease has not run out').toContain(state)
      expect(await untilOver(id, rotation)).toBe('done')
      await expectWell(id, subdomain, 'b')
    },
  )
})

describe('when the logins are dropped so slowly that two minutes pass', () => {
  it('nobody else goes on with it, and no other rotation begins: what is dropped are not the logins of that one', {
    timeout: 60_000,
  }, async () => {
    const { id } = await copyTenant('logslow')
    const rotation = await plant(id)
    await rotateCredentials(env, settings(), rotation)
    await master(sql`update platform.credential_rotations set left_until = now() where id = ${rotation}`)
    // Neon's control plane is busy: the drop is waited for.
    await switchOn({ match: SQL, times: 8, kind: 'refuse_roles', status: 423 })
    const dropping = rotateCredentials(env, settings(), rotation)
    await vi.waitUntil(async () => ((await pending())[0]?.times ?? 0) < 8, { timeout: 10_000, interval: 20 })
    await master(
      sql`update platform.credential_rotations set lease_until = lease_until - interval '3 minutes' where id = ${rotation}`,
    )
    const attempts = () => master(sql`select attempts, state from platform.credential_rotations where id = ${rotation}`)
    const before = await attempts()
    await rotateCredentials(env, settings(), rotation)
    expect(await attempts()).toEqual(before)
    // Of one that is under way the same is answered.
    expect((await turnLoginsNow(id, token)).body.id).toBe(rotation)
    await switchOn()
    await dropping
    expect(await stateOf(rotation)).toMatchObject({ state: 'done' })
    await expectWell(id, 'logslow', 'b')
  })
})

describe('when it does not end', () => {
  it('the rotation fails with its step and the reason, nothing is left, and another one is done', {
    timeout: 60_000,
  }, async () => {
    const { id } = await copyTenant('logfail')
    const rotation = await plant(id)
    for (let tries = 0; tries < 5; tries++) {
      // Neon's control plane does not take the roles.
      const refused: Fault = {
        match: SQL,
        times: 100,
        kind: 'status',
        status: 500,
        body: '{"message":"the disk is full"}',
        headers: { 'Content-Type': 'application/json' },
      }
      await switchOn({ match: SQL, times: 6, kind: 'delay', ms: 1 }, refused)
      await rotateCredentials(env, settings(), rotation).catch(() => undefined)
      await switchOn()
      await master(sql`update platform.credential_rotations set lease_until = now() where id = ${rotation}`)
    }
    // The master was away, too: it counts the attempts that it knows of.
    for (let runs = 0; (await stateOf(rotation)).state === 'running' && runs < 3; runs++) {
      await master(
        sql`update platform.credential_rotations set state = 'failing', error = 'the disk is full' where id = ${rotation} and attempts >= 5`,
      )
    }
    await tendLogins(id)
    expect(await stateOf(rotation)).toMatchObject({
      state: 'failed',
      step: expect.stringMatching(/^(logins|prove)$/),
      error: expect.stringContaining('disk is full'),
    })
    await expectWell(id, 'logfail', 'a')
    expect((await turnLoginsNow(id, token)).status).toBe(202)
    await afterKnown(id)
    expect((await shownLogins(id, token)).state).toBe('done')
    await expectWell(id, 'logfail', 'b')
  })

  it('while KV is away both pairs work, and the former one is dropped three minutes after KV is back', {
    timeout: 60_000,
  }, async () => {
    const { id } = await copyTenant('logkv')
    const before = await databaseOf('logkv')
    const away = vi.spyOn(Object.getPrototypeOf(env.TENANTS), 'put').mockRejectedValue(new Error('KV is away.'))
    const rotation = await plant(id)
    await rotateCredentials(env, settings(), rotation)
    await afterKnown(id)
    await afterKnown(id)
    expect((await stateOf(rotation)).state).toBe('leaving')
    expect(await loginsOf(id, 'logkv')).toEqual([...pairNames(id, 'a'), ...pairNames(id, 'b')].sort())
    expect(await refusalOf(before.app_url, sql`select 1`)).toBe('none')
    expect((await call('logkv', '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    away.mockRestore()
    expect(await untilOver(id, rotation)).toBe('done')
    await expectWell(id, 'logkv', 'b')
  })
})

it('an adopted database has other logins of ours, and its own connection string as before', { timeout: 60_000 }, async () => {
  const { url } = await strangersDatabase('logforeign')
  const made = await call('', '/platform/v1/tenants/adopt', {
    token,
    headers: { Prefer: 'wait=30' },
    body: {
      subdomain: 'logforeign',
      legal_name: 'Foreign S.A.C.',
      tax_id: '20100066603',
      admin_email: 'bo@logforeign.test',
      environment: 'demo',
      connection_string: url,
    },
  })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const { id } = made.body
  expect((await turnLoginsNow(id, token)).status).toBe(202)
  await afterKnown(id)
  await expectOnePair(id, 'logforeign', 'b')
  expect(await refusalOf(url, sql`select 1`)).toBe('none')
  expect((await call('logforeign', '/.well-known/jwks.json')).status).toBe(200)
})
