/**
 * Undo of a migration, and what was written meanwhile. Threat: somebody was told that something is stored, and it is in a branch that
 * nobody reads any more.
 */
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import type { Head } from '../../src/audit/verify.ts'
import { batch } from '../../src/kernel/db.ts'
import { close, open } from '../../src/tenants/fence/fence.ts'
import { checkpointAudit, moveHeads, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { type Claim, start } from '../../src/tenants/migration/fleet.ts'
import { keepBranch } from '../../src/tenants/migration/kept.ts'
import { tendUndos } from '../../src/tenants/migration/put-back.ts'
import { exchange, wake } from '../../src/tenants/migration/undo.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { pending, switchOn } from '../support/faults.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import {
  BEFORE,
  behind,
  breakPresets,
  ended,
  eraseAll,
  expectRefusal,
  ledgerOf,
  look,
  migrateAll,
  migrated,
  NEWEST,
  newTrace,
  plantUndo,
  runUndo,
  stateOf,
  undo,
  versionOf,
} from '../support/undo.ts'

afterEach(() => switchOn())
afterAll(() => eraseAll('undone-'), 240_000)

const sessions = async (subdomain: string) =>
  (await (await databaseOf(subdomain)).asOwner(sql`select s.id from freehold.sessions s`)).map(({ id }) => String(id))
/** Round trips of an undo up to the count. */
const COUNTED = 8
const asOwner = sql`set local role freehold_owner`

describe('what was written since a migration', () => {
  it('is counted by table and refuses an undo, which discard_writes makes', async () => {
    const id = await migrated('undone-counted')
    await checkpointAudit(settings(), 'undone-counted')
    expect((await look(id)).writes, 'housekeeping is no write').toEqual([])
    const [before] = [await sessions('undone-counted')]
    await login('undone-counted')
    const { asOwner: write } = await databaseOf('undone-counted')
    await write(sql`delete from freehold.role_permissions where permission = 'unit:create'`)
    const refused = await expectRefusal(undo(id), /written since the migration/)
    const about = refused.body.errors.map(({ detail }: { detail: string }) => detail)
    expect(about).toContain('sessions: 1 written, 0 changed or deleted')
    expect(about).toContain('refresh_tokens: 1 written, 0 changed or deleted')
    expect(about).toContain('role_permissions: 0 written, 1 changed or deleted')
    expect(new Set(refused.body.errors.map(({ pointer }: { pointer: string }) => pointer))).toEqual(new Set(['#/discard_writes']))
    const spanish = await call('', `/platform/v1/tenants/${id}/undo-migration`, {
      token: await operatorToken(),
      body: {},
      headers: { 'Accept-Language': 'es' },
    })
    expect(spanish.body.errors[0].detail).toMatch(/escritas/)
    expect([await versionOf(id), (await look(id)).newest]).toEqual([NEWEST, null])
    expect((await undo(id, { discard_writes: true })).status).toBe(202)
    const newest = await ended(id)
    expect(newest).toMatchObject({ state: 'done', discard_writes: true })
    expect(newest.writes).toContainEqual({ table: 'sessions', written: 1, restored: 0 })
    expect([await ledgerOf('undone-counted'), await sessions('undone-counted')]).toEqual([BEFORE, before])
  })

  it('and discarded leaves the documents counted that a program has made, as soon as the schema counts them again', async () => {
    const id = await migrated('undone-documents')
    const token = (await login('undone-documents')).access_token
    const used = async () =>
      (await (await databaseOf('undone-documents')).asOwner(sql`select used from access.limits where name = 'documents'`))[0]
        ?.used
    const counted = await call('undone-documents', '/api/v1/usage/documents', { token, body: { count: 7 } })
    expect(counted.status, JSON.stringify(counted.body)).toBe(201)
    expect((await undo(id, { discard_writes: true })).status).toBe(202)
    expect(await ended(id)).toMatchObject({ state: 'done' })
    expect(await ledgerOf('undone-documents')).toBe(BEFORE)
    await migrateAll()
    expect(await ledgerOf('undone-documents')).toBe(NEWEST)
    await vi.waitUntil(async () => Number(await used()) === 7, { timeout: 60_000, interval: 500 })
    const again = await tokenOf('undone-documents')
    // An isolate that knows the tenant as it was before is led over, by a round trip more.
    const headers = { Authorization: `Bearer ${again}` }
    await exports.default.fetch('http://undone-documents.freehold.test/api/v1/auth/me', { headers })
    const more = await call('undone-documents', '/api/v1/usage/documents', { token: again, body: { count: 1 } })
    expect(more.body.documents).toBe(8)
  })

  it('in a transaction that began before the tenant was closed is waited for and counted', async () => {
    const id = await migrated('undone-late')
    const { owner_url } = await databaseOf('undone-late')
    expect((await look(id)).writes).toEqual([])
    const slow = batch(owner_url, [
      asOwner,
      sql`select t.id from freehold.tenant t`,
      sql`select pg_sleep(4)`,
      sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'late')`,
    ])
    await scheduler.wait(300)
    expect((await undo(id)).status).toBe(202)
    await slow
    expect(await ended(id)).toMatchObject({
      state: 'refused',
      writes: expect.arrayContaining([{ table: 'roles', written: 1, restored: 0 }]),
    })
    expect([await versionOf(id), await stateOf(id)]).toEqual([NEWEST, { state: 'done', error: null }])
    await login('undone-late')
  })

  it('is refused to whoever comes between the count and the exchange, who is told to come again', async () => {
    const id = await migrated('undone-between')
    await call('undone-between', '/.well-known/jwks.json')
    const work = await plantUndo(id)
    const match = { method: 'POST', path: '^/sql$' }
    // What comes after the count is whether the tenant is closed still; its answer takes three seconds.
    await switchOn({ match, times: COUNTED, kind: 'delay', ms: 1 }, { match, times: 1, kind: 'delay', ms: 3_000 })
    const undone = runUndo(work)
    await vi.waitUntil(async () => !(await pending()).length, { timeout: 60_000, interval: 20 })
    const between = await call('undone-between', '/api/v1/auth/login', { body: ADMIN })
    expect([between.status, between.body.code, between.headers.get('Retry-After')]).toEqual([503, 'database_unavailable', '2'])
    expect((await look(id)).newest.state, 'it had not ended').toBe('running')
    await undone
    expect(await ended(id)).toMatchObject({ state: 'done', writes: [] })
    expect(await sessions('undone-between')).toEqual([])
  })

  it('meanwhile keeps the branch of a migration that fails half-way from being put back, and the report says so', async () => {
    const id = await behind('undone-half')
    await breakPresets('undone-half')
    const { asOwner: write } = await databaseOf('undone-half')
    await write(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'cy', 'cy@acme.test', 'user')`,
    )
    const [row] = await master(
      sql`insert into platform.tenant_migrations (tenant_id, target, wave, state, attempts, lease_until, started_at, from_version)
          values (${id}, ${NEWEST}, 0, 'running', 1, now() + interval '3 minutes', now(), ${BEFORE}) returning tenant_id, target, attempts as attempt`,
    )
    const claim = row as Claim
    await keepBranch(settings(), claim)
    await write(sql`update freehold.users set given_name = 'Changed' where username = 'cy'`)
    await start(env, [claim])
    const newest = await ended(id)
    expect(newest).toMatchObject({ state: 'refused', is_automatic: true })
    expect(newest.writes).toContainEqual({ table: 'users', written: 1, restored: 1 })
    const { state, error } = (await stateOf(id)) ?? {}
    expect([state, error]).toEqual([
      'failed',
      expect.stringMatching(/was not put back, because rows were written meanwhile: .*users 1 written/),
    ])
    expect(await ledgerOf('undone-half')).toBe(NEWEST)
    expect((await undo(id, { discard_writes: true })).status).toBe(202)
    expect(await ended(id)).toMatchObject({ state: 'done', is_automatic: false })
    expect(await ledgerOf('undone-half')).toBe(BEFORE)
  })
})

describe('the audit', () => {
  it('of a tenant whose migration was undone is whole: its head in the master goes back with it', async () => {
    const id = await behind('undone-audit')
    await checkpointAudit(settings(), 'undone-audit')
    await migrateAll()
    await login('undone-audit')
    expect(await checkpointAudit(settings(), 'undone-audit')).toBe(1)
    const of_left = (
      await master(sql`select h.no, h.hash, h.entries, h.checkpointed_at from platform.audit_heads h where h.realm_id = ${id}`)
    )[0] as Head
    expect((await undo(id, { discard_writes: true })).status).toBe(202)
    await ended(id)
    // A maintenance that began before ends now: what it made is in the branch that was left.
    await master(moveHeads([{ realm_id: id, ...of_left, no: of_left.no + 1, known: of_left.hash }]))
    expect(await verifyAudit(settings(), 'undone-audit')).toMatchObject({ intact: true, faults: [] })
    await plantSession('undone-audit')
    await checkpointAudit(settings(), 'undone-audit')
    expect(await verifyAudit(settings(), 'undone-audit')).toMatchObject({ intact: true, faults: [] })
  })
})

describe('keys', () => {
  it('that were rotated since are known to the branch of before; while they are rotated nothing is undone', async () => {
    const id = await migrated('undone-rotated')
    const token = await operatorToken()
    const rotated = await call('', `/platform/v1/tenants/${id}/rotate-keys`, { method: 'POST', token })
    expect(rotated.status, JSON.stringify(rotated.body)).toBe(200)
    await expectRefusal(undo(id, { discard_writes: true }), /keys of this tenant are being rotated/)
    await master(sql`update platform.tenants set refresh_key_from = now() where id = ${id}`)
    expect((await undo(id, { discard_writes: true })).status).toBe(202)
    expect(await ended(id)).toMatchObject({ state: 'done' })
    const { asOwner: read, system_key } = await databaseOf('undone-rotated')
    const known = sql`select s.system_hash = sha256(convert_to(${system_key}, 'UTF8')) as is_known from access.secrets s`
    expect(await read(known)).toEqual([{ is_known: true }])
    const [row] = await master(
      sql`select refresh_key_from, former_refresh_key_encrypted as former, v = published_v as is_published from platform.tenants where id = ${id}`,
    )
    expect(row).toEqual({ refresh_key_from: null, former: null, is_published: true })
  })
})

describe('a tenant that is closed', () => {
  it('answers 503 with Retry-After at every door, and is open again when the one who closed it gives up', async () => {
    const id = await migrated('undone-closed')
    const session = await login('undone-closed')
    const { owner_url } = await databaseOf('undone-closed')
    await close(owner_url, id, 7, newTrace())
    const doors = await Promise.all([
      call('undone-closed', '/api/v1/auth/me', { token: session.access_token }),
      call('undone-closed', '/api/v1/auth/login', { body: ADMIN }),
      call('undone-closed', '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } }),
    ])
    for (const { status, body, headers } of doors)
      expect([status, body.code, headers.get('Retry-After')]).toEqual([503, 'database_unavailable', '2'])
    await open(owner_url, id, 6, newTrace())
    expect((await call('undone-closed', '/api/v1/auth/login', { body: ADMIN })).status, 'a slower attempt does not open').toBe(
      503,
    )
    await open(owner_url, id, 7, newTrace())
    expect((await call('undone-closed', '/api/v1/auth/me', { token: session.access_token })).status).toBe(200)
  })

  it('by an attempt that was killed is gone on with by the scheduled job', async () => {
    const id = await migrated('undone-killed')
    const lost = { ...env, MIGRATION: { create: async () => undefined } as unknown as typeof env.MIGRATION }
    // As if the instance that the request starts had died after it closed the tenant.
    const [undo_id, trace_id] = [crypto.randomUUID(), newTrace()]
    await master(
      sql`update platform.tenant_migrations set state = 'undoing' where tenant_id = ${id}`,
      sql`insert into platform.migration_undos (id, tenant_id, target, branch_id, parent_id, state, is_automatic, discard_writes, was, attempts, lease_until, trace_id)
          select ${undo_id}, ${id}, k.target, k.branch_id, k.parent_id, 'running', false, false, 'done', 2, now() + interval '3 minutes', ${trace_id} from platform.kept_branches k where k.tenant_id = ${id}`,
    )
    await close((await databaseOf('undone-killed')).owner_url, id, 2, trace_id)
    await tendUndos(lost, settings())
    await expectRefusal(undo(id), /is being undone/)
    await master(sql`update platform.migration_undos set lease_until = now() - interval '1 second' where id = ${undo_id}`)
    await tendUndos(env, settings())
    expect(await ended(id)).toMatchObject({ state: 'done' })
    expect(await ledgerOf('undone-killed')).toBe(BEFORE)
    // The first attempt wakes up: its lease is somebody else's, and it does nothing.
    const late = { undo_id, attempt: 2 }
    expect([await wake(settings(), late), await exchange(settings(), late, 'localhost')]).toEqual([null, false])
  })
})
