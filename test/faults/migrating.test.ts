/**
 * Migrations that meet another attempt at the same tenant, or a ledger that is not as it was left. Threat: the slower of two attempts
 * records what is not so, or one tenant that cannot be migrated keeps all others from it.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { advance, begin, type Send } from '../../src/tenants/migration/fleet.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { hold, waiting } from '../support/faults.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const NEWEST = tenantMigrations.at(-1)?.name
const BEFORE = tenantMigrations.at(-2)?.name
const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)
const startRun = async (stop_percent = 0) =>
  String(await begin(send, settings(), { concurrency: 4, stop_percent, rest: 'now' }, 'a'.repeat(32)))
const runOf = async (id: string) => (await master(sql`select state, reason from platform.migration_runs where id = ${id}`))[0]
const rowOf = async (at: string) =>
  (
    await master(
      sql`select m.*, t.schema_version, extract(epoch from m.finished_at - m.started_at) * 1000 as took, m.lease_until > now() + interval '1 minute' as is_held
          from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id where t.subdomain = ${at} and m.target = ${NEWEST}`,
    )
  )[0]
const until = (what: () => Promise<unknown>, timeout = 20_000) => vi.waitUntil(what, { timeout, interval: 100 })
const ended = async (id: string) => {
  await until(async () => (await runOf(id))?.state !== 'running')
  return runOf(id)
}

/** The lock under which databases are migrated, and how long it is held. */
const migrating = (seconds: number) => ['select pg_advisory_xact_lock(20261122)', `select pg_sleep(${seconds})`]
afterEach(() => vi.useRealTimers())

describe('an attempt', () => {
  it('that was taken for dead records nothing: the next one does, with its own time', async () => {
    const at = 'migrating-late'
    await copyTenant(at, { is_behind: true })
    const { owner_url, asOwner } = await databaseOf(at)
    const id = await startRun()
    const held = hold(owner_url, ...migrating(30))
    await scheduler.wait(300)
    await advance(env, settings())
    await waiting(at, 'advisory')
    // Its lease is over, and whoever took it over was killed at once.
    await master(sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where run_id = ${id}`)
    const nobody = { ...env, MIGRATION: { create: async () => undefined } as unknown as typeof env.MIGRATION }
    await advance(nobody, settings())
    held.letGo()
    const ledger = () => asOwner(sql`select name from freehold.migrations where name = ${NEWEST}`)
    await until(async () => (await ledger()).length)
    await scheduler.wait(1_000)
    expect(await rowOf(at)).toMatchObject({ state: 'running', attempts: 2, ms: null, schema_version: BEFORE, finished_at: null })
    await master(sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where run_id = ${id}`)
    await advance(env, settings())
    expect(await ended(id)).toEqual({ state: 'done', reason: null })
    const row = await rowOf(at)
    expect(row).toMatchObject({ state: 'done', attempts: 3, schema_version: NEWEST, step: null, error: null })
    // Of the third attempt alone, in the database's own time.
    expect(row?.ms).toBeGreaterThanOrEqual(0)
    expect(row?.ms).toBeLessThanOrEqual(Number(row?.took) + 1_000)
    expect(await ledger()).toHaveLength(1)
  })

  it('of two for one tenant at once: it is migrated once, and recorded once', async () => {
    const at = 'migrating-two'
    await copyTenant(at, { is_behind: true })
    const { owner_url, asOwner, id: tenant_id } = await databaseOf(at)
    const versions = async () => Number((await master(sql`select v from platform.tenants where id = ${tenant_id}`))[0]?.v)
    const before = await versions()
    const id = await startRun()
    const held = hold(owner_url, ...migrating(30))
    await scheduler.wait(300)
    await advance(env, settings())
    await waiting(at, 'advisory')
    await master(sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where run_id = ${id}`)
    await Promise.all(Array.from({ length: 10 }, () => advance(env, settings())))
    await scheduler.wait(500)
    held.letGo()
    expect(await ended(id)).toEqual({ state: 'done', reason: null })
    expect(await rowOf(at)).toMatchObject({ state: 'done', attempts: 2, schema_version: NEWEST })
    expect(await versions()).toBe(before + 1)
    expect(await asOwner(sql`select name from freehold.migrations`)).toHaveLength(tenantMigrations.length)
  })

  it('keeps its lease for as long as it works', async () => {
    const at = 'migrating-long'
    await copyTenant(at, { is_behind: true })
    const { owner_url } = await databaseOf(at)
    const id = await startRun()
    const held = hold(owner_url, ...migrating(30))
    await scheduler.wait(300)
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    await advance(env, settings())
    await waiting(at, 'advisory')
    await master(sql`update platform.tenant_migrations set lease_until = now() + interval '5 seconds' where run_id = ${id}`)
    expect(await rowOf(at)).toMatchObject({ is_held: false })
    vi.advanceTimersByTime(60_000)
    await until(async () => (await rowOf(at))?.is_held, 5_000)
    held.letGo()
    expect(await ended(id)).toEqual({ state: 'done', reason: null })
    expect(await rowOf(at)).toMatchObject({ attempts: 1 })
  })
})

describe('a run', () => {
  let token: string
  beforeAll(async () => {
    token = await operatorToken()
  })
  const runs = (path: string, body?: object) => call('', `/platform/v1/migrations${path}`, { token, ...(body && { body }) })

  it('names a ledger that was edited, and one of a later release; migrates the others; and is resumed when they are mended', async () => {
    const names = ['migrating-edited', 'migrating-later', 'migrating-fine', 'migrating-good']
    await Promise.all(names.map((name) => copyTenant(name, { is_behind: true })))
    const [edited, later] = [await databaseOf('migrating-edited'), await databaseOf('migrating-later')]
    await edited.asOwner(sql`update freehold.migrations set checksum = reverse(checksum) where name = ${BEFORE}`)
    await later.asOwner(sql`insert into freehold.migrations (name, checksum) values ('tenant/9000_later', 'ab')`)
    const begun = await runs('', { rest: 'now', stop_percent: 100 })
    expect(await ended(begun.body.id)).toEqual({ state: 'done', reason: null })
    const { body } = await runs(`/${begun.body.id}/tenants`)
    const said = Object.fromEntries(body.data.map((row: Record<string, unknown>) => [row.subdomain, row]))
    expect(said).toMatchObject({
      'migrating-edited': {
        state: 'failed',
        step: 'ledger',
        attempts: 1,
        error: `Migration ${BEFORE} was edited after it was applied to this database. Restore its file; a change is a migration of its own.`,
      },
      'migrating-later': {
        state: 'failed',
        step: 'ledger',
        error: expect.stringContaining('has the migration tenant/9000_later'),
      },
      'migrating-fine': { state: 'done', step: null, error: null },
      'migrating-good': { state: 'done', step: null, error: null },
    })
    await edited.asOwner(sql`update freehold.migrations set checksum = reverse(checksum) where name = ${BEFORE}`)
    await later.asOwner(sql`delete from freehold.migrations where name = 'tenant/9000_later'`)
    expect((await runs(`/${begun.body.id}/resume`, {})).status).toBe(202)
    expect(await ended(begun.body.id)).toEqual({ state: 'done', reason: null })
    const after = await runs(`/${begun.body.id}/tenants`)
    expect(after.body.data.map((row: Record<string, unknown>) => [row.state, row.step, row.error])).toEqual(
      Array(4).fill(['done', null, null]),
    )
  })

  it('that is begun, or resumed, while another is running: the refusal says which', async () => {
    await copyTenant('migrating-which', { is_behind: true })
    const [other] = await master(
      sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from) values (gen_random_uuid(), ${NEWEST}, 'stopped', 1, 5, now()) returning id`,
    )
    const id = await startRun()
    for (const path of ['', `/${other?.id}/resume`]) {
      const refused = await runs(path, {})
      expectProblem(refused, 409, 'illegal_state')
      expect(refused.body.detail).toBe(`Migration run ${id} is running: GET /platform/v1/migrations/${id} shows it.`)
    }
    await advance(env, settings())
    expect(await ended(id)).toEqual({ state: 'done', reason: null })
  })
})
