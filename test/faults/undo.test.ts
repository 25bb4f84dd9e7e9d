/**
 * Undo of a migration, for tenants that have a branch of their own. Threat: an undo that leaves a tenant closed or between two
 * databases, that the next run takes back, or that anybody may begin. What is written meanwhile: undo-writes.test.ts.
 */
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { tendUndos } from '../../src/tenants/migration/put-back.ts'
import { migrateOnTouch, tendMigrations } from '../../src/tenants/migration/touch.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { askNeon, switchOn } from '../support/faults.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import {
  BEFORE,
  behind,
  branchesOf,
  breakPresets,
  ended,
  eraseAll,
  expectRefusal,
  KEPT,
  ledgerOf,
  look,
  migrateAll,
  migrated,
  NEWEST,
  NO_OBSTACLE,
  OBSTACLE,
  placeOf,
  stateOf,
  undo,
  undoPath,
  versionOf,
} from '../support/undo.ts'

afterAll(() => eraseAll('undo-'), 240_000)

const automatic = () => ({ ...settings(), MIGRATIONS: 'automatic' as const })

describe('a migration', () => {
  it('of a tenant with a branch of its own takes a branch before, which an undo makes the tenant’s', async () => {
    const id = await behind('undo-plain')
    const { access_token: token } = await plantSession('undo-plain')
    await migrateAll()
    const kept = await branchesOf(id)
    expect(Object.keys(kept).sort()).toEqual(['its', `its-${KEPT}-1`])
    const { project_id } = await placeOf(id)
    const { endpoints } = await askNeon(`/projects/${project_id}/branches/${kept[`its-${KEPT}-1`]}/endpoints`)
    expect(endpoints, 'it has no compute').toEqual([])
    expect(await look(id)).toMatchObject({ is_possible: true, reason: null, undo_to: BEFORE, writes: [], newest: null })
    await call('undo-plain', '/.well-known/jwks.json')
    const begun = await undo(id)
    expect([begun.status, begun.headers.get('Location')]).toEqual([202, undoPath(id)])
    const newest = await ended(id)
    expect(newest, JSON.stringify(newest)).toMatchObject({
      state: 'done',
      is_automatic: false,
      writes: [],
      error: null,
      branch_left: kept.its,
    })
    expect([await versionOf(id), await ledgerOf('undo-plain')]).toEqual([BEFORE, BEFORE])
    // The branch of before has not what the newest preset gave.
    const [given] = await master(sql`select presets_version from platform.tenants where id = ${id}`)
    expect(given).toEqual({ presets_version: null })
    expect(await branchesOf(id)).toEqual({ its: kept[`its-${KEPT}-1`], [`its-undone-${kept.its}`]: kept.its })
    // This isolate still knows the branch that was left: it is told so there, and asks the registry once.
    const headers = { Authorization: `Bearer ${token}` }
    const me = await exports.default.fetch(new Request('http://undo-plain.freehold.test/api/v1/auth/me', { headers }))
    expect([me.status, me.headers.get('Server-Timing')]).toEqual([200, expect.stringMatching(/db;desc="2".*master;desc="1"/)])
    expect(await me.json()).toMatchObject({ tenant: 'undo-plain' })
    expect((await env.TENANTS.get<Entry>(kvKey('undo-plain'), 'json'))?.schema_version).toBe(BEFORE)
    // Once everybody has been told, the compute of the branch that was left is removed; the branch is the other's parent, and stays.
    const left = `/projects/${project_id}/branches/${kept.its}/endpoints`
    await tendUndos(env, settings())
    expect((await askNeon(left)).endpoints.length).toBe(1)
    await master(sql`update platform.migration_undos set compute_until = now() where tenant_id = ${id}`)
    await tendUndos(env, settings())
    expect((await askNeon(left)).endpoints).toEqual([])
    const [audited] = await master(
      sql`select l.user_id is not null as is_known, d.user_name from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_type = 'migration_undo' and l.action = 'create' and l.resource_id = ${newest.id}`,
    )
    expect(audited).toEqual({ is_known: true, user_name: 'ada' })
  })

  it('that was undone is not made again by the scheduled job or at a request, but by the run of an operator', async () => {
    const id = await migrated('undo-stays')
    expect((await undo(id)).status).toBe(202)
    await ended(id)
    const state = { state: 'undone', error: 'An operator undid it.' }
    const { id: other } = await copyTenant('undo-other', { is_behind: true })
    await vi.waitUntil(
      async () => {
        await tendMigrations(env, automatic())
        await migrateOnTouch(env, automatic(), id)
        return (await versionOf(other)) === NEWEST
      },
      { timeout: 60_000, interval: 100 },
    )
    await vi.waitUntil(
      async () => !(await master(sql`select from platform.migration_runs where state = 'running'`)).length,
      9_000,
    )
    expect([await stateOf(id), await versionOf(id)]).toEqual([state, BEFORE])
    await expectRefusal(undo(id), /undone already/)
    await migrateAll()
    expect([await stateOf(id), await ledgerOf('undo-stays')]).toEqual([{ state: 'done', error: null }, NEWEST])
    expect(Object.keys(await branchesOf(id)).filter((name) => name.includes('before'))).toEqual([`its-${KEPT}-2`])
  })

  it('that fails half-way is put back, that tenant alone', async () => {
    const [bad, good] = [await behind('undo-half'), await behind('undo-half-not')]
    await breakPresets('undo-half')
    await migrateAll()
    const newest = await ended(bad)
    expect(newest, JSON.stringify(newest)).toMatchObject({ state: 'done', is_automatic: true, writes: [] })
    expect([await versionOf(bad), await ledgerOf('undo-half')]).toEqual([BEFORE, BEFORE])
    expect(await stateOf(bad)).toMatchObject({ state: 'failed', error: expect.stringMatching(/planted.* was put back\.$/) })
    expect([await versionOf(good), await ledgerOf('undo-half-not')]).toEqual([NEWEST, NEWEST])
    expect((await call('undo-half', '/.well-known/jwks.json')).status).toBe(200)
    await (await databaseOf('undo-half')).asOwner(sql`alter table freehold.permissions drop constraint planted`)
    await migrateAll()
    expect(await ledgerOf('undo-half')).toBe(NEWEST)
  })

  it('that fails before anything is applied leaves no branch', async () => {
    const id = await behind('undo-nothing')
    const { asOwner } = await databaseOf('undo-nothing')
    await asOwner(OBSTACLE)
    await migrateAll()
    expect(await stateOf(id)).toMatchObject({ state: 'failed' })
    await vi.waitUntil(async () => (await look(id)).kept_until === null, { timeout: 60_000, interval: 100 })
    await tendUndos(env, settings())
    expect(Object.keys(await branchesOf(id))).toEqual(['its'])
    await expectRefusal(undo(id), /nothing to undo/)
    await asOwner(NO_OBSTACLE)
    await migrateAll()
    expect(Object.keys(await branchesOf(id)).sort()).toEqual(['its', `its-${KEPT}-2`])
  })

  it('goes on without a branch where Neon has no room for one, and an undo says so', async () => {
    const id = await behind('undo-no-room')
    const body = JSON.stringify({ code: 'BRANCHES_LIMIT_EXCEEDED', message: 'branches limit exceeded' })
    await switchOn({ match: { method: 'POST', path: '/branches$' }, times: 1, kind: 'status', status: 422, body })
    await migrateAll()
    expect([await versionOf(id), Object.keys(await branchesOf(id))]).toEqual([NEWEST, ['its']])
    await expectRefusal(undo(id), /Neon had no room .*branches limit exceeded/)
  })
})

describe('an undo', () => {
  it('of nothing is refused, and says why', async () => {
    const { id: shared } = await copyTenant('undo-shared')
    await expectRefusal(undo(shared), /isolation database has no branch of its own/)
    const { id: never } = await copyTenant('undo-never', { isolation: 'branch' })
    await expectRefusal(undo(never), /nothing to undo/)
    expectProblem(await undo(crypto.randomUUID()), 404, 'not_found')
    const id = await migrated('undo-over')
    await master(sql`update platform.kept_branches set kept_until = now() where tenant_id = ${id}`)
    await expectRefusal(undo(id), /nothing to undo/)
    await tendUndos(env, settings())
    expect(Object.keys(await branchesOf(id)), 'the scheduled job removes it').toEqual(['its'])
    await expectRefusal(undo(id), /nothing to undo/)
  })

  it('that is asked for twenty times at once is one, and is refused while it runs and while the tenant is migrated', async () => {
    const id = await migrated('undo-twenty')
    await master(sql`update platform.tenant_migrations set state = 'running' where tenant_id = ${id}`)
    await expectRefusal(undo(id), /is being migrated/)
    await master(sql`update platform.tenant_migrations set state = 'done' where tenant_id = ${id}`)
    await operatorToken()
    const answers = await Promise.all(Array.from({ length: 20 }, () => undo(id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    for (const { body } of answers) if (body.code) expect(body.detail).toMatch(/is being undone|undone already/)
    expect(await ended(id)).toMatchObject({ state: 'done' })
    const undone = await master(sql`select from platform.migration_undos where tenant_id = ${id}`)
    expect(undone.length).toBe(1)
  })

  it('is for operators who may change tenants, and takes one field', async () => {
    const id = await migrated('undo-who')
    const auditor = crypto.randomUUID().slice(0, 8)
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${`undo-${auditor}`}, ${`undo-${auditor}@freehold.test`}, 'auditor')`,
    )
    const reader = await tokenOf('', `undo-${auditor}`)
    const ask = (token?: string, body: unknown = {}) => call('', undoPath(id), { token, body })
    expectProblem(await ask(), 401, 'token_missing')
    expectProblem(await ask(reader), 403, 'forbidden')
    expect((await call('', undoPath(id), { token: reader })).status).toBe(200)
    expectProblem(await ask((await plantSession('undo-who')).access_token), 401, 'token_wrong_tenant')
    const token = await operatorToken()
    for (const body of [{ discard_writes: 'yes' }, { discard_writes: null }, { anything: 1 }, [], 'x'])
      expectProblem(await ask(token, body), 400, 'invalid_request')
    expectProblem(await call('', undoPath('x'), { token, body: {} }), 400, 'invalid_request')
    expect((await look(id)).newest).toBeNull()
    expect((await call('undo-who', '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
  })

  it('leaves branches that an erasure removes', async () => {
    const id = await migrated('undo-erased')
    const place = await placeOf(id)
    expect((await undo(id)).status).toBe(202)
    await ended(id)
    await migrateAll()
    expect(Object.keys(await branchesOf(id)).length).toBe(3)
    const query = '?hard=true&confirm=undo-erased'
    const gone = await call('', `/platform/v1/tenants/${id}${query}`, { method: 'DELETE', token: await operatorToken() })
    expect(gone.status).toBe(202)
    await vi.waitUntil(async () => !(await master(sql`select from platform.tenants where id = ${id}`)).length, 20_000)
    expect((await askNeon(`/projects/${place.project_id}/branches?search=tenant-${id}`)).branches).toEqual([])
  })
})
