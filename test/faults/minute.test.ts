/** Threat: Neon is away for longer than anybody waits by themselves, and what was under way is lost, made twice, or takes others with it. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { startRun } from '../../src/tenants/provisioning/provisioning.ts'
import { atDatabase, type Database, databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { findingsOf } from '../support/doctor.ts'
import {
  bothSides,
  fillHomes,
  type Isolation,
  on,
  pending,
  rememberLeft,
  reserve,
  switchOn,
  WHOLE,
  whole,
} from '../support/faults.ts'
import { type Answer, call, login, makeTenant, operatorToken } from '../support/people.ts'
import { makeIsolated } from '../support/stranger.ts'

beforeAll(rememberLeft, 60_000)

const MINUTE = 60_000
const GONE = 'minute-gone'
const HERE = 'minute-here'
/** Nobody listens: the request is taken by nobody, and no answer comes. */
const NOBODY: Fault = { match: { path: '^/api/v2/' }, times: 1_000_000, kind: 'drop_before' }
/** What lets one request through before. */
const once = (call: string): Fault => ({ match: on(call), times: 1, kind: 'delay', ms: 0 })

/** Tenants that meet the minute at different steps. */
const MADE: { subdomain: string; isolation: Isolation; step: string; first: Fault[] }[] = [
  { subdomain: 'minute-homeless', isolation: 'database', step: 'place', first: [] },
  { subdomain: 'minute-own', isolation: 'project', step: 'place', first: [] },
  { subdomain: 'minute-asked', isolation: 'branch', step: 'operations', first: [once('POST /branches$')] },
]

/** Tenants that are erased in that minute. */
const ERASED: Isolation[] = ['database', 'branch', 'project', 'external']
const erasedName = (isolation: Isolation) => `minute-erased-${isolation}`
const erased = new Map<Isolation, string>()

let token: string
let gone: Database
let sessions: Record<string, string>

beforeAll(async () => {
  token = await operatorToken()
  await makeTenant(GONE, {}, token)
  await makeTenant(HERE, {}, token)
  // A branch needs a host that is there, or it is at its place in that minute too.
  await makeTenant('minute-branch', { isolation: 'branch' }, token)
  for (const isolation of ERASED) erased.set(isolation, (await makeIsolated(erasedName(isolation), isolation, token)).id)
  gone = await databaseOf(GONE)
  sessions = { [GONE]: (await login(GONE)).access_token, [HERE]: (await login(HERE)).access_token }
})
afterAll(() => switchOn())

const me = async (name: string) => {
  const from = Date.now()
  const answer = await call(name, '/api/v1/auth/me', { token: sessions[name] })
  return { answer, ms: Date.now() - from }
}
const stepOf = async (id: string) =>
  (
    await master(
      sql`select name, attempts, error from platform.provisioning_steps where tenant_id = ${id} and state in ('running', 'failed')`,
    )
  )[0]
const statusOf = async (id: string) => (await master(sql`select status from platform.tenants where id = ${id}`))[0]?.status

/** The connection string of a tenant's host. */
async function hostOf(tenant_id: string): Promise<string> {
  const [host] = await master(
    sql`select h.id, h.owner_url_encrypted as sealed from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${tenant_id}`,
  )
  return openOwnerUrl(settings(), host?.id, host?.sealed)
}

/** Those whose erasure is not over, with why it stopped. */
const notErased = () =>
  master(
    sql`select t.subdomain as name, t.status, s.error from platform.tenants t left join platform.provisioning_steps s on s.tenant_id = t.id and s.name = 'erase'
        where t.subdomain like 'minute-erased-%' order by 1`,
  )

async function settled(id: string, ms: number): Promise<string> {
  for (const until = Date.now() + ms; Date.now() < until; await scheduler.wait(200))
    if ((await statusOf(id)) !== 'provisioning') break
  return statusOf(id)
}

describe('Neon’s API is away for a minute', () => {
  it('while tenants are made and a database is away: who has a database feels nothing, and all are made afterwards, once', async () => {
    const reserved: { id: string; subdomain: string; step: string }[] = []
    await rowsOf(gone.host_url, sql.raw(`alter database ${gone.name} rename to minute_moved`))
    await fillHomes('database')
    // Of two databases of somebody else's one is there, which Neon's API has nothing to do with, and one is away.
    const adopted = await reserve('minute-adopted', 'external')
    const absent = await reserve('minute-absent', 'external')
    const own = await hostOf(absent.id)
    await rowsOf(atDatabase(own, 'neondb'), sql`alter database shop_minute_absent rename to minute_absent`)
    await switchOn(...MADE.flatMap(({ first }) => first), NOBODY)
    const until = Date.now() + MINUTE
    for (const { subdomain, isolation, step } of MADE) {
      const { id, run_id } = await reserve(subdomain, isolation)
      await startRun(env, run_id)
      reserved.push({ id, subdomain, step })
    }
    for (const { run_id } of [adopted, absent]) await startRun(env, run_id)
    reserved.push({ id: absent.id, subdomain: 'minute-absent', step: 'logins' })
    for (const isolation of ERASED) {
      const query = `?hard=true&confirm=${erasedName(isolation)}`
      const answer = await call('', `/platform/v1/tenants/${erased.get(isolation)}${query}`, { token, method: 'DELETE' })
      expect(answer.status, isolation).toBe(202)
    }

    const load = async (name: string) => {
      const told: { answer: Answer; ms: number }[] = []
      for (; Date.now() < until; await scheduler.wait(50)) told.push(await me(name))
      return told
    }
    const [here, away] = await Promise.all([Promise.all([HERE, HERE, HERE].map(load)), Promise.all([GONE, GONE].map(load))])

    // Still away, and the minute is over: each stands where Neon left it, and says why.
    for (const { id, subdomain, step } of reserved) {
      const stopped = await stepOf(id)
      expect([stopped?.name, stopped?.attempts > 1], subdomain).toEqual([step, true])
      expect(stopped?.error, subdomain).toMatch(/network|no response|connection|fetch|does not exist/i)
    }
    // Of these what Neon has stays, and is known; an adopted database is none of Neon’s.
    const stopped = (isolation: Isolation) => ({
      name: erasedName(isolation),
      status: 'erasing',
      error: expect.stringMatching(/network|no response|connection|fetch/i),
    })
    await eraseStale(env as never, settings())
    expect(await notErased()).toMatchObject(['branch', 'database', 'project'].map((one) => stopped(one as Isolation)))
    expect(await whole('minute-adopted')).toEqual({ ...WHOLE, subdomain: 'minute-adopted' })
    expect((await pending()).map(({ match }) => match.path)).toEqual([NOBODY.match.path])
    const served = here.flat()
    expect(served.filter(({ answer }) => answer.status !== 200)).toEqual([])
    expect(served.length).toBeGreaterThan(300)
    expect(Math.max(...served.map(({ ms }) => ms)), 'the slowest of who has a database').toBeLessThan(5_000)
    for (const { answer, ms } of away.flat()) {
      expect(answer.body).toMatchObject({ status: 503, code: 'database_unavailable' })
      expect(answer.headers.get('Retry-After')).toMatch(/^[1-9]\d*$/)
      expect(ms).toBeLessThan(5_000)
    }
    expect(away.flat().length).toBeGreaterThan(100)

    await switchOn()
    await rowsOf(gone.host_url, sql.raw(`alter database minute_moved rename to ${gone.name}`))
    await rowsOf(atDatabase(own, 'neondb'), sql`alter database minute_absent rename to shop_minute_absent`)
    expect((await me(GONE)).answer.status).toBe(200)
    await eraseStale(env as never, settings())
    expect(await notErased()).toEqual([])
    for (const { id, subdomain } of reserved) {
      // Tries were left, or were not: then it stands as failed, and an operator goes on with it.
      if ((await settled(id, 90_000)) === 'failed') {
        const again = await call('', `/platform/v1/tenants/${id}/retry`, { token: await operatorToken(), method: 'POST' })
        expect(again.status, JSON.stringify(again.body)).toBe(202)
        await settled(id, 60_000)
      }
      expect(await whole(subdomain)).toEqual({ ...WHOLE, subdomain })
      expect((await login(subdomain)).token_type).toBe('Bearer')
    }
  }, 400_000)

  it('and nothing is there twice or left over: Neon, the master and KV hold the same, and the doctor finds nothing', async () => {
    const { neon, known } = await bothSides('minute-')
    expect(neon).toEqual(known)
    expect(await findingsOf('minute')).toEqual([])
  })
})
