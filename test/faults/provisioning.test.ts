/** Threat: an answer of Neon is lost or wrong, and a tenant is half made, made twice, or left behind where nobody knows of it. */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { reservePlace } from '../../src/tenants/provisioning/hosts.ts'
import {
  ALL_ANSWERS,
  type Answering,
  BROKEN,
  GATEWAY,
  json,
  LOCKED,
  RATE,
  REFUSED,
  SQL,
  spoiled,
  status,
} from '../support/answers.ts'
import { master, settings } from '../support/databases.ts'
import {
  askNeon,
  bothSides,
  ended,
  fillHomes,
  type Isolation,
  on,
  pending,
  reserve,
  run,
  switchOn,
  WHOLE,
  whole,
} from '../support/faults.ts'
import { ADMIN, call, login, operatorToken, wanted } from '../support/people.ts'

/** Every request that provisioning makes of Neon's API, by the isolation of the tenant that needs a host as well. */
const OPENING = ['GET /projects$', 'POST /projects$', 'GET /branches$', 'GET /databases$']
const CALLS: Record<Isolation, string[]> = {
  database: [...OPENING, 'POST /databases$', 'GET /operations/[^/]+$', 'GET /connection_uri$'],
  branch: [
    ...OPENING,
    'POST /branches$',
    'GET /operations/[^/]+$',
    'POST /reset_password$',
    'PATCH /databases/[^/]+$',
    'GET /connection_uri$',
  ],
  project: [...OPENING, 'POST /databases$', 'GET /operations/[^/]+$', 'GET /connection_uri$'],
  external: [],
}
/** What it asks besides when something is there already, because the answer to the first request was lost. */
const ADOPTING: Record<Isolation, [string, string][]> = {
  database: [
    ['GET /operations$', 'POST /projects$'],
    ['GET /endpoints$', 'POST /projects$'],
    ['GET /operations$', 'POST /databases$'],
  ],
  branch: [
    ['GET /operations$', 'POST /branches$'],
    ['GET /branches/[^/]+$', 'POST /branches$'],
    ['GET /endpoints$', 'POST /branches$'],
  ],
  project: [
    ['GET /operations$', 'POST /projects$'],
    ['GET /endpoints$', 'POST /projects$'],
    ['GET /operations$', 'POST /databases$'],
  ],
  external: [],
}
/** Every operation that those requests start, with the request. */
const MAKING_A_PROJECT: [string, string][] = [
  ['create_timeline', 'POST /projects$'],
  ['start_compute', 'POST /projects$'],
]
const OPERATIONS: Record<Isolation, [string, string][]> = {
  database: [...MAKING_A_PROJECT, ['apply_config', 'POST /databases$']],
  branch: [
    ...MAKING_A_PROJECT,
    ['create_branch', 'POST /branches$'],
    ['start_compute', 'POST /branches$'],
    ['apply_config', 'POST /reset_password$'],
    ['apply_config', 'PATCH /databases/[^/]+$'],
  ],
  project: [...MAKING_A_PROJECT, ['apply_config', 'POST /databases$']],
  external: [],
}
const CHANGES = (isolation: Isolation) => CALLS[isolation].filter((name) => !name.startsWith('GET'))
const ISOLATIONS: Isolation[] = ['database', 'branch', 'project', 'external']
const RATE_LONG = status(429, json('too many requests'), { 'Retry-After': '11' })

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let token: string
let n = 0
const nameFor = (isolation: string) => `faulty-${isolation}-${++n}`

beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  // What is waited between two tries is Cloudflare's; how often, and what comes of it, is ours.
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
})
afterEach(() => switchOn())
afterAll(async () => {
  await introspector.dispose()
})

/** Makes a tenant that needs a new host while faults are on, and expects that all of them happened and none shows. */
async function madeUnder(isolation: Isolation, ...faults: Fault[]) {
  const name = nameFor(isolation)
  await fillHomes(isolation)
  const { run_id } = await reserve(name, isolation)
  await switchOn(...faults)
  await run(run_id)
  expect(await pending(), 'faults that did not happen').toEqual([])
  expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  return name
}

const newestRun = async (tenant_id: string): Promise<string> =>
  (await master(sql`select id from platform.provisioning_runs where tenant_id = ${tenant_id} order by attempt desc limit 1`))[0]
    ?.id

describe.each(ISOLATIONS)('a tenant of isolation %s is made once and whole', (isolation) => {
  it('by these requests and no others', async () => {
    const counting = (match: Fault['match']): Fault => ({ match, times: 1_000, kind: 'delay', ms: 0 })
    const name = nameFor(isolation)
    await fillHomes(isolation)
    const { run_id } = await reserve(name, isolation)
    await switchOn(counting(SQL), ...CALLS[isolation].map((one) => counting(on(one))), counting({ path: '' }))
    await run(run_id)
    const left = await pending()
    const used = left.map(({ match, times }) => [match.path, 1_000 - times] as const)
    expect(used.filter(([, count]) => count === 0)).toEqual([['', 0]])
  })

  it.each(CALLS[isolation])('when the answer to %s is lost after the work was done', async (one) => {
    await madeUnder(isolation, { match: on(one), times: 1, kind: 'drop_after' })
  })

  it.each(CHANGES(isolation))('when %s is lost three times before it arrives', async (one) => {
    await madeUnder(isolation, { match: on(one), times: 3, kind: 'drop_before' })
  })

  it('when each request is lost once before it arrives', async () => {
    await madeUnder(isolation, ...CALLS[isolation].map((one): Fault => ({ match: on(one), times: 1, kind: 'drop_before' })))
  })

  it.each(CALLS[isolation])('when %s is answered 423, 429, 500 and 524, one after another', async (one) => {
    await madeUnder(isolation, ...ALL_ANSWERS.map((answer): Fault => ({ match: on(one), ...answer })))
  })

  it.each(ADOPTING[isolation])(
    'when %s is answered 423, 429, 500 and 524, after the answer to %s was lost',
    async (one, change) => {
      await madeUnder(
        isolation,
        { match: on(change), times: 1, kind: 'drop_after' },
        ...ALL_ANSWERS.map((answer): Fault => ({ match: on(one), ...answer })),
      )
    },
  )

  it.each(OPERATIONS[isolation])('when the operation %s of %s fails: at once, or by a retry', async (action, one) => {
    const name = nameFor(isolation)
    await fillHomes(isolation)
    const { id, run_id } = await reserve(name, isolation)
    await switchOn({ match: on(one), times: 1, kind: 'fail_operation', action })
    await run(run_id)
    expect(await pending(), 'faults that did not happen').toEqual([])
    const [stopped] = await master(
      sql`select name, error from platform.provisioning_steps where tenant_id = ${id} and state = 'failed'`,
    )
    if (stopped) {
      expect(stopped).toMatchObject({ name: 'operations', error: expect.stringMatching(/failed.*made to fail/) })
      expect((await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })).status).toBe(202)
      await ended(await newestRun(id))
    }
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  })

  // Twelve pass between two: no try of a step makes so many.
  const STARTS = Array.from({ length: 13 }, (_, i) => i)
  it.each(STARTS)('when answers of databases are lost after the work was done, from the %ith on', async (first) => {
    await madeUnder(isolation, ...spoiled(first, 12, 4, { kind: 'drop_after' }))
  })

  it.each(STARTS.filter((i) => i % 3 === (isolation === 'database' ? 0 : 1)))(
    'when databases cannot be reached, each time in another way, from the %ith request on',
    async (first) => {
      await madeUnder(isolation, ...spoiled(first, 12, 4, BROKEN, GATEWAY, RATE, { kind: 'drop_before' }))
    },
  )
})

it('a tenant is made when Neon asks to come back later than its client waits', async () => {
  await madeUnder('branch', { match: on('PATCH /databases/[^/]+$'), times: 1, ...RATE_LONG })
})

describe('a fault that does not end', () => {
  /** A tenant that was asked for at the door, and failed. */
  async function failing(isolation: Isolation, ...faults: Fault[]) {
    const name = nameFor(isolation)
    await fillHomes(isolation)
    await switchOn(...faults)
    const answer = await call('', '/platform/v1/tenants', { token, body: wanted(name, { isolation }) })
    expect(answer.status, JSON.stringify(answer.body)).toBe(202)
    const id: string = answer.body.id
    await ended(await newestRun(id))
    expect(await whole(name)).toMatchObject({ status: 'failed' })
    return { name, id }
  }

  async function retried(name: string, id: string) {
    const again = await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })
    expect(again.status, JSON.stringify(again.body)).toBe(202)
    await ended(await newestRun(id))
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    expect((await login(name)).token_type).toBe('Bearer')
  }

  const failedOperation = status(
    200,
    JSON.stringify({
      operation: {
        id: '00000000-0000-4000-8000-000000000000',
        project_id: 'a-project',
        action: 'apply_config',
        status: 'failed',
        error: 'compute did not start',
        failures_count: 3,
        created_at: '2026-01-01T00:00:00Z',
        updated_at: '2026-01-01T00:00:00Z',
        total_duration_ms: 1,
      },
    }),
  )
  it.each<[string, Isolation, string, Answering, string, RegExp]>([
    ['a project is refused', 'database', 'POST /projects$', REFUSED, 'place', /400.*the region is closed/],
    ['a database is refused', 'database', 'POST /databases$', REFUSED, 'database', /400.*the region is closed/],
    ['Neon breaks', 'database', 'POST /databases$', BROKEN, 'database', /500.*internal error/],
    ['Neon answers HTML', 'database', 'POST /databases$', GATEWAY, 'database', /524/],
    ['every answer is lost', 'database', 'POST /databases$', { kind: 'drop_before' }, 'database', /no response|network/i],
    ['a branch is refused', 'branch', 'POST /branches$', REFUSED, 'database', /400.*the region is closed/],
    ['the password stays', 'branch', 'POST /reset_password$', REFUSED, 'logins', /400.*the region is closed/],
    ['the rename is refused', 'branch', 'PATCH /databases/[^/]+$', REFUSED, 'logins', /400.*the region is closed/],
    ['an operation fails', 'branch', 'GET /operations/[^/]+$', failedOperation, 'operations', /failed/],
    ['its project is refused', 'project', 'POST /projects$', REFUSED, 'place', /400.*the region is closed/],
    ['the project has no answer', 'project', 'POST /projects$', { kind: 'drop_before' }, 'place', /no response|network/i],
    ['the page of a proxy', 'project', 'POST /databases$', GATEWAY, 'database', /524/],
    ['no connection string', 'project', 'GET /connection_uri$', REFUSED, 'place', /400.*the region is closed/],
  ])(
    '(%s) ends as failed with the step and the words, and a retry finishes it',
    async (_, isolation, one, fault, step, words) => {
      if (step === 'operations') {
        // The host must be there: opening one asks for operations too.
        await master(sql`update platform.hosts set capacity = taken + 50 where kind = ${isolation} and state = 'open'`)
      }
      const name = nameFor(isolation)
      if (step !== 'operations') await fillHomes(isolation)
      await switchOn({ match: on(one), times: 1_000, ...fault })
      const answer = await call('', '/platform/v1/tenants', { token, body: wanted(name, { isolation }) })
      expect(answer.status, JSON.stringify(answer.body)).toBe(202)
      const { id } = answer.body
      await ended(await newestRun(id))
      const { body } = await call('', `/platform/v1/tenants/${id}/provisioning`, { token })
      expect(body.status).toBe('failed')
      const stopped = body.data.filter((one: any) => one.state !== 'done' && one.state !== 'pending')
      expect(stopped).toMatchObject([{ name: step, state: 'failed', attempts: step === 'operations' ? 1 : 8 }])
      expect(stopped[0].error).toMatch(words)
      expect(stopped[0].error).not.toMatch(/<html|\n\s+at |postgresql:/i)
      await switchOn()
      await retried(name, id)
    },
  )

  it('may come back after the retry: the tenant fails again, and the next retry finishes it', async () => {
    const forever: Fault = { match: on('POST /databases$'), times: 1_000, ...REFUSED }
    const { name, id } = await failing('database', forever)
    await switchOn(forever)
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })).status).toBe(202)
    await ended(await newestRun(id))
    expect(await whole(name)).toMatchObject({ status: 'failed' })
    await switchOn()
    await retried(name, id)
    expect(await master(sql`select state from platform.provisioning_runs where tenant_id = ${id} order by attempt`)).toEqual([
      { state: 'failed' },
      { state: 'failed' },
      { state: 'done' },
    ])
  })

  it('leaves a tenant of which people are told when to come back; who comes then is served', async () => {
    const { name, id } = await failing('database', { match: on('POST /databases$'), times: 1_000, ...REFUSED })
    const knock = () => call(name, '/api/v1/auth/login', { body: ADMIN })
    const early = await knock()
    expect(early.body).toMatchObject({ status: 503, code: 'tenant_unavailable' })
    await switchOn()
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })).status).toBe(202)
    await ended(await newestRun(id))
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + Number(early.headers.get('Retry-After')) * 1_000 })
    const late = await knock()
    vi.useRealTimers()
    expect(late.status, JSON.stringify(late.body)).toBe(200)
  })

  it('is retried once by two retries at once', async () => {
    const { name, id } = await failing('database', { match: on('POST /databases$'), times: 1_000, ...REFUSED })
    await switchOn()
    const answers = await Promise.all(
      [1, 2, 3].map(() => call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })),
    )
    expect(answers.map((answer) => answer.status).sort()).toEqual([202, 409, 409])
    expect(answers.filter((answer) => answer.status === 409).map((answer) => answer.body.code)).toEqual([
      'illegal_state',
      'illegal_state',
    ])
    await ended(await newestRun(id))
    expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
  })
})

it('a tenant that has not failed is not retried', async () => {
  const name = nameFor('database')
  const { id, run_id } = await reserve(name, 'database')
  const retry = () => call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })
  expect((await retry()).body).toMatchObject({ status: 409, code: 'illegal_state' })
  await run(run_id)
  expect((await retry()).body).toMatchObject({ status: 409, code: 'illegal_state' })
  expect(await whole(name)).toMatchObject(WHOLE)
})

describe('hosts', () => {
  const LIMIT = status(422, JSON.stringify({ code: 'PROJECTS_LIMIT_EXCEEDED', message: 'projects limit exceeded' }))
  const hosts = (kind: Isolation) =>
    master(
      sql`select name, state, capacity, taken, refused from platform.hosts where kind = ${kind} and (taken < capacity or state <> 'open') order by created_at`,
    )
  /** One host of a kind has room, for this many. */
  const room = async (kind: Isolation, places: number) => {
    await fillHomes(kind)
    await master(
      sql`update platform.hosts set capacity = taken + ${places} where id = (select id from platform.hosts where kind = ${kind} and state = 'open' order by created_at desc limit 1)`,
    )
  }

  // A project, and a database of somebody else's, is for one tenant alone, and has no next one.
  it.each<Isolation>(['database', 'branch'])('a second is opened before the first is full (%s)', async (isolation) => {
    await room(isolation, 2)
    expect(await hosts(isolation)).toHaveLength(1)
    const { run_id } = await reserve(nameFor(isolation), isolation)
    await run(run_id)
    const after = await hosts(isolation)
    expect(after).toMatchObject([{ state: 'open' }, { state: 'open', taken: 0 }])
    expect(after[0]?.capacity - after[0]?.taken).toBe(1)
  })

  it('takes as many tenants as may be awake at once, and sleepers beside them', async () => {
    await fillHomes('database')
    const names = ['x', 'y', 'z'].map(() => nameFor('awake'))
    const ids: string[] = []
    const runs: string[] = []
    const place = async (HOST_AWAKE: number) => {
      const { id, run_id } = await reserve(names[ids.length] ?? '', 'database')
      ids.push(id)
      runs.push(run_id)
      const config = { ...settings(), HOST_AWAKE }
      return (await reservePlace({ config, tenant: { id }, trace_id: 'a'.repeat(32) }, 'database')).id
    }
    const first = await place(1)
    // It was placed long ago, and sleeps.
    await master(
      sql`update platform.tenants set created_at = now() - interval '2 hours' where id = ${ids[0]}`,
      sql`update platform.maintenance set active_until = '-infinity' where realm_id = ${ids[0]}`,
    )
    expect(await place(1)).toBe(first)
    await master(
      sql`insert into platform.maintenance (realm_id, active_until) values (${ids[0]}, now() + interval '10 minutes')
          on conflict (realm_id) do update set active_until = excluded.active_until`,
    )
    expect(await place(2), 'both are awake').not.toBe(first)
    for (const run_id of runs) await run(run_id)
  })

  it.each<Isolation>(['database', 'branch', 'project'])('places are never overrun by many at once (%s)', async (isolation) => {
    await room(isolation, 2)
    const reserved = await Promise.all(Array.from({ length: 6 }, () => reserve(nameFor(isolation), isolation)))
    await switchOn({ match: on('POST /projects$'), times: 1, kind: 'drop_after' })
    await Promise.all(reserved.map(({ run_id }) => run(run_id)))
    const ids = JSON.stringify(reserved.map(({ id }) => id))
    expect(
      await master(
        sql`select status, count(*)::integer as n from platform.tenants where id in (select value::uuid from jsonb_array_elements_text(${ids}::jsonb)) group by 1`,
      ),
    ).toEqual([{ status: 'active', n: 6 }])
    expect(
      await master(
        sql`select name from platform.hosts h where taken > capacity or taken <> (select count(*) from platform.tenants t where t.host_id = h.id)`,
      ),
    ).toEqual([])
  })

  it('when Neon gives no more projects, who waits fails at once, who comes is refused, and what Neon has is not asked again', async () => {
    await fillHomes('database')
    const name = nameFor('database')
    const { id, run_id } = await reserve(name, 'database')
    await switchOn({ match: on('POST /projects$'), times: 1_000, ...LIMIT })
    await run(run_id)
    expect((await call('', `/platform/v1/tenants/${id}/provisioning`, { token })).body).toMatchObject({ status: 'failed' })
    const [step] = await master(
      sql`select state, attempts, error from platform.provisioning_steps where tenant_id = ${id} and name = 'place'`,
    )
    expect(step).toMatchObject({ state: 'failed', attempts: 1 })
    expect(step?.error).toMatch(/422.*projects limit exceeded/)
    const [{ times: before } = { times: 0 }] = await pending()
    expect(before).toBe(999)
    for (const _ of [1, 2]) {
      const refused = await call('', '/platform/v1/tenants', { token, body: wanted(nameFor('database')) })
      expect(refused.body).toMatchObject({ status: 503, code: 'no_capacity' })
      expect(refused.headers.get('Retry-After')).toMatch(/^\d+$/)
    }
    expect((await pending())[0]?.times).toBe(before)
    // The other kind has room of its own.
    await room('branch', 3)
    const other = await reserve(nameFor('branch'), 'branch')
    await run(other.run_id)
    expect(await whole(`faulty-branch-${n}`)).toMatchObject(WHOLE)
    // Neon gives again, and the five minutes are over.
    await switchOn()
    await master(sql`update platform.hosts set lease_until = now() where kind = 'database' and state = 'opening'`)
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })).status).toBe(202)
    await ended(await newestRun(id))
    expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
  })

  it('when Neon gives no spare, the tenant that asked is active all the same, and so are those that still have room', async () => {
    await room('database', 2)
    await switchOn({ match: on('POST /projects$'), times: 1_000, ...LIMIT })
    for (const _ of [1, 2]) {
      const name = nameFor('database')
      const answer = await call('', '/platform/v1/tenants', { token, body: wanted(name) })
      expect(answer.status, JSON.stringify(answer.body)).toBe(202)
      await ended(await newestRun(answer.body.id))
      expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
    }
    expect((await call('', '/platform/v1/tenants', { token, body: wanted(nameFor('database')) })).body).toMatchObject({
      code: 'no_capacity',
    })
    await switchOn()
    await master(sql`update platform.hosts set lease_until = now() where kind = 'database' and state = 'opening'`)
    const { run_id } = await reserve(nameFor('database'), 'database')
    await run(run_id)
  })

  it('that the master says is somewhere else is not used: the tenant fails with words, and a retry finishes it', async () => {
    await room('database', 3)
    const [host] = await master(
      sql`update platform.hosts set project_id = 'gone-project-1' where kind = 'database' and taken < capacity returning id, name`,
    )
    const name = nameFor('database')
    const { id, run_id } = await reserve(name, 'database')
    await run(run_id)
    const [step] = await master(sql`select error from platform.provisioning_steps where tenant_id = ${id} and state = 'failed'`)
    const { projects } = await askNeon('/projects?limit=400')
    await master(
      sql`update platform.hosts set project_id = ${projects.find((one: any) => one.name === host?.name).id} where id = ${host?.id}`,
    )
    expect(step?.error).toMatch(/project not found/)
    expect((await call('', `/platform/v1/tenants/${id}/retry`, { token, method: 'POST' })).status).toBe(202)
    await ended(await newestRun(id))
    expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
  })
})

describe('at once', () => {
  it.each<Isolation>(['database', 'branch', 'project'])(
    'two creations of one subdomain under faults (%s): one is made, one is refused',
    async (isolation) => {
      const name = nameFor(isolation)
      await fillHomes(isolation)
      await switchOn(
        ...CHANGES(isolation).map((one): Fault => ({ match: on(one), times: 1, kind: 'drop_after' })),
        ...CALLS[isolation].map((one): Fault => ({ match: on(one), times: 1, ...BROKEN })),
      )
      const create = () =>
        call('', '/platform/v1/tenants', { token, headers: { Prefer: 'wait=25' }, body: wanted(name, { isolation }) })
      const answers = await Promise.all([create(), create()])
      expect(answers.map((answer) => answer.status).sort()).toEqual([201, 409])
      expect(answers.find((answer) => answer.status === 409)?.body.code).toBe('subdomain_taken')
      expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
    },
  )

  it('twenty in one project that is opened for them, under faults, are all active', async () => {
    await fillHomes('database')
    await switchOn(
      { match: on('POST /projects$'), times: 1, kind: 'drop_after' },
      { match: on('POST /databases$'), times: 3, kind: 'drop_after' },
      { match: on('POST /databases$'), times: 10, ...LOCKED },
      { match: on('GET /operations/[^/]+$'), times: 3, ...BROKEN },
    )
    const names = Array.from({ length: 20 }, () => nameFor('database'))
    const answers = await Promise.all(
      names.map((name) => call('', '/platform/v1/tenants', { token, headers: { Prefer: 'wait=55' }, body: wanted(name) })),
    )
    expect(answers.map((answer) => answer.status)).toEqual(names.map(() => 201))
    expect(await pending()).toEqual([])
    for (const name of names) expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
    const hosts = await master(
      sql`select count(distinct host_id)::integer as n from platform.tenants where subdomain in (select jsonb_array_elements_text(${JSON.stringify(names)}::jsonb))`,
    )
    expect(hosts).toEqual([{ n: 1 }])
  })
})

it('nothing is there twice and nothing is left over: Neon, the master and KV hold the same', async () => {
  const { neon, known } = await bothSides('faulty-')
  expect(neon).toEqual(known)
})
