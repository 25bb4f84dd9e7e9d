/**
 * The branch that is kept of before a migration, when its attempt takes long, fails, or is not the only one. Threat: an attempt that works
 * loses its lease, a slower one takes the later one's place, or branches are left that nobody knows.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { advance, begin, type Send } from '../../src/tenants/migration/fleet.ts'
import { keepBranch } from '../../src/tenants/migration/kept.ts'
import { tendUndos } from '../../src/tenants/migration/put-back.ts'
import { master, settings } from '../support/databases.ts'
import { bothSides, on, pending, rememberLeft, switchOn } from '../support/faults.ts'
import {
  BEFORE,
  behind,
  branchesOf,
  ended,
  eraseAll,
  KEPT,
  migrateAll,
  migrated,
  NEWEST,
  newTrace,
  undo,
  versionOf,
} from '../support/undo.ts'

beforeAll(rememberLeft, 60_000)

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
beforeAll(async () => {
  introspector = await introspectWorkflow(env.MIGRATION)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
})
afterEach(async () => {
  vi.useRealTimers()
  await switchOn()
})
afterAll(async () => {
  await introspector.dispose()
  await eraseAll('keeping-')
}, 240_000)

const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)
const begun = async () => String(await begin(send, settings(), { concurrency: 4, stop_percent: 100, rest: 'now' }, newTrace()))
const until = (what: () => Promise<unknown>) => vi.waitUntil(what, { timeout: 60_000, interval: 100 })
const rowOf = async (id: string) =>
  (
    await master(
      sql`select m.state, m.step, m.error, m.attempts, m.lease_until > now() + interval '1 minute' as is_held from platform.tenant_migrations m where m.tenant_id = ${id}`,
    )
  )[0]
const keptOf = async (id: string) =>
  (await master(sql`select attempt, branch_id from platform.kept_branches where tenant_id = ${id}`))[0]

/** The attempt of this number begins, without an instance. */
async function attempt(id: string, number: number) {
  await master(
    sql`update platform.tenant_migrations set state = 'running', attempts = ${number}, lease_until = now() + interval '3 minutes' where tenant_id = ${id}`,
  )
  return { tenant_id: id, target: NEWEST, attempt: number }
}

it('an attempt keeps its lease while Neon makes the branch', async () => {
  const id = await behind('keeping-long')
  await begun()
  await switchOn({ match: on('POST /branches$'), times: 1, kind: 'delay', ms: 8_000 })
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  await advance(env, settings())
  await until(async () => (await pending()).length === 0)
  await master(sql`update platform.tenant_migrations set lease_until = now() + interval '5 seconds' where tenant_id = ${id}`)
  expect(await rowOf(id)).toMatchObject({ is_held: false })
  vi.advanceTimersByTime(60_000)
  await until(async () => (await rowOf(id))?.is_held)
  await until(async () => (await rowOf(id))?.state === 'done')
  expect(await rowOf(id)).toMatchObject({ attempts: 1 })
})

it('a branch that Neon makes at no try fails the tenant at the step keep, with the words of Neon, and nothing is applied', async () => {
  const id = await behind('keeping-refused')
  const body = '{"message":"the branch cannot be made now"}'
  await switchOn({ match: on('POST /branches$'), times: 100, kind: 'status', status: 500, body })
  await migrateAll()
  expect(await rowOf(id)).toMatchObject({ state: 'failed', step: 'keep', error: expect.stringMatching(/cannot be made now/) })
  expect([(await versionOf(id)) === NEWEST, Object.keys(await branchesOf(id))]).toEqual([false, ['its']])
  await switchOn()
  await migrateAll()
  expect(await rowOf(id)).toMatchObject({ state: 'done', step: null, error: null })
})

it('a slower attempt takes no later one’s place', async () => {
  const id = await behind('keeping-slower')
  await begun()
  const first = await attempt(id, 1)
  await switchOn({ match: on('GET /branches$'), times: 1, kind: 'delay', ms: 3_000 })
  const slow = keepBranch(settings(), first)
  await until(async () => (await pending()).length === 0)
  await keepBranch(settings(), await attempt(id, 2))
  const kept = await keptOf(id)
  await slow
  expect(await keptOf(id)).toEqual(kept)
  expect(kept?.attempt).toBe(2)
  const branches = await branchesOf(id)
  expect([Object.keys(branches).sort(), branches[`its-${KEPT}-2`]]).toEqual([['its', `its-${KEPT}-2`], kept?.branch_id])
  await master(sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where tenant_id = ${id}`)
  await migrateAllThatIsLeft()
})

it('an attempt after one that applied a part of the migration goes on with the branch of before all of it', async () => {
  const id = await behind('keeping-part')
  await begun()
  await keepBranch(settings(), await attempt(id, 1))
  const kept = await keptOf(id)
  // As if one of two migrations had been applied since.
  await master(sql`update platform.kept_branches set from_version = 'tenant/0002_attacks' where tenant_id = ${id}`)
  await keepBranch(settings(), await attempt(id, 2))
  expect(await keptOf(id)).toEqual({ ...kept, attempt: 2 })
  expect(await branchesOf(id)).toMatchObject({ [`its-${KEPT}-1`]: kept?.branch_id })
  // One that applied nothing takes its own.
  await master(sql`update platform.kept_branches set from_version = ${BEFORE} where tenant_id = ${id}`)
  await keepBranch(settings(), await attempt(id, 3))
  const branches = await branchesOf(id)
  expect(Object.keys(branches).sort()).toEqual(['its', `its-${KEPT}-3`])
  expect(await keptOf(id)).toEqual({ attempt: 3, branch_id: branches[`its-${KEPT}-3`] })
  await master(sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where tenant_id = ${id}`)
  await migrateAllThatIsLeft()
})

it('what a slower attempt has Neon make after a later one began goes with the branch of that one', async () => {
  const id = await behind('keeping-left')
  await begun()
  const first = await attempt(id, 1)
  await switchOn({ match: on('POST /branches$'), times: 1, kind: 'delay', ms: 3_000 })
  const slow = keepBranch(settings(), first)
  await until(async () => (await pending()).length === 0)
  await keepBranch(settings(), await attempt(id, 2))
  await slow
  expect(Object.keys(await branchesOf(id)).sort()).toEqual(['its', `its-${KEPT}-1`, `its-${KEPT}-2`])
  await master(
    sql`update platform.kept_branches set kept_until = now() where tenant_id = ${id}`,
    sql`update platform.tenant_migrations set state = 'failed' where tenant_id = ${id}`,
  )
  await tendUndos(env, settings())
  expect(Object.keys(await branchesOf(id))).toEqual(['its'])
  await migrateAllThatIsLeft()
})

it('afterwards the master knows every branch that Neon has, also one that an undo left', async () => {
  const id = await migrated('keeping-undone')
  expect((await undo(id)).status).toBe(202)
  expect(await ended(id)).toMatchObject({ state: 'done' })
  const { neon, known } = await bothSides('keeping-')
  expect(known.filter((line) => line.startsWith('branch') && /-(before|undone)-/.test(line)).length).toBeGreaterThan(2)
  expect(neon.filter((line) => !line.includes('copied_by_tests'))).toEqual(known)
})

/** Ends the run that is running. */
async function migrateAllThatIsLeft() {
  await until(async () => {
    await advance(env, settings())
    return !(await master(sql`select from platform.migration_runs where state = 'running'`)).length
  })
}
