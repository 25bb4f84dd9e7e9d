/** Tenants with a branch of their own, which are migrated, and what is kept of before. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { expect, vi } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { erase } from '../../src/tenants/lifecycle/erasure.ts'
import { advance, begin, type Send } from '../../src/tenants/migration/fleet.ts'
import { firstAttempt, startUndo, tendUndos } from '../../src/tenants/migration/put-back.ts'
import type { UndoWork } from '../../src/tenants/migration/undo.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { databaseOf, master, settings } from './databases.ts'
import { askNeon } from './faults.ts'
import { type Answer, call, operatorToken } from './people.ts'
import { expectProblem } from './refusal.ts'
import { attempted } from './runs.ts'
import { copyTenant } from './tenants.ts'

export const NEWEST = String(tenantMigrations.at(-1)?.name)
export const BEFORE = String(tenantMigrations.at(-2)?.name)
/** As the branch is named that is kept of before the newest migration, without the number of the attempt. */
export const KEPT = `before-${NEWEST.replace(/^tenant\/(\d+).*$/, '$1')}`

/** Makes the newest migration fail in a database, and lets it pass again. */
export const OBSTACLE = sql.raw(`alter table freehold.migrations add constraint obstacle check (name <> '${NEWEST}')`)
export const NO_OBSTACLE = sql.raw('alter table freehold.migrations drop constraint obstacle')

export const newTrace = () => crypto.randomUUID().replaceAll('-', '')
export const undoPath = (id: string) => `/platform/v1/tenants/${id}/undo-migration`
export const look = async (id: string) => (await call('', undoPath(id), { token: await operatorToken() })).body
export const undo = async (id: string, body: object = {}): Promise<Answer> =>
  call('', undoPath(id), { token: await operatorToken(), body })

/** The newest undo of a tenant, once it has ended. */
export async function ended(id: string): Promise<any> {
  const state = async () =>
    (
      await master(
        sql`select u.state from platform.migration_undos u where u.tenant_id = ${id} order by u.created_at desc limit 1`,
      )
    )[0]?.state
  await vi.waitUntil(async () => !['running', undefined].includes(await state()), { timeout: 60_000, interval: 100 })
  return (await look(id)).newest
}

export const versionOf = async (id: string) =>
  (await master(sql`select schema_version from platform.tenants where id = ${id}`))[0]?.schema_version
export const stateOf = async (id: string) =>
  (await master(sql`select state, error from platform.tenant_migrations where tenant_id = ${id} and target = ${NEWEST}`))[0]
export const ledgerOf = async (subdomain: string) =>
  (await (await databaseOf(subdomain)).asOwner(sql`select name from freehold.migrations order by name`)).at(-1)?.name

/** The branches of a tenant at Neon: their names, with `its` for the tenant's, and their ids. */
export async function branchesOf(id: string): Promise<Record<string, string>> {
  const { project_id } = await placeOf(id)
  const { branches } = await askNeon(`/projects/${project_id}/branches?search=tenant-${id}`)
  return Object.fromEntries(branches.map((branch: any) => [branch.name.replace(`tenant-${id}`, 'its'), branch.id]))
}
export async function placeOf(id: string): Promise<{ project_id: string }> {
  const [host] = await master(
    sql`select h.project_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  return host as { project_id: string }
}

const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)

/** Migrates whoever is behind, and waits. Returns the id of the run. */
export async function migrateAll(): Promise<string> {
  const run = String(await begin(send, settings(), { concurrency: 4, stop_percent: 100, rest: 'now' }, newTrace()))
  for (let tries = 0; ; tries++) {
    const [row] = await master(sql`select state from platform.migration_runs where id = ${run}`).catch(() => [])
    if (row && row.state !== 'running') return run
    if (tries % 10 === 0) await advance(env, settings()).catch(() => undefined)
    expect(tries, 'the run ends').toBeLessThan(600)
    await scheduler.wait(100)
  }
}

/** A tenant with a branch of its own that is behind. */
export const behind = async (subdomain: string, isolation: 'branch' | 'project' = 'branch') =>
  (await copyTenant(subdomain, { is_behind: true, isolation })).id

/** The same, migrated. */
export async function migrated(subdomain: string): Promise<string> {
  const id = await behind(subdomain)
  await migrateAll()
  expect([await versionOf(id), await ledgerOf(subdomain), (await stateOf(id))?.error]).toEqual([NEWEST, NEWEST, null])
  return id
}

/** Begins an undo in the master, as the door does, and leaves the start of its instance to the test. */
export async function plantUndo(id: string, trace_id = newTrace()): Promise<UndoWork> {
  const undo_id = crypto.randomUUID()
  const [row] = await master(
    sql`update platform.tenant_migrations m set state = 'undoing' from platform.kept_branches k where m.tenant_id = ${id} and k.tenant_id = m.tenant_id and k.target = m.target`,
    sql`insert into platform.migration_undos (id, tenant_id, target, branch_id, parent_id, state, is_automatic, discard_writes, was, attempts, lease_until, trace_id)
        select ${undo_id}, ${id}, k.target, k.branch_id, k.parent_id, 'running', false, false, 'done', ${firstAttempt(sql`k.tenant_id`)}, now() + interval '3 minutes', ${trace_id} from platform.kept_branches k where k.tenant_id = ${id}
        returning attempts as attempt`,
  )
  return { undo_id, attempt: Number(row?.attempt) }
}

/** Starts the instance of an undo, and waits until it has ended, without a request that might meet a fault meant for it. */
export async function runUndo(work: UndoWork): Promise<void> {
  await startUndo(env, work)
  const instance = await env.MIGRATION.get(`undo-${work.undo_id}-${work.attempt}`)
  await vi.waitUntil(async () => ['complete', 'errored', 'terminated'].includes((await instance.status()).status), {
    timeout: 60_000,
    interval: 50,
  })
}

/** Goes on with what is left of undos, as the scheduled job does once their leases have run out, until none is left of this tenant. */
export async function tendUntilEnded(id: string): Promise<string> {
  for (let tries = 0; tries < 60; tries++) {
    const [row] = await master(
      sql`update platform.migration_undos set lease_until = now() - interval '1 second' where tenant_id = ${id} and state = 'running'`,
      sql`select u.state from platform.migration_undos u where u.tenant_id = ${id} order by u.created_at desc limit 1`,
    )
    if (row?.state !== 'running') return String(row?.state)
    await tendUndos(env, settings())
    await attempted(
      async () =>
        (await master(sql`select from platform.migration_undos where tenant_id = ${id} and state = 'running'`)).length > 0,
    )
  }
  return 'unfinished'
}

/** An undo that is refused, in these words. */
export async function expectRefusal(asked: Promise<Answer>, words: RegExp): Promise<Answer> {
  const answer = await asked
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toMatch(words)
  return answer
}

/** Erases tenants, one after another: what is left of these tests would be in the way of others. */
export async function eraseAll(prefix: string): Promise<void> {
  for (const { id } of await master(
    sql`update platform.tenants t set status = 'erasing', deleted_at = now() where t.subdomain like ${`${prefix}%`} returning t.id`,
  )) {
    for (let tries = 0; (await master(sql`select from platform.tenants t where t.id = ${id}`)).length; tries++) {
      expect(tries, 'it is erased').toBeLessThan(40)
      // The job of another file removes what a move left; if that file is over, its lease ends by time alone.
      if (tries) await scheduler.wait(200)
      if (tries === 20) await master(sql`update platform.tenant_moves set lease_until = now() where tenant_id = ${id}`)
      await erase(env, settings(), String(id), newTrace())
    }
  }
}

/** What makes the presets fail after the migrations, so that a migration fails half-way. */
export async function breakPresets(subdomain: string): Promise<void> {
  const { asOwner } = await databaseOf(subdomain)
  await asOwner(
    sql`delete from freehold.role_permissions rp using freehold.roles r where r.id = rp.role_id and rp.permission = 'unit:create'`,
    sql`delete from freehold.permissions where name = 'unit:create'`,
    sql`alter table freehold.permissions add constraint planted check (name <> 'unit:create')`,
  )
}
