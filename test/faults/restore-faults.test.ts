/**
 * Restores whose calls to Neon and round trips are lost or refused, one after another, whose Worker is killed, and while KV is away.
 * Threat: a tenant that stays closed, or whose registry names a branch that it has not; two cuts of one audit; branches of nobody.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { tendRestores } from '../../src/tenants/restore/rest.ts'
import { exchange, publishRestore, wake } from '../../src/tenants/restore/restore.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { examine } from '../support/doctor.ts'
import { askNeon, on, pending, switchOn } from '../support/faults.ts'
import { login } from '../support/people.ts'
import { look, mark, peopleOf, plantPoint, plantRestore, runRestore, tenantOf, tendUntilSettled } from '../support/restore.ts'
import { eraseAll } from '../support/undo.ts'

type Kind = Omit<Fault, 'match' | 'times'>
const json = { 'Content-Type': 'application/json' }
const FAULTS: [string, Kind][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is a 423', { kind: 'status', status: 423, body: '{"message":"project already has running operations"}', headers: json }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"internal error"}', headers: json }],
]
const MAKING = [
  'GET /branches$',
  'POST /branches$',
  'GET /operations/[^/]+$',
  'GET /endpoints$',
  'POST /endpoints$',
  'GET /connection_uri$',
]
const RESTORING = ['GET /endpoints$', 'GET /connection_uri$', 'PATCH /branches/[^/]+$', 'POST /suspend$']
/** Round trips to the master and to both branches. */
const TRIPS = { making: 14, restoring: 16 }
const SQL = { method: 'POST', path: '^/sql$' }

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
beforeAll(async () => {
  introspector = await introspectWorkflow(env.RESTORE)
  // What is waited between two tries is Cloudflare's; what comes of them is ours.
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
})
afterEach(() => switchOn())
afterAll(async () => {
  await introspector.dispose()
  await eraseAll('timefault-')
}, 240_000)

const placeOf = async (id: string) =>
  (
    await master(
      sql`select h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
    )
  )[0] as Record<'project_id' | 'branch_id', string>
const branchesOf = async (id: string) =>
  (await askNeon(`/projects/${(await placeOf(id)).project_id}/branches`)).branches.map((branch: any) => branch.id) as string[]

/** Somebody who is there since the moment. */
const hire = async (subdomain: string, username: string) =>
  (await databaseOf(subdomain)).asOwner(
    sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${username}, ${`${username}@late.test`}, 'user')`,
  )

/** The tenant is open on its branch, everywhere; its audit is whole; nothing is left over, and nobody waits. */
async function expectWhole(id: string, subdomain: string, people: string[]) {
  expect(await peopleOf(subdomain)).toEqual(people)
  const [row] = await master(
    sql`select t.move_id, t.v = t.published_v as is_published from platform.tenants t where t.id = ${id}`,
  )
  expect(row).toEqual({ move_id: null, is_published: true })
  expect((await env.TENANTS.get<Entry>(kvKey(subdomain), 'json'))?.status).toBe('active')
  // The first answer may come from the branch that was left, which sends the Worker to the registry.
  await login(subdomain).catch(() => undefined)
  expect((await login(subdomain)).token_type).toBe('Bearer')
  expect(await verifyAudit(settings(), subdomain)).toMatchObject({ faults: [] })
  expect((await examine('neon')).filter(({ tenant_id, subject }) => tenant_id === id || subject.includes(id))).toEqual([])
}

/** Makes a point of a moment before somebody was there. */
async function ready(id: string, subdomain: string): Promise<string> {
  const at = await mark(id)
  await hire(subdomain, 'late')
  const work = await plantPoint(id, at)
  await runRestore(work)
  expect(await tendUntilSettled(id)).toBe('ready')
  return work.restore_id
}

/** Goes back to the state before, without a fault, and removes what is over. */
async function back(id: string, subdomain: string, restore_id: string) {
  await runRestore(await plantRestore(id, restore_id, 'returning'))
  expect(await tendUntilSettled(id)).toBe('returned')
  await (await databaseOf(subdomain)).asOwner(
    sql`delete from freehold.sessions s using freehold.users u where u.id = s.user_id and u.username = 'late'`,
    sql`update freehold.users set username = 'late' || substr(id::text, 1, 8), email = id || '@late.test', is_active = false where username = 'late'`,
  )
  await clear(id)
}
async function clear(id: string) {
  await master(
    sql`update platform.restore_points set kept_until = now(), compute_until = case when state in ('restored', 'returned') then now() end where tenant_id = ${id}`,
  )
  await tendRestores(env, settings())
  await tendRestores(env, settings())
  expect(await branchesOf(id)).toEqual([(await placeOf(id)).branch_id])
}
const here = async (subdomain: string) => (await peopleOf(subdomain)).filter((name) => name !== 'late')

describe.each(FAULTS)('when a call to Neon %s', (name, fault) => {
  const subdomain = `timefault-${name.replace(/\W+/g, '-')}`
  let id: string
  beforeAll(async () => {
    id = (await tenantOf(subdomain)).id
  })

  it.each(MAKING)('%s: one restore point is made', { timeout: 90_000 }, async (at) => {
    const moment = await mark(id)
    const work = await plantPoint(id, moment)
    await switchOn({ match: on(at), times: 1, ...fault })
    await runRestore(work)
    expect(await pending(), 'the fault happened').toEqual([])
    const state = await tendUntilSettled(id)
    expect(['ready', 'failed']).toContain(state)
    expect((await branchesOf(id)).length).toBeLessThanOrEqual(2)
    await clear(id)
    await expectWhole(id, subdomain, await peopleOf(subdomain))
  })

  it.each(RESTORING)('%s: the tenant is restored, once', { timeout: 90_000 }, async (at) => {
    const restore_id = await ready(id, subdomain)
    const work = await plantRestore(id, restore_id, 'restoring')
    await switchOn({ match: on(at), times: 1, ...fault })
    await runRestore(work)
    expect(await pending(), 'the fault happened').toEqual([])
    if ((await tendUntilSettled(id)) === 'ready') {
      await runRestore(await plantRestore(id, restore_id, 'restoring'))
      expect(await tendUntilSettled(id)).toBe('restored')
    }
    await expectWhole(id, subdomain, await here(subdomain))
    await back(id, subdomain, restore_id)
  })
})

describe.each([
  ['is lost', [], { kind: 'drop_before' }],
  ['is answered to nobody', [], { kind: 'drop_after' }],
  [
    'is the last of a Worker that is killed',
    [{ match: { path: '' }, times: 10_000, kind: 'drop_before' }],
    { kind: 'drop_after' },
  ],
] as [string, Fault[], Kind][])('when a round trip to a database %s', (name, then, fault) => {
  const subdomain = `timefault-sql-${name.replace(/\W+/g, '-').toLowerCase().slice(0, 20)}x`
  let id: string
  beforeAll(async () => {
    id = (await tenantOf(subdomain)).id
  })
  const lose = (place: number) =>
    switchOn(
      ...(place ? [{ match: SQL, times: place, kind: 'delay', ms: 1 } as const] : []),
      { match: SQL, times: 1, ...fault },
      ...then,
    )
  const range = (n: number) => Array.from({ length: n }, (_, i) => i)

  it.each(range(TRIPS.making))('that is number %i, the restore point is made or was not', { timeout: 90_000 }, async (place) => {
    const moment = await mark(id)
    const work = await plantPoint(id, moment)
    await lose(place)
    await runRestore(work)
    if (!then.length) expect(await pending(), 'the fault happened').toEqual([])
    await switchOn()
    expect(['ready', 'failed']).toContain(await tendUntilSettled(id))
    await clear(id)
    await expectWhole(id, subdomain, await peopleOf(subdomain))
  })

  it.each(range(TRIPS.restoring))('that is number %i, the tenant is restored, once', { timeout: 90_000 }, async (place) => {
    const restore_id = await ready(id, subdomain)
    const [cuts] = await master(sql`select count(*)::integer as n from platform.audit_cuts where realm_id = ${id}`)
    const work = await plantRestore(id, restore_id, 'restoring')
    await lose(place)
    await runRestore(work)
    if (!then.length) expect(await pending(), 'the fault happened').toEqual([])
    await switchOn()
    const state = await tendUntilSettled(id)
    expect(['ready', 'restored']).toContain(state)
    if (state === 'ready') {
      await login(subdomain).catch(() => undefined)
      expect((await login(subdomain)).token_type, 'it is open').toBe('Bearer')
      await runRestore(await plantRestore(id, restore_id, 'restoring'))
      expect(await tendUntilSettled(id)).toBe('restored')
    }
    await expectWhole(id, subdomain, await here(subdomain))
    expect(await master(sql`select count(*)::integer as n from platform.audit_cuts where realm_id = ${id}`)).toEqual([
      { n: Number(cuts?.n) + 1 },
    ])
    await back(id, subdomain, restore_id)
  })
})

it('while KV is away the tenant is restored, and the scheduled job tells everybody', { timeout: 90_000 }, async () => {
  const { id } = await tenantOf('timefault-kv')
  const restore_id = await ready(id, 'timefault-kv')
  const work = await plantRestore(id, restore_id, 'restoring')
  const host = String(await wake(settings(), work))
  expect(await exchange(settings(), work, host)).toBe(true)
  const TENANTS = new Proxy(env.TENANTS, {
    get: (kv, name) => (name === 'put' ? () => Promise.reject(new Error('KV is away')) : Reflect.get(kv, name).bind(kv)),
  })
  await publishRestore({ ...(env as never as object), TENANTS } as never, settings(), work)
  expect((await look(id)).newest.state).toBe('restored')
  for (let tries = 0; tries < 10; tries++) await reconcile(env as never, settings())
  await expectWhole(id, 'timefault-kv', await here('timefault-kv'))
})
