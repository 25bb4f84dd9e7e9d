/** Threat: many logins at once open more sessions than the tenant may have; or sessions that are over keep others out. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { setLimits } from '../support/limits.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'limited-sessions'
const ALL = 50
let id: string
let realm: Inside

beforeAll(async () => {
  ;({ id } = await copyTenant(AT))
  realm = await inside(AT)
  for (let i = 0; i < ALL; i++) await addPerson(realm, `p${i}`)
})

const limit = (max_sessions: number | null) => setLimits(id, { max_sessions })
const enter = (i: number) => call(AT, '/api/v1/auth/login', { body: { username: `p${i}`, password: 'Violet-Anchor-38' } })
const leave = (token: string) => call(AT, '/api/v1/auth/logout', { token, method: 'POST' })
const LIVE = sql`select count(*)::integer as n from freehold.sessions s, freehold.tenant t where s.ended_at is null and access.session_ends(s, t) > now()`
const live = async () => Number((await realm.asOwner(LIVE))[0]?.n)
const all = <T>(count: number, make: (i: number) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, i) => make(i)))
const endAll = () =>
  realm.asOwner(sql`update freehold.sessions set ended_at = now(), ended_because = 'revoked' where ended_at is null`)

describe('max_sessions', () => {
  it('of fifty logins at once, of fifty people, for three places three succeed; who leaves makes room for one', async () => {
    await endAll()
    await limit(3)
    const answers = await all(ALL, enter)
    const entered = answers.filter(({ status }) => status === 200)
    expect(entered.length).toBe(3)
    expect(await live()).toBe(3)
    const refused = answers.find(({ status }) => status !== 200)
    if (refused) expectProblem(refused, 409, 'limit_reached')
    expect(refused?.body.detail).toBe('The limit max_sessions is reached: this tenant can have at most 3 sessions at once.')
    expect((await leave(entered[0]?.body.access_token)).status).toBe(204)
    expect([(await enter(7)).status, (await enter(8)).status]).toEqual([200, 409])
  })

  it('a refusal is no wrong password: it locks nobody, leaves no session, and the audit says why', async () => {
    for (let i = 0; i < 8; i++) expect((await enter(40)).status).toBe(409)
    const [row] = await realm.asOwner(
      sql`select count(*)::integer as n, min(d.after ->> 'reason') as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id join freehold.users u on u.id = l.user_id where u.username = 'p40' and l.activity_type = 'LOGIN_FAILED' and l.at > now() - interval '1 minute'`,
    )
    expect(row).toMatchObject({ reason: 'limit_reached' })
    expect(row?.n).toBeGreaterThanOrEqual(8)
    await endAll()
    expect((await enter(40)).status).toBe(200)
  })

  it('a login that ends another session of its user takes that place', async () => {
    await endAll()
    await limit(2)
    await realm.asOwner(sql`update freehold.users set max_sessions = 1 where username = 'p1'`)
    expect([(await enter(1)).status, (await enter(2)).status, (await enter(3)).status]).toEqual([200, 200, 409])
    expect((await enter(1)).status).toBe(200)
    expect(await live()).toBe(2)
  })

  it('one that was idle too long leaves its place, and one that was active since keeps it', async () => {
    await endAll()
    await limit(2)
    expect([(await enter(1)).status, (await enter(2)).status]).toEqual([200, 200])
    // Eight days later, of which one of the two was here for most.
    await realm.asOwner(
      sql`update freehold.sessions s set last_active_at = s.last_active_at - interval '8 days' from freehold.users u where u.id = s.user_id and u.username = 'p1' and s.ended_at is null`,
      sql`update access.session_places set free_from = now() - interval '1 day'`,
    )
    expect([(await enter(3)).status, (await enter(4)).status]).toEqual([200, 409])
    expect(await live()).toBe(2)
  })

  it('a shorter idle time takes effect on places at once', async () => {
    await endAll()
    await limit(1)
    expect((await enter(1)).status).toBe(200)
    await realm.asOwner(
      sql`update freehold.sessions set last_active_at = now() - interval '1 hour' where ended_at is null`,
      sql`update freehold.tenant set idle_minutes = 15`,
    )
    expect((await enter(2)).status).toBe(200)
    await realm.asOwner(sql`update freehold.tenant set idle_minutes = null`)
  })

  it('a longer idle time revives nobody whose place somebody else has', async () => {
    await endAll()
    await limit(2)
    const tokens = [(await enter(1)).body.access_token, (await enter(2)).body.access_token]
    await realm.asOwner(
      sql`update freehold.sessions set last_active_at = now() - interval '8 days' where ended_at is null`,
      sql`update access.session_places set free_from = now() - interval '1 day'`,
    )
    expect((await enter(3)).status).toBe(200)
    expect(await live()).toBe(1)
    await realm.asOwner(sql`update freehold.tenant set idle_days = 30`)
    // Of the two that were idle, the one whose place was free.
    expect(await live()).toBe(2)
    expect((await enter(4)).status).toBe(409)
    const still = await Promise.all(tokens.map((token) => call(AT, '/api/v1/auth/me', { token })))
    expect(still.map(({ status }) => status).sort()).toEqual([200, 401])
    await realm.asOwner(sql`update freehold.tenant set idle_days = 7`)
  })

  it('a longer idle time and the end of a session that has no place do not wait for each other', async () => {
    await endAll()
    await limit(1)
    expect((await enter(1)).status).toBe(200)
    await realm.asOwner(
      sql`update freehold.sessions set last_active_at = now() - interval '8 days' where ended_at is null`,
      sql`update access.session_places set free_from = now() - interval '1 day'`,
    )
    expect((await enter(2)).status).toBe(200)
    const until = (what: string) =>
      sql.raw(`do $$ begin for i in 1..200 loop exit when ${what}; perform pg_sleep(0.05); end loop; end $$`)
    const IS_HELD = `exists (select from pg_locks l where l.locktype = 'advisory' and l.objid = 4711)`
    // The longer idle time is there, or waits for the row of the session.
    const IS_SET = `exists (select from freehold.tenant t where t.idle_days = 30) or exists (select from pg_locks l where not l.granted and l.locktype = 'transactionid')`
    await Promise.all([
      realm.asOwner(
        sql`select s.id from freehold.sessions s where s.ended_at is null for update`,
        sql`select pg_advisory_xact_lock(4711)`,
        until(IS_SET),
        sql`update freehold.sessions set ended_at = now(), ended_because = 'revoked' where ended_at is null`,
      ),
      realm.asOwner(until(IS_HELD), sql`update freehold.tenant set idle_days = 30`),
    ])
    expect(await live()).toBe(0)
    await realm.asOwner(sql`update freehold.tenant set idle_days = 7`)
  })

  it('below what there is lets nobody in until enough have left', async () => {
    await endAll()
    await limit(5)
    const tokens = (await all(5, enter)).map(({ body }) => body.access_token)
    await limit(3)
    for (const token of tokens.slice(0, 2)) {
      expect((await leave(token)).status).toBe(204)
      expect((await enter(9)).status).toBe(409)
    }
    expect((await leave(tokens[2])).status).toBe(204)
    expect([(await enter(9)).status, (await enter(10)).status]).toEqual([200, 409])
    expect(await live()).toBe(3)
  })

  it('set, changed and lifted while people come and go lets no more in, and nobody waits in a circle', async () => {
    await endAll()
    await limit(10)
    const come = async (i: number) => {
      const { status, body } = await enter(i)
      if (status === 200 && i % 3 === 0) expect((await leave(body.access_token)).status).toBe(204)
      return status
    }
    const changing = (async () => {
      for (const most of [5, 12, null, 8, 10]) await limit(most)
    })()
    const [statuses] = await Promise.all([all(ALL, come), changing])
    expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([])
    await limit(10)
    await limit(9)
    const before = await live()
    await all(20, enter)
    expect(await live()).toBe(Math.max(before, 9))
  })

  it('none is as before: nobody takes a place', async () => {
    await limit(null)
    expect((await all(20, enter)).map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(await realm.asOwner(sql`select * from access.session_places`)).toEqual([])
  })
})
