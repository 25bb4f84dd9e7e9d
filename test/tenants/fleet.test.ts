/** Tenants of the release before, and the runs that take them to this one. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { presetVersion } from '../../src/presets/version.ts'
import { advance, begin, type Send } from '../../src/tenants/migration/fleet.ts'
import { tendMigrations } from '../../src/tenants/migration/touch.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { awaitTurn, endTurn } from '../support/runs.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { BEFORE, NEWEST, NO_OBSTACLE, OBSTACLE } from '../support/undo.ts'

let token: string
beforeAll(async () => {
  await awaitTurn()
  token = await operatorToken()
}, 130_000)
afterAll(endTurn)

const runs = (path = '', body?: object) => call('', `/platform/v1/migrations${path}`, { token, ...(body && { body }) })
const until = async (id: string, state: string) => {
  const run = await vi.waitUntil(
    async () => {
      const { body } = await runs(`/${id}`)
      return body.state === 'running' ? null : body
    },
    { timeout: 60_000, interval: 100 },
  )
  expect(run.state, JSON.stringify(run)).toBe(state)
  return run
}
const versionOf = async (subdomain: string) =>
  (await master(sql`select schema_version from platform.tenants where subdomain = ${subdomain}`))[0]?.schema_version
const ledgerOf = async (subdomain: string) =>
  (await (await databaseOf(subdomain)).asOwner(sql`select name from freehold.migrations order by name`)).at(-1)?.name

/** As the release before left it: it had another version of the preset, or none was kept yet. */
const lacksPreset = (subdomain: string, version: string | null = 'of-before') =>
  master(sql`update platform.tenants set presets_version = ${version} where subdomain = ${subdomain}`)

describe('a tenant that is behind', () => {
  it('is served what the schema of the release before can do, and for the rest told to come again', async () => {
    await copyTenant('behind-served', { is_behind: true })
    const keys = await call('behind-served', '/.well-known/jwks.json')
    expect(keys.status).toBe(200)
    const login = await call('behind-served', '/api/v1/auth/login', { body: ADMIN })
    if (login.status !== 200) {
      expectProblem(login, 503, 'tenant_upgrading')
      expect(login.headers.get('Retry-After')).toBe('2')
    }
    expect(await versionOf('behind-served')).toBe(BEFORE)
    expect((await call('', '/readyz')).body).toMatchObject({ status: 'ok', tenants_behind: expect.any(Number) })
    await vi.waitUntil(async () => (await call('', '/readyz')).body.tenants_behind > 0, { timeout: 60_000, interval: 200 })
  })
})

describe('a tenant that lacks what its preset has gained', () => {
  it('is counted as behind, and its requests are not answered as if its schema were older', async () => {
    await copyTenant('behind-preset')
    const { asOwner } = await databaseOf('behind-preset')
    const user = await tokenOf('behind-preset')
    await lacksPreset('behind-preset')
    expect((await runs('/plan')).body.tenants).toBeGreaterThan(0)
    expect((await call('behind-preset', '/api/v1/units', { token: user })).status).toBe(200)
    await asOwner(sql`alter table freehold.units rename to units_away`)
    expectProblem(await call('behind-preset', '/api/v1/units', { token: user }), 500, 'internal_error')
    await lacksPreset('behind-preset', presetVersion('minimal'))
  })
})

describe('a run', () => {
  it('takes every tenant that is behind to the newest schema, and says of each from where, to where and how long', async () => {
    await Promise.all(['fleet-a', 'fleet-b', 'fleet-c'].map((name) => copyTenant(name, { is_behind: true })))
    const plan = await runs('/plan')
    expect([plan.status, plan.body.target]).toEqual([200, NEWEST])
    expect(plan.body.tenants).toBeGreaterThanOrEqual(3)
    expect(plan.body.waves[0]).toEqual({ wave: 'canary', tenants: 1 })
    const begun = await runs('', { rest: 'now' })
    expect([begun.status, begun.headers.get('Location')]).toEqual([202, `/platform/v1/migrations/${begun.body.id}`])
    const done = await until(begun.body.id, 'done')
    expect(done.tenants).toEqual({ pending: 0, running: 0, done: plan.body.tenants, failed: 0, undone: 0 })
    const report = await runs(`/${done.id}/tenants`)
    for (const row of report.body.data)
      expect(row).toMatchObject({ state: 'done', from: BEFORE, to: NEWEST, attempts: 1, error: null, ms: expect.any(Number) })
    for (const name of ['fleet-a', 'fleet-b', 'fleet-c'])
      expect([await versionOf(name), await ledgerOf(name)]).toEqual([NEWEST, NEWEST])
    expect((await call('fleet-a', '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    expectProblem(await runs('', {}), 409, 'illegal_state')
    expectProblem(await runs(`/${done.id}/resume`, {}), 409, 'illegal_state')
  })

  it.each([
    ['fleet-roles', 'that is behind', true],
    ['fleet-preset', 'on the newest schema', false],
  ])(
    'gives system roles of %s, %s, what their preset has gained, and leaves what it ended, deleted or made',
    async (at, _, is_behind) => {
      await copyTenant(at, { is_behind })
      const { asOwner } = await databaseOf(at)
      const carries = async (role: string, permission: string) =>
        (
          await asOwner(
            sql`select rp.scope, rp.ends_at is null as is_open from freehold.role_permissions rp join freehold.roles r on r.id = rp.role_id where r.name = ${role} and rp.permission = ${permission} order by rp.starts_at`,
          )
        ).map(({ scope, is_open }) => `${scope} ${is_open}`)
      const before = [
        await carries('admin', 'unit:create'),
        await carries('user', 'delegation:read'),
        await carries('admin', 'unit:read'),
      ]
      expect(before.flat().length).toBeGreaterThan(1)
      await asOwner(
        // As if the release before had not had it: its preset did not grant it, nor know the permission.
        sql`delete from freehold.role_permissions rp using freehold.roles r where r.id = rp.role_id and rp.permission = 'unit:create'`,
        sql`delete from freehold.permissions where name = 'unit:create'`,
        // And the tenant ended one, and widened another.
        sql`update freehold.role_permissions rp set ends_at = clock_timestamp() from freehold.roles r where r.id = rp.role_id and r.name = 'user' and rp.permission = 'delegation:read'`,
        sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'own')`,
      )
      if (!is_behind) await lacksPreset(at)
      const begun = await runs('', { rest: 'now' })
      await until(begun.body.id, 'done')
      expect((await runs('/plan')).body.tenants).toBe(0)
      expect(await carries('admin', 'unit:create')).toEqual(before[0])
      expect(await carries('user', 'delegation:read')).toEqual(before[1]?.map((each) => each.replace('true', 'false')))
      expect(await carries('admin', 'unit:read')).toEqual(before[2])
      expect(await carries('own', 'unit:create')).toEqual([])
    },
  )

  it('names in its report what was changed by hand, and leaves it', async () => {
    await Promise.all(['fleet-hand', 'fleet-tidy'].map((name) => copyTenant(name, { is_behind: true })))
    const { id, asOwner } = await databaseOf('fleet-hand')
    await asOwner(
      sql`alter policy read on freehold.units using (true)`,
      sql`alter table freehold.units disable row level security`,
      ...Array.from({ length: 30 }, (_, i) => sql.raw(`create view freehold.planted_${String(i).padStart(2, '0')} as select 1`)),
    )
    const begun = await runs('', { rest: 'now' })
    expect((await until(begun.body.id, 'done')).drifted).toBe(1)
    const report = await runs(`/${begun.body.id}/tenants?drifted=true`)
    expect(report.body.data).toMatchObject([{ subdomain: 'fleet-hand', state: 'done', to: NEWEST, drift: { count: 32 } }])
    expect(report.body.data[0].drift.objects).toHaveLength(20)
    const others = await runs(`/${begun.body.id}/tenants?drifted=false`)
    expect(others.body.data).toContainEqual(
      expect.objectContaining({ subdomain: 'fleet-tidy', drift: { count: 0, objects: [] } }),
    )
    const { drift } = (await call('', `/platform/v1/tenants/${id}/drift`, { token })).body
    expect(drift.slice(0, 20)).toEqual(report.body.data[0].drift.objects)
    expect([drift.length, drift[0], drift[1]]).toEqual([
      32,
      { object: 'policy read on freehold.units', state: 'changed' },
      { object: 'table freehold.units', state: 'changed' },
    ])
  })

  it('stops at a canary that fails, leaves everybody else as they were, and goes on when it is resumed', async () => {
    await Promise.all(['fleet-bad', 'fleet-good'].map((name) => copyTenant(name, { is_behind: true })))
    // The first by name of the hash of its id; which one that is does not matter.
    const [canary = '', other = ''] = (
      await master(sql`select t.subdomain from platform.tenants t where t.schema_version = ${BEFORE} order by md5(t.id::text)`)
    ).map(({ subdomain }) => subdomain)
    const broken = await databaseOf(canary)
    await broken.asOwner(OBSTACLE)
    const begun = await runs('', { rest: 'now' })
    const stopped = await until(begun.body.id, 'stopped')
    expect(stopped).toMatchObject({
      wave: 'canary',
      reason: '1 of 1 tenants failed',
      tenants: { failed: 1, done: 0, running: 0 },
    })
    const failed = await runs(`/${stopped.id}/tenants?state=failed`)
    expect(failed.body.data).toMatchObject([{ subdomain: canary, error: expect.stringMatching(/"obstacle"/) }])
    expect([await versionOf(other), await ledgerOf(other), await ledgerOf(canary)]).toEqual([BEFORE, BEFORE, BEFORE])
    // A request does not migrate behind a canary's back.
    await call(other, '/.well-known/jwks.json', { settings: { MIGRATIONS: 'automatic' } })
    await broken.asOwner(NO_OBSTACLE)
    expect((await runs(`/${stopped.id}/resume`, {})).status).toBe(202)
    const done = await until(stopped.id, 'done')
    expect(done.tenants).toMatchObject({ failed: 0, pending: 0, running: 0 })
    expect([await ledgerOf(other), await ledgerOf(canary)]).toEqual([NEWEST, NEWEST])
  })

  it('of two that are begun at once is one, and whoever goes on with it at once starts each tenant once', async () => {
    await Promise.all(['fleet-d', 'fleet-e', 'fleet-f'].map((name) => copyTenant(name, { is_behind: true })))
    const answers = await Promise.all(Array.from({ length: 20 }, () => runs('', { rest: 'now', concurrency: 2 })))
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    const id = answers.find(({ status }) => status === 202)?.body.id
    await Promise.all(Array.from({ length: 20 }, () => advance(env, settings())))
    await until(id, 'done')
    const report = await runs(`/${id}/tenants`)
    expect(report.body.data.map(({ attempts }: { attempts: number }) => attempts)).toEqual(report.body.data.map(() => 1))
  })

  it('is begun by itself for a tenant that was migrated and whose preset has changed, which has its row again, and applies no schema', async () => {
    await lacksPreset('fleet-a', null)
    const { id, asOwner } = await databaseOf('fleet-a')
    const version = async () => (await master(sql`select v, presets_version from platform.tenants where id = ${id}`))[0]
    const before = await version()
    // It would fail to apply: the ledger says that it was edited.
    await asOwner(sql`update freehold.migrations set checksum = 'edited' where name = ${BEFORE}`)
    expect((await call('fleet-a', '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    await tendMigrations(env, { ...settings(), MIGRATIONS: 'manual' })
    expect((await runs('?limit=1')).body.data[0].state).toBe('done')
    await tendMigrations(env, { ...settings(), MIGRATIONS: 'automatic' })
    const run = await until((await runs('?limit=1')).body.data[0].id, 'done')
    expect((await runs(`/${run.id}/tenants`)).body.data).toMatchObject([
      {
        subdomain: 'fleet-a',
        state: 'done',
        from: NEWEST,
        to: NEWEST,
        attempts: 2,
        drift: { count: 1, objects: [{ state: 'changed' }] },
      },
    ])
    expect(await version()).toEqual({ v: before?.v, presets_version: presetVersion('minimal') })
    await tendMigrations(env, { ...settings(), MIGRATIONS: 'automatic' })
    expect((await runs('?limit=1')).body.data[0].id).toBe(run.id)
  })

  it('leaves a tenant whose preset this release does not have', async () => {
    await copyTenant('fleet-odd')
    await master(
      sql`update platform.tenants set role_preset = 'of-another-release', presets_version = 'x' where subdomain = 'fleet-odd'`,
    )
    expect((await runs('/plan')).body.tenants).toBe(0)
    expectProblem(await runs('', {}), 409, 'illegal_state')
  })

  it('takes over a tenant whose attempt was lost, when its lease has run out', async () => {
    const { id: tenant_id } = await copyTenant('fleet-lost', { is_behind: true })
    const lost = { ...env, MIGRATION: { create: async () => undefined } as unknown as typeof env.MIGRATION }
    const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)
    const id = await begin(send, settings(), { concurrency: 1, stop_percent: 5, rest: 'now' }, 'a'.repeat(32))
    await advance(lost, settings())
    await advance(env, settings())
    expect((await runs(`/${id}`)).body.tenants).toMatchObject({ running: 1 })
    await master(
      sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where tenant_id = ${tenant_id}`,
    )
    await advance(env, settings())
    await until(String(id), 'done')
    expect((await runs(`/${id}/tenants`)).body.data).toMatchObject([{ state: 'done', attempts: 2 }])
  })

  it('to a schema that a later release goes beyond makes way for a new one', async () => {
    await copyTenant('fleet-later', { is_behind: true })
    const before = crypto.randomUUID()
    await master(
      sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from) values (${before}, ${BEFORE}, 'running', 1, 5, now())`,
    )
    const begun = await runs('', { rest: 'now' })
    expect(begun.status, JSON.stringify(begun.body)).toBe(202)
    await until(begun.body.id, 'done')
    expect((await runs(`/${before}`)).body).toMatchObject({ state: 'stopped', reason: 'A later release was deployed.' })
    expectProblem(await runs(`/${before}/resume`, {}), 409, 'illegal_state')
  })

  it('leaves those that sleep for the night, and migrates one of them at its first request', async () => {
    await Promise.all(['fleet-x', 'fleet-y', 'fleet-z'].map((name) => copyTenant(name, { is_behind: true })))
    await master(sql`update platform.maintenance set active_until = '-infinity'`)
    const begun = await runs('', {})
    await vi.waitUntil(async () => (await runs(`/${begun.body.id}`)).body.tenants.done === 2, { timeout: 60_000, interval: 100 })
    const [asleep] = await master(sql`select t.subdomain from platform.tenants t where t.schema_version = ${BEFORE}`)
    await advance(env, settings())
    expect((await runs(`/${begun.body.id}`)).body).toMatchObject({ state: 'running', tenants: { pending: 1 } })
    await master(sql`update platform.migration_runs set wave = 3 where id = ${begun.body.id}`)
    await call(asleep?.subdomain, '/.well-known/jwks.json', { settings: { MIGRATIONS: 'automatic' } })
    await until(begun.body.id, 'done')
    expect(await ledgerOf(asleep?.subdomain)).toBe(NEWEST)
  })

  it('is begun and read by operators who may, and by nobody else', async () => {
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'fleet-reader', 'fleet-reader@freehold.test', 'auditor')`,
    )
    const auditor = await tokenOf('', 'fleet-reader')
    expect((await call('', '/platform/v1/migrations', { token: auditor })).status).toBe(200)
    expectProblem(await call('', '/platform/v1/migrations', { token: auditor, body: {} }), 403, 'forbidden')
    expectProblem(await call('', '/platform/v1/migrations', { body: {} }), 401, 'token_missing')
    expectProblem(await runs('', { concurrency: 0 }), 400, 'invalid_request')
    expectProblem(await runs('', { stop_percent: '5' }), 400, 'invalid_request')
    expectProblem(await runs('', { anything: 1 }), 400, 'invalid_request')
    expectProblem(await runs(`/${crypto.randomUUID()}`), 404, 'not_found')
    expectProblem(await runs(`/${crypto.randomUUID()}/resume`, {}), 404, 'not_found')
    expectProblem(await runs(`/${crypto.randomUUID()}/tenants`), 404, 'not_found')
  })
})
