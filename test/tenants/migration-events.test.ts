/** A run as a stream of events. Threat: who may no longer read it goes on listening; who is gone is looked for all the same. */
import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { master } from '../support/databases.ts'
import { eventsIn } from '../support/events.ts'
import { unguarded } from '../support/guarded.ts'
import { call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { awaitTurn, endTurn } from '../support/runs.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'

const tenants: string[] = []
let token: string
let run: string

beforeAll(async () => {
  await awaitTurn()
  token = await operatorToken()
  tenants.push(await plantTenant('events-a'), await plantTenant('events-b'))
  const user = (name: string, role: string) =>
    sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${name}, ${`${name}@freehold.test`}, ${role})`
  await master(
    sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'events-none')`,
    user('events-reader', 'auditor'),
    user('events-nobody', 'events-none'),
  )
}, 130_000)
afterAll(endTurn)

/** A run that waits for the night: nobody else goes on with it. */
beforeEach(async () => {
  run = crypto.randomUUID()
  const target = tenantMigrations.at(-1)?.name
  await master(
    sql`insert into platform.migration_runs (id, target, state, wave, concurrency, stop_percent, rest_from) values (${run}, ${target}, 'running', 3, 1, 5, now() + interval '1 day')`,
    ...tenants.map(
      (id) =>
        sql`insert into platform.tenant_migrations (tenant_id, target, run_id, wave, state) values (${id}, ${target}, ${run}, 4, 'pending')`,
    ),
  )
})
afterEach(async () => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  await master(
    sql`delete from platform.tenant_migrations where run_id = ${run}`,
    sql`delete from platform.migration_runs where id = ${run}`,
  )
})

const migrated = (tenant: number) =>
  master(sql`update platform.tenant_migrations set state = 'done' where run_id = ${run} and tenant_id = ${tenants[tenant]}`)
const ended = () => master(sql`update platform.migration_runs set state = 'done', finished_at = now() where id = ${run}`)
const path = () => `/platform/v1/migrations/${run}/events`
const asked = (headers: Record<string, string>) =>
  new Request(`http://freehold.test${path()}`, { headers: { Authorization: `Bearer ${token}`, ...headers } })

async function listen(headers: Record<string, string> = {}) {
  const answer = await exports.default.fetch(asked(headers))
  expect(answer.status).toBe(200)
  return { answer, ...eventsIn(answer) }
}

/** The same in this isolate, with other bindings. */
const listenWith = async (bindings: object, headers: Record<string, string> = {}) =>
  eventsIn(await app.fetch(asked(headers), { ...env, ...bindings }, createExecutionContext()))

/** How often the master has been asked about the run. */
function looks() {
  const asking = vi.spyOn(globalThis, 'fetch')
  return () => asking.mock.calls.filter(([, init]) => String(init?.body).includes(run)).length
}

/** A second passes at once. */
function hurry() {
  const { wait } = scheduler
  vi.spyOn(scheduler, 'wait').mockImplementation(() => wait.call(scheduler, 0))
}

describe('the events of a run', () => {
  it('are the run at once, and again when it changed, and the end', async () => {
    const { answer, next } = await listen()
    expect(answer.headers.get('Content-Type')).toBe('text/event-stream')
    expect(answer.headers.get('Cache-Control')).toBe('no-store, no-transform')
    expect(answer.headers.get('Server-Timing')).toContain('db;desc="1"')
    expect(unguarded(path(), answer)).toEqual([])
    expect(await next()).toEqual({ retry: '2000' })
    const first = await next()
    expect(first).toEqual({ id: expect.stringMatching(/^[0-9a-f]{16}$/), event: 'run', data: (await now()).body })
    expect(first?.data.tenants).toEqual({ pending: 2, running: 0, undone: 0, done: 0, failed: 0 })
    await migrated(0)
    const second = await next()
    expect(second?.data.tenants).toEqual({ pending: 1, running: 0, undone: 0, done: 1, failed: 0 })
    expect(second?.id).not.toBe(first?.id)
    await ended()
    const last = await next()
    expect([last?.event, last?.data]).toEqual(['run', (await now()).body])
    expect([await next(), await next()]).toEqual([{ id: `${last?.id}.end`, event: 'end', data: {} }, null])
  })

  it('are not repeated to who had them, and who had the end is told to stay away', async () => {
    const before = await listen()
    const [, first] = [await before.next(), await before.next()]
    await before.cancel()
    const again = await listen({ 'Last-Event-ID': first?.id ?? '' })
    await again.next()
    await migrated(0)
    expect((await again.next())?.data.tenants.done).toBe(1)
    await ended()
    const events = await again.named()
    expect(events.map(({ event }) => event)).toEqual(['run', 'end'])
    const had = async (id = '') => (await (await listen({ 'Last-Event-ID': id })).named()).map(({ event }) => event)
    // Cut off between the two, it gets the end alone; and the end of an earlier state is not that of this one.
    expect(await had(events[0]?.id)).toEqual(['end'])
    expect(await had(`${first?.id}.end`)).toEqual(['run', 'end'])
    const over = await call('', path(), { token, headers: { 'Last-Event-ID': events[1]?.id ?? '' } })
    expect([over.status, over.body]).toEqual([204, ''])
  })

  it('end with the refusal when the reader may not read any more: the permission, the session, the token', async () => {
    const refused = async (end: (session: Awaited<ReturnType<typeof plantSession>>) => unknown) => {
      const session = await plantSession('', 'events-reader')
      const { next } = await listen({ Authorization: `Bearer ${session.access_token}`, 'Accept-Language': 'es' })
      await next()
      expect((await next())?.event).toBe('run')
      await end(session)
      const event = await next()
      expect(await next()).toBeNull()
      expect([event?.event, event?.id]).toEqual(['error', undefined])
      expect(event?.data).toMatchObject({ instance: path(), type: `http://freehold.test/problems/${event?.data.code}` })
      return [event?.data.status, event?.data.code, event?.data.title]
    }
    expect(
      await refused(({ access_token }) => call('', '/platform/v1/auth/logout', { method: 'POST', token: access_token })),
    ).toEqual([401, 'session_ended', 'La sesión ha terminado'])
    expect(await refused(() => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 16 * 60_000 }))).toEqual([
      401,
      'token_expired',
      'El token ha caducado',
    ])
    vi.useRealTimers()
    expect(
      await refused(() => master(sql`update freehold.users set role = 'events-none' where username = 'events-reader'`)),
    ).toEqual([403, 'forbidden', 'No está permitido'])
  })

  it('are looked for while somebody reads, and no more when they are gone', async () => {
    const count = looks()
    const { next, cancel } = await listen()
    await next()
    await next()
    const reading = next().catch(() => null)
    await vi.waitUntil(() => count() >= 3, { timeout: 60_000 })
    await cancel()
    await reading
    const then = count()
    await scheduler.wait(2_500)
    // The one that was under way.
    expect(count() - then).toBeLessThanOrEqual(1)
  })

  it('are not looked for while the reader has not taken what came before', async () => {
    const count = looks()
    const { next, cancel } = await listenWith({})
    await next()
    await scheduler.wait(1_500)
    expect(count()).toBe(1)
    await cancel()
  })

  it('come with a comment while nothing happens, for five minutes, and then the client opens them anew', async () => {
    hurry()
    const count = looks()
    const events = await (await listenWith({})).all()
    expect(count()).toBe(300)
    expect(events.slice(0, 2).map(({ retry, event }) => retry ?? event)).toEqual(['2000', 'run'])
    expect(events.slice(2)).toEqual(Array.from({ length: 299 }, () => ({ comment: '' })))
  })

  it('count as requests of their reader: beyond the limit of these they end', async () => {
    hurry()
    let left = 5
    const PRINCIPALS = { limit: async () => ({ success: left-- > 0 }) }
    const count = looks()
    const events = await (await listenWith({ PRINCIPALS })).all()
    expect(count()).toBe(5)
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { status: 429, code: 'rate_limited' } })
  })

  it('are refused as every request is, before the first', async () => {
    expectProblem(await call('', path()), 401, 'token_missing')
    expectProblem(await call('', `/platform/v1/migrations/${crypto.randomUUID()}/events`, { token }), 404, 'not_found')
    expectProblem(await call('', '/platform/v1/migrations/newest/events', { token }), 400, 'invalid_request')
    expectProblem(await call('', path(), { token: await tokenOf('', 'events-nobody') }), 403, 'forbidden')
  })
})

const now = () => call('', `/platform/v1/migrations/${run}`, { token })
