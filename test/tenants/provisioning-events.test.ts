/** The making of a tenant as a stream of events. Threat: who is gone is looked for all the same; one that never ends holds an isolate. */
import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { stepNames } from '../../src/tenants/provisioning/steps.ts'
import { master } from '../support/databases.ts'
import { eventsIn } from '../support/events.ts'
import { unguarded } from '../support/guarded.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

const TRACE = 'a'.repeat(32)
let token: string
let id: string

beforeAll(async () => {
  token = await operatorToken()
})
/** A tenant in the making, which a run holds that does nothing: nobody else goes on with it. */
beforeEach(async () => {
  id = await plantTenant(`followed-${crypto.randomUUID().slice(0, 8)}`, 'provisioning')
  await plantRun(id)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await ended('failed')
})

const step = (name: string, state: string) =>
  master(
    sql`update platform.provisioning_steps set state = ${state}, attempts = 1, started_at = now(), trace_id = ${TRACE} where tenant_id = ${id} and name = ${name}`,
  )
const ended = (status: string) =>
  master(
    sql`update platform.provisioning_runs set state = 'failed', finished_at = now() where tenant_id = ${id}`,
    sql`update platform.tenants set status = ${status} where id = ${id} and status = 'provisioning'`,
  )
const path = (tenant = id) => `/platform/v1/tenants/${tenant}/provisioning/events`
const asked = (headers: Record<string, string> = {}) =>
  new Request(`http://freehold.test${path()}`, { headers: { Authorization: `Bearer ${token}`, ...headers } })
const now = () => call('', `/platform/v1/tenants/${id}/provisioning`, { token })

async function listen(headers: Record<string, string> = {}) {
  const answer = await exports.default.fetch(asked(headers))
  expect(answer.status).toBe(200)
  return { answer, ...eventsIn(answer) }
}

describe('the events of a provisioning', () => {
  it('are its steps at once, with their trace ids, and again when they changed, and the end', async () => {
    const { answer, next } = await listen()
    expect(answer.headers.get('Content-Type')).toBe('text/event-stream')
    expect(unguarded(path(), answer)).toEqual([])
    expect(await next()).toEqual({ retry: '2000' })
    const first = await next()
    expect(first).toEqual({ id: expect.stringMatching(/^[0-9a-f]{16}$/), event: 'steps', data: (await now()).body })
    expect(first?.data.data.map(({ name }: { name: string }) => name)).toEqual(stepNames)
    expect(first?.data.data[0]).toMatchObject({ name: 'reserve', state: 'done', trace_id: TRACE })
    expect(first?.data.data[1]).toMatchObject({ state: 'pending', trace_id: null })
    await step('place', 'done')
    const second = await next()
    expect(second?.data.data[1]).toMatchObject({ name: 'place', state: 'done', attempts: 1, trace_id: TRACE })
    await ended('failed')
    const last = await next()
    expect([last?.event, last?.data.status]).toEqual(['steps', 'failed'])
    expect([await next(), await next()]).toEqual([{ id: `${last?.id}.end`, event: 'end', data: {} }, null])
  })

  it('go on where who went away was, and tell who had the end to stay away', async () => {
    const before = await listen()
    const [, first] = [await before.next(), await before.next()]
    await before.cancel()
    const again = await listen({ 'Last-Event-ID': first?.id ?? '' })
    await again.next()
    await step('place', 'running')
    // Nothing of what it had comes again: the next is the change.
    expect((await again.next())?.data.data[1].state).toBe('running')
    await ended('failed')
    const events = await again.named()
    expect(events.map(({ event }) => event)).toEqual(['steps', 'end'])
    const over = await call('', path(), { token, headers: { 'Last-Event-ID': events[1]?.id ?? '' } })
    expect([over.status, over.body]).toEqual([204, ''])
  })

  it('are looked for no more when who listened is gone', async () => {
    const asking = vi.spyOn(globalThis, 'fetch')
    const count = () => asking.mock.calls.filter(([, init]) => String(init?.body).includes(id)).length
    const { next, cancel } = await listen()
    await next()
    await next()
    const reading = next().catch(() => null)
    await vi.waitUntil(() => count() >= 2, { timeout: 60_000 })
    await cancel()
    await reading
    const then = count()
    await scheduler.wait(2_500)
    // The one that was under way.
    expect(count() - then).toBeLessThanOrEqual(1)
  })

  it('of a making that never ends come for five minutes, and then the client opens them anew', async () => {
    const { wait } = scheduler
    vi.spyOn(scheduler, 'wait').mockImplementation(() => wait.call(scheduler, 0))
    const events = await eventsIn(await app.fetch(asked(), env, createExecutionContext())).all()
    expect(events.slice(0, 2).map(({ retry, event }) => retry ?? event)).toEqual(['2000', 'steps'])
    expect(events.slice(2)).toEqual(Array.from({ length: 299 }, () => ({ comment: '' })))
  })

  it('come to twenty who listen at once', async () => {
    const listeners = await Promise.all(Array.from({ length: 20 }, () => listen()))
    const told = listeners.map(({ named }) => named())
    await ended('failed')
    const all = await Promise.all(told)
    for (const events of all) {
      expect(events.at(-1)?.event).toBe('end')
      expect(events.at(-2)?.data.status).toBe('failed')
    }
  })

  it('follow a tenant until it is active, and show the trace id of the request that made it', async () => {
    const made = await call('', '/platform/v1/tenants', { token, body: wanted('followed-made') })
    const answer = await exports.default.fetch(
      new Request(`http://freehold.test${path(made.body.id)}`, { headers: { Authorization: `Bearer ${token}` } }),
    )
    const events = await eventsIn(answer).named()
    const last = events.at(-2)?.data
    expect([last.status, events.at(-1)?.event]).toEqual(['active', 'end'])
    // Nobody sees an active tenant with a step that is not done.
    expect(last.data.map(({ state }: { state: string }) => state)).toEqual(stepNames.map(() => 'done'))
    expect(new Set(last.data.map(({ trace_id }: { trace_id: string }) => trace_id))).toEqual(
      new Set([made.headers.get('X-Trace-Id')]),
    )
  })

  it('are refused as every request is, before the first', async () => {
    expectProblem(await call('', path()), 401, 'token_missing')
    expectProblem(await call('', path(crypto.randomUUID()), { token }), 404, 'not_found')
    expectProblem(await call('', path('newest'), { token }), 400, 'invalid_request')
  })
})
