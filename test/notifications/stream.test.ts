/**
 * The stream of a person's notifications. Threat: what happened is not told, or told to another; whose session has ended goes on
 * listening; somebody opens streams without an end; or a quiet stream keeps the database awake.
 */
import { createExecutionContext, createScheduledController } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import worker from '../../src/index.ts'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { maintainNext } from '../support/databases.ts'
import { eventsIn } from '../support/events.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession } from '../support/sessions.ts'
import { addWebhook, makeReceiver } from '../webhooks/receiver.ts'

const AT = 'streamed'
const PATH = '/api/v1/notifications/stream'
let here: Cast
let people = 0
/** Moments to JavaScript, and none to Postgres. */
const NO_DAYS = ['0000-01-01T00:00:00.000Z', '2026-02-30T00:00:00.000Z']
const opened: { cancel: () => Promise<unknown> }[] = []

beforeAll(async () => {
  here = await cast(AT)
})
afterEach(async () => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  await Promise.all(opened.splice(0).map(({ cancel }) => cancel().catch(() => undefined)))
})

const CAN = { 'delegation:create': 'own', 'delegation:read': 'own', 'delegation:update': 'own', 'user:read': 'own' }
const newcomer = (more = {}) => here.member(`listener-${people++}`, more)
const asked = (token: string, headers: Record<string, string> = {}) =>
  new Request(`http://${AT}.freehold.test${PATH}`, { headers: { Authorization: `Bearer ${token}`, ...headers } })
const knock = (token: string, headers?: Record<string, string>) => exports.default.fetch(asked(token, headers))

async function listen(token: string, headers?: Record<string, string>) {
  const answer = await knock(token, headers)
  expect(answer.status).toBe(200)
  const stream = { answer, ...eventsIn(answer) }
  opened.push(stream)
  expect(await stream.next()).toEqual({ retry: '2000' })
  return stream
}
const tell = (who: { id: string }, competency = 'Welding') =>
  here.realm.asOwner(sql`select access.notify(${who.id}, 'competency_expired', ${JSON.stringify({ competency })}::jsonb)`)
/** Delegates to somebody: a commit that tells them. */
async function lend(from: Member, to: Member) {
  const made = await here.ask('/delegations', {
    token: from.token,
    body: { delegate_id: to.id, permissions: ['user:read'], ends_at: '2999-01-01T00:00:00Z' },
  })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return () => here.ask(`/delegations/${made.body.id}/revoke`, { method: 'POST', token: from.token })
}

describe('the stream', () => {
  it('says at once how many are unread, in one round trip, and rings within two seconds of a commit', async () => {
    const [from, to, other] = [await newcomer({ can: CAN }), await newcomer(), await newcomer()]
    const [stream, elsewhere] = [await listen(to.token), await listen(other.token)]
    expect(stream.answer.headers.get('Content-Type')).toBe('text/event-stream')
    expect(stream.answer.headers.get('Cache-Control')).toBe('no-store, no-transform')
    expect(stream.answer.headers.get('Server-Timing')).toContain('db;desc="1"')
    expect(await stream.next()).toMatchObject({ event: 'unread', data: { unread: 0 } })
    expect(await elsewhere.next()).toMatchObject({ event: 'unread', data: { unread: 0 } })
    const next = stream.next()
    const revoke = await lend(from, to)
    const at = Date.now()
    const told = await next
    expect(Date.now() - at).toBeLessThan(2_000)
    expect(told).toMatchObject({ event: 'notification', data: { event: 'delegation_received', read_at: null } })
    const listed = (await here.ask('/notifications', { token: to.token })).body.data
    expect(told?.data).toEqual(listed[0])
    expect(await stream.next()).toMatchObject({ event: 'unread', data: { unread: 1 } })
    await revoke()
    expect(await stream.next()).toMatchObject({ event: 'notification', data: { event: 'delegation_revoked' } })
    expect(await stream.next()).toMatchObject({ event: 'unread', data: { unread: 2 } })
    // Marking as read, on another page, rings as well.
    await here.ask('/notifications/read-all', { method: 'POST', token: to.token })
    expect(await stream.next()).toMatchObject({ event: 'unread', data: { unread: 0 } })
    const none = await Promise.race([elsewhere.next(), scheduler.wait(500).then(() => 'nothing')])
    expect(none).toBe('nothing')
  })

  it('rings for what the scheduled job tells', async () => {
    const stream = await listen(here.bo.token)
    await stream.next()
    await here.realm.asOwner(sql`update freehold.tenant set licensed_until = now() + interval '20 days'`)
    const next = stream.next()
    await maintainNext(here.realm.id)
    await worker.scheduled(createScheduledController({ cron: '* * * * *' }), env)
    const at = Date.now()
    expect(await next).toMatchObject({ event: 'notification', data: { event: 'license_ends' } })
    expect(Date.now() - at).toBeLessThan(2_000)
    await here.realm.asOwner(sql`update freehold.tenant set licensed_until = null`)
  })

  it('rings for a webhook that a delivery beside an answer pauses', async () => {
    const receiver = await makeReceiver({ status: 410 })
    const stream = await listen(here.bo.token)
    await stream.next()
    const next = stream.next()
    const { id } = await addWebhook(AT, here.bo.token, receiver.url)
    const isPaused = async () => {
      // Numbers wait for older transactions, also those of other tenants on this server: then the next request has them.
      await call(AT, '/api/v1/units', { token: here.bo.token, body: { kind: 'team', name: crypto.randomUUID() } })
      const [row] = await here.realm.asOwner(sql`select w.is_paused from freehold.webhooks w where w.id = ${id}::uuid`)
      return row?.is_paused
    }
    await vi.waitUntil(isPaused, { timeout: 50_000, interval: 1_000 })
    const at = Date.now()
    expect(await next).toMatchObject({ event: 'notification', data: { event: 'webhook_paused', resource: { id } } })
    expect(Date.now() - at).toBeLessThan(2_000)
    await here.realm.asOwner(sql`delete from freehold.webhooks`)
  }, 60_000)

  it('goes on where it was left: what was had does not come again, what came meanwhile does, in Spanish too', async () => {
    const who = await newcomer()
    await tell(who, 'of before')
    const first = await listen(who.token)
    const started = await first.next()
    expect(started).toMatchObject({ event: 'unread', data: { unread: 1 } })
    await first.cancel()
    await tell(who, 'meanwhile')
    const second = await listen(who.token, { 'Last-Event-ID': started?.id ?? '', 'Accept-Language': 'es' })
    const had = await second.next()
    expect(had).toMatchObject({ data: { params: { competency: 'meanwhile' }, title: 'Una competencia ha caducado' } })
    await second.cancel()
    await tell(who, 'later')
    const third = await listen(who.token, { 'Last-Event-ID': had?.id ?? '' })
    expect((await third.next())?.data.params).toEqual({ competency: 'later' })
    expect(await third.next()).toMatchObject({ event: 'unread', data: { unread: 3 } })
  })

  it('shows nothing of what others are told, also where it goes on', async () => {
    const [who, other] = [await newcomer(), await newcomer()]
    const first = await listen(who.token)
    const started = await first.next()
    await first.cancel()
    await tell(other, 'of another')
    const second = await listen(who.token, { 'Last-Event-ID': started?.id ?? '' })
    expect(await second.next()).toMatchObject({ event: 'unread', data: { unread: 0 } })
  })

  it('shows what took long to commit, though something newer was shown before', async () => {
    const who = await newcomer()
    await tell(who, 'newer')
    const second = await listen(who.token, { 'Last-Event-ID': new Date(Date.now() - 15_000).toISOString() })
    const newer = await second.next()
    expect(newer?.data.params).toEqual({ competency: 'newer' })
    await second.cancel()
    await tell(who, 'older')
    await here.realm.asOwner(
      sql`update freehold.notifications set created_at = created_at - interval '10 seconds' where user_id = ${who.id} and params ->> 'competency' = 'older'`,
    )
    const third = await listen(who.token, { 'Last-Event-ID': newer?.id ?? '' })
    expect((await third.next())?.data.params).toEqual({ competency: 'older' })
  })

  it('shows each once, however many come at once, and all of them', async () => {
    const who = await newcomer()
    const stream = await listen(who.token)
    expect(await stream.next()).toMatchObject({ event: 'unread', data: { unread: 0 } })
    const many = 130
    await here.realm.asOwner(
      sql`select access.notify(${who.id}, 'passkey_added', jsonb_build_object('passkey_name', i::text)) from generate_series(1, ${many}::integer) i`,
    )
    const { body } = await here.ask('/notifications?limit=10', { token: who.token })
    const told: string[] = []
    for (const [turn, { id }] of body.data.slice(0, 3).entries()) {
      if (turn === 2) await tell(who, 'after')
      // Rings, and changes the count: what is shown comes before it.
      await here.ask(turn === 2 ? '/notifications/read-all' : `/notifications/${id}/read`, { method: 'POST', token: who.token })
      for (let event = await stream.next(); event?.event !== 'unread'; event = await stream.next())
        told.push(event?.data.params.passkey_name ?? event?.data.params.competency)
    }
    expect(told).toEqual([...Array.from({ length: many }, (_, i) => String(i + 1)), 'after'])
  })

  it('waits before it looks: what is committed while it opens is felt in two seconds', async () => {
    const who = await newcomer()
    const asked: string[] = []
    const { BELLS } = env as unknown as { BELLS: { getByName: (name: string) => Record<string, any> } }
    const bell = (name: string) => ({
      fetch: async (...given: unknown[]) => {
        asked.push('bell')
        return BELLS.getByName(name).fetch?.(...given)
      },
    })
    const { fetch } = globalThis
    vi.spyOn(globalThis, 'fetch').mockImplementation((to, init) => {
      if (String(init?.body).includes('access.new_notifications')) asked.push('look')
      return fetch(to, init)
    })
    const stream = await listenWith(who.token, { BELLS: { getByName: bell } })
    await stream.next()
    expect(asked).toEqual(['bell', 'look'])
  })

  it('takes no harm from what a client invents as its last event', async () => {
    const who = await newcomer()
    for (const id of [
      'x',
      '2026-13-99T99:99:99.000Z',
      "2026-01-01T00:00:00.000Z_'--",
      '_'.repeat(5_000),
      '9999-99-99',
      ...NO_DAYS,
    ]) {
      const stream = await listen(who.token, { 'Last-Event-ID': id })
      expect((await stream.next())?.event).toBe('unread')
      await stream.cancel()
    }
  })

  it('shows what comes, though the last event is said to be of a day to come', async () => {
    const who = await newcomer()
    const stream = await listen(who.token, { 'Last-Event-ID': '9999-12-31T23:59:59.999999Z' })
    expect((await stream.next())?.event).toBe('unread')
    await tell(who, 'now')
    await here.ask('/notifications/read-all', { method: 'POST', token: who.token })
    expect(await stream.next()).toMatchObject({ event: 'notification', data: { params: { competency: 'now' } } })
  }, 10_000)
})

/** The same in this isolate, where time passes as it is told. */
async function listenWith(token: string, bindings: object = {}) {
  const stream = eventsIn(await app.fetch(asked(token), { ...env, ...bindings }, createExecutionContext()))
  opened.push(stream)
  return stream
}

describe('a quiet stream', () => {
  it('asks the database once a minute, says something every 25 seconds, and ends after an hour or with its token', async () => {
    const who = await newcomer()
    vi.useFakeTimers({ toFake: ['Date'] })
    const waited: number[] = []
    const { wait } = scheduler
    vi.spyOn(scheduler, 'wait').mockImplementation((ms, options) => {
      waited.push(ms)
      vi.setSystemTime(Date.now() + ms)
      return wait.call(scheduler, 0, options)
    })
    const asking = vi.spyOn(globalThis, 'fetch')
    const looks = () => asking.mock.calls.filter(([, init]) => String(init?.body).includes('access.new_notifications')).length
    const stream = await listenWith(who.token)
    const events = await stream.all()
    // The token lives for fifteen minutes.
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { code: 'token_expired' } })
    expect(looks()).toBe(15)
    expect(Math.max(...waited)).toBeLessThanOrEqual(25_000)
    expect(events.filter(({ comment }) => comment === '').length).toBeGreaterThanOrEqual(35)
  })

  it('ends within a minute of its session, whoever rings', async () => {
    const who = await newcomer()
    const session = await plantSession(here.realm, who.username)
    const stream = await listen(session.access_token)
    await stream.next()
    await call(AT, '/api/v1/auth/logout', { method: 'POST', token: session.access_token })
    // Rung, so that the test need not wait for the minute.
    await here.ask('/notifications/read-all', { method: 'POST', token: who.token })
    await tell(who)
    await here.ask('/notifications/read-all', { method: 'POST', token: who.token })
    expect(await stream.next()).toMatchObject({ event: 'error', data: { code: 'session_ended', status: 401 } })
    expect(await stream.next()).toBeNull()
  })

  it('counts as requests of its user', async () => {
    const who = await newcomer()
    let left = 1
    const PRINCIPALS = { limit: async () => ({ success: left-- > 0 }) }
    const stream = await listenWith(who.token, { PRINCIPALS })
    await stream.next()
    await stream.next()
    await tell(who)
    await here.ask('/notifications/read-all', { method: 'POST', token: who.token })
    expect(await stream.next()).toMatchObject({ event: 'error', data: { code: 'rate_limited' } })
  })
})

describe('how many', () => {
  it('one person opens is bounded: of a hundred at once five are, and there is room again when one is closed', async () => {
    const who = await newcomer()
    const answers = await Promise.all(Array.from({ length: 100 }, () => knock(who.token)))
    const streams = answers.filter(({ status }) => status === 200).map(eventsIn)
    opened.push(...streams)
    expect(streams).toHaveLength(5)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(95)
    const refused = answers.find(({ status }) => status === 429)
    expect(await refused?.json()).toMatchObject({ code: 'rate_limited', detail: 'You have 5 streams open already: close one.' })
    const other = await newcomer()
    expect((await listen(other.token)).answer.status).toBe(200)
    await streams[0]?.cancel()
    await vi.waitUntil(
      async () => {
        const answer = await knock(who.token)
        if (answer.status !== 200) return false
        opened.push(eventsIn(answer))
        return true
      },
      { timeout: 10_000 },
    )
  })

  it('is bounded for who is logged in alone', async () => {
    expectProblem(await call(AT, PATH), 401, 'token_missing')
  })
})
