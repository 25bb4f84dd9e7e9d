/** Threat: a rotation of keys ends sessions or fails requests, because one isolate uses the new keys and another the former ones. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { addPerson, inside } from '../support/inside.ts'
import { type Isolate, openIsolate } from '../support/isolates.ts'
import { lateKv } from '../support/late-kv.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let name: string
let made = 0
let id: string
let used_from: number

/** Each test has a tenant that was never rotated. */
beforeEach(async () => {
  name = `overlap-${++made}`
  ;({ id } = await copyTenant(name))
  vi.useFakeTimers({ toFake: ['Date'] })
})
afterEach(() => vi.useRealTimers())

async function rotate(): Promise<void> {
  const answer = await call('', `/platform/v1/tenants/${id}/rotate-keys`, { method: 'POST', token: await operatorToken() })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  used_from = Date.parse(answer.body.used_from)
}
/** Moves the clock of all isolates to so many seconds after the new keys are used. */
const at = (seconds: number) => vi.setSystemTime(used_from + seconds * 1000)
const refresh = (isolate: Isolate, refresh_token: string) => isolate(name, '/api/v1/auth/refresh', { body: { refresh_token } })
const realmNow = async () => (await lookUp({ env, config: settings(), meter: { master: 0 } }, name, true))?.realm

describe('the keys of a realm', () => {
  it('are the former ones until the new ones are used, and for a day after both are known', async () => {
    const first = await realmNow()
    expect(first?.other_refresh_key).toBeNull()
    await rotate()
    const soon = await realmNow()
    expect([soon?.refresh_key, soon?.system_key]).toEqual([first?.refresh_key, first?.system_key])
    at(1)
    const next = await realmNow()
    expect([next?.refresh_key, next?.other_refresh_key]).toEqual([soon?.other_refresh_key, first?.refresh_key])
    expect(next?.refresh_key).not.toBe(first?.refresh_key)
    expect(next?.system_key).not.toBe(first?.system_key)
    expect((await databaseOf(name)).system_key).toBe(next?.system_key)
    at(23 * 3600)
    expect((await realmNow())?.other_refresh_key).toBe(first?.refresh_key)
    at(25 * 3600)
    expect(await realmNow()).toMatchObject({ refresh_key: next?.refresh_key, other_refresh_key: null })
  })

  it('are known where KV is late before anybody uses the new ones', async () => {
    const late = lateKv()
    const isolate = await openIsolate(late)
    const { refresh_token } = await plantSession(name)
    expect((await refresh(isolate, refresh_token)).status).toBe(200)
    await rotate()
    at(-1)
    expect((await isolate(name, '/.well-known/jwks.json')).status).toBe(200)
    at(2)
    const here = await plantSession(name)
    const successor = (await refresh(await openIsolate(env.TENANTS), here.refresh_token)).body.refresh_token
    expect((await refresh(isolate, here.refresh_token)).body).toMatchObject({ refresh_token: successor })
  })
})

describe('a refresh token that two tabs exchange', () => {
  it.each([
    ['the former', 'the new'],
    ['the new', 'the former'],
  ])('one where %s key is used, one where %s, gives both the same successor', async (first) => {
    await rotate()
    const [old, fresh] = [await openIsolate(env.TENANTS), await openIsolate(env.TENANTS)]
    const { refresh_token } = await plantSession(name)
    at(-1)
    // What it knows is remembered for ten seconds.
    expect((await old(name, '/.well-known/jwks.json')).status).toBe(200)
    at(2)
    const tabs = first === 'the former' ? [old, fresh] : [fresh, old]
    const answers = []
    for (const tab of tabs) answers.push(await refresh(tab, refresh_token))
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(answers[1]?.body.refresh_token).toBe(answers[0]?.body.refresh_token)
    at(60)
    const next = await refresh(old, answers[0]?.body.refresh_token)
    expect(next.status).toBe(200)
    const replayed = await refresh(old, refresh_token)
    expect([replayed.status, replayed.body.code]).toEqual([401, 'refresh_reused'])
  })

  it('before and after the rotation gives both the same successor', async () => {
    const { refresh_token } = await plantSession(name)
    const first = await call(name, '/api/v1/auth/refresh', { body: { refresh_token } })
    await rotate()
    at(12)
    const second = await call(name, '/api/v1/auth/refresh', { body: { refresh_token } })
    expect([first.status, second.status]).toEqual([200, 200])
    expect(second.body.refresh_token).toBe(first.body.refresh_token)
    expect(second.trips).toBe(1)
  })

  it('is recognised under no other key than those two', async () => {
    const realm = await inside(name)
    const { refresh_token, session_id } = await plantSession(name)
    expect((await call(name, '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
    // As if a key that is neither of the two had made the successor.
    await realm.asOwner(
      sql`update freehold.refresh_tokens set successor_hash = sha256('another') where session_id = ${session_id} and used_at is not null`,
      sql`update freehold.refresh_tokens set token_hash = sha256('another') where session_id = ${session_id} and used_at is null`,
    )
    const answer = await call(name, '/api/v1/auth/refresh', { body: { refresh_token } })
    expect([answer.status, answer.body.code]).toEqual([401, 'refresh_reused'])
  })
})

describe('what was begun before a rotation goes on after it:', () => {
  it('a request that is repeated with its Idempotency-Key is answered once', async () => {
    const token = await tokenOf(name)
    const make = (label: string, at = name) =>
      call(at, '/api/v1/units', {
        token,
        headers: { 'Idempotency-Key': 'once-and-again' },
        body: { kind: 'department', name: label },
      })
    const first = await make('Laboratory')
    expect(first.status).toBe(201)
    await rotate()
    at(12)
    const again = await make('Laboratory')
    expect([again.status, again.body.id, again.headers.get('Idempotency-Replayed')]).toEqual([201, first.body.id, 'true'])
    const other = await make('Warehouse')
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_mismatch'])
  })

  it('a list is read on from its cursor', async () => {
    const realm = await inside(name)
    await addPerson(realm, 'cy')
    const token = await tokenOf(name)
    const { next_cursor } = (await call(name, '/api/v1/users?limit=1', { token })).body
    expect(next_cursor).toEqual(expect.any(String))
    await rotate()
    at(12)
    expect((await call(name, `/api/v1/users?limit=1&cursor=${next_cursor}`, { token })).body.data).toHaveLength(1)
    const forged = await call(
      name,
      `/api/v1/users?limit=1&cursor=${next_cursor.slice(0, -1)}${next_cursor.endsWith('A') ? 'B' : 'A'}`,
      { token },
    )
    expect([forged.status, forged.body.code]).toEqual([400, 'invalid_cursor'])
  })
})

describe('under load', () => {
  it('no request fails while a tenant is rotated, and none after it: logins, refreshes by two tabs, lists, changes', async () => {
    const realm = await inside(name)
    // One isolate may log in many times while a request of the other is on its way: no session ends because there are too many.
    await realm.asOwner(sql`update freehold.tenant set max_sessions = 1000`)
    const [one, other] = [await openIsolate(env.TENANTS), await openIsolate(lateKv())]
    const failures: string[] = []
    const counts = { answers: 0, rounds: 0 }
    let is_over = false
    const note = ({ status, body }: { status: number; body: any }) => {
      counts.answers++
      if (status >= 300) failures.push(`${status} ${JSON.stringify(body)}`)
      return body
    }
    const work: ((round: number) => Promise<unknown>)[] = []
    for (const isolate of [one, other]) {
      let token = (await plantSession(name)).access_token
      work.push(
        async () => {
          token = note(await isolate(name, '/api/v1/auth/login', { body: ADMIN })).access_token ?? token
        },
        async () => note(await isolate(name, '/api/v1/auth/me', { token })),
        async () => note(await isolate(name, '/api/v1/users', { token })),
        async (round) =>
          note(
            await isolate(name, '/api/v1/units', { token, body: { kind: 'team', name: `Team ${round} ${crypto.randomUUID()}` } }),
          ),
      )
    }
    await addPerson(realm, 'cy')
    let chain = (await plantSession(name, 'cy')).refresh_token
    work.push(async () => {
      const tabs = await Promise.all([one, other].map((tab) => refresh(tab, chain)))
      const [first, second] = tabs.map(note)
      if (first.refresh_token !== second.refresh_token) failures.push('two tabs have different tokens')
      chain = first.refresh_token ?? chain
    })
    const loops = work.map(async (turn) => {
      for (let round = 0; !is_over; round++) {
        await turn(round)
        counts.rounds++
      }
    })
    const rounds = async (more: number) => {
      const until = counts.rounds + more
      await vi.waitUntil(() => counts.rounds >= until, { timeout: 60_000, interval: 20 })
    }
    await rounds(30)
    await rotate()
    await rounds(30)
    for (const seconds of [-150, -60, -2, 0, 1, 5, 9, 11, 60]) {
      at(seconds)
      await rounds(20)
    }
    is_over = true
    await Promise.all(loops)
    expect(failures.slice(0, 5)).toEqual([])
    expect(counts.answers).toBeGreaterThan(240)
  }, 180_000)
})
