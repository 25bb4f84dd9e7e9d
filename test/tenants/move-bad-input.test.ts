/**
 * Moves that are refused. Threat: two moves of one tenant, a move beside a migration or a rotation of keys, or one to where nothing can be
 * made; and a refusal that does not say why.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it } from 'vitest'
import { advance } from '../../src/tenants/migration/fleet.ts'
import { migrateOnTouch } from '../../src/tenants/migration/touch.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { knockElsewhere } from '../support/elsewhere.ts'
import { askNeon } from '../support/faults.ts'
import { ended, look, move, movePath, plantMove, removeRest } from '../support/move.ts'
import { ADMIN, type Answer, call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'
import { BEFORE, eraseAll, NEWEST } from '../support/undo.ts'

afterAll(() => eraseAll('movebad-'), 240_000)

async function expectRefusal(asked: Promise<Answer>, words: RegExp): Promise<void> {
  const answer = await asked
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toMatch(words)
}
const to = (id: string) => move(id, { isolation: 'project' })

describe('a move', () => {
  it('to where the tenant is, of a database that is somebody else’s, or of nobody is refused', async () => {
    const { id } = await copyTenant('movebad-here')
    await expectRefusal(move(id, { isolation: 'database' }), /has isolation database, in /)
    const { id: elsewhere } = await copyTenant('movebad-external')
    await master(sql`update platform.tenants set isolation = 'external' where id = ${elsewhere}`)
    await expectRefusal(to(elsewhere), /is its owner’s, who alone moves it/)
    await master(sql`update platform.tenants set isolation = 'project', region = 'aws-eu-central-1' where id = ${elsewhere}`)
    await expectRefusal(to(elsewhere), /isolation project, in aws-eu-central-1: to move it to another region, give region/)
    await expectRefusal(
      move(elsewhere, { isolation: 'project', region: 'aws-eu-central-1' }),
      /has isolation project, in aws-eu-central-1\.$/,
    )
    await master(sql`update platform.tenants set isolation = 'database' where id = ${elsewhere}`)
    expectProblem(await to(crypto.randomUUID()), 404, 'not_found')
    expectProblem(await call('', movePath(crypto.randomUUID()), { token: await operatorToken() }), 404, 'not_found')
    expect(await look(id)).toMatchObject({ isolation: 'database', newest: null })
  })

  it('takes an isolation and a region that Neon has, and no other field', async () => {
    const { id } = await copyTenant('movebad-input')
    const bad = [
      {},
      { isolation: 'branch' },
      { isolation: null },
      { isolation: 'project', region: 'mars-north-1' },
      { isolation: 'project', region: '../x' },
      { isolation: 'project', region: 7 },
      { isolation: 'database', region: 'aws-eu-central-1' },
      { isolation: 'project', more: 1 },
      [],
      'x',
    ]
    const token = await operatorToken()
    for (const body of bad) {
      const answer = await call('', movePath(id), { token, body })
      expectProblem(answer, 400, 'invalid_request')
    }
    const { body } = await call('', movePath(id), { token, body: { isolation: 'project', region: 'mars-north-1' } })
    expect(body.errors).toEqual([{ pointer: '#/region', detail: expect.stringMatching(/^must be one of .*aws-eu-central-1/) }])
    expectProblem(await call('', movePath('x'), { token, body: { isolation: 'project' } }), 400, 'invalid_request')
    expect((await look(id)).newest).toBeNull()
  })

  it('that is asked for twenty times at once is one', { timeout: 60_000 }, async () => {
    const { id } = await copyTenant('movebad-twenty')
    await operatorToken()
    const answers = await Promise.all(Array.from({ length: 20 }, () => to(id)))
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    for (const { body } of answers) if (body.code) expect(body.detail).toMatch(/is being moved/)
    expect(await ended(id)).toMatchObject({ state: 'done' })
    const rows = await master(sql`select state from platform.tenant_moves where tenant_id = ${id}`)
    expect(rows).toEqual([{ state: 'done' }])
    await expectRefusal(move(id, { isolation: 'database' }), /left is not removed yet/)
    await removeRest(id)
  })

  it.each([
    [
      'is behind',
      sql`update platform.tenants set schema_version = ${BEFORE} where subdomain = 'movebad-state'`,
      /migrate it first/,
    ],
    [
      'has its keys rotated',
      sql`update platform.tenants set rotating_since = now() where subdomain = 'movebad-state'`,
      /keys of the tenant are being rotated/,
    ],
    [
      'has new keys',
      sql`update platform.tenants set refresh_key_from = now() + interval '1 minute' where subdomain = 'movebad-state'`,
      /keys of the tenant are being rotated/,
    ],
    [
      'is deleted',
      sql`update platform.tenants set status = 'deleted', deleted_at = now() where subdomain = 'movebad-state'`,
      /The tenant is deleted/,
    ],
    [
      'is being created',
      sql`update platform.tenants set status = 'provisioning' where subdomain = 'movebad-state'`,
      /The tenant is provisioning/,
    ],
    [
      'is being migrated',
      sql`insert into platform.tenant_migrations (tenant_id, target, wave, state, lease_until) select id, ${NEWEST}, 0, 'running', now() + interval '1 hour' from platform.tenants where subdomain = 'movebad-state'`,
      /is being migrated/,
    ],
  ])('of a tenant that %s is refused', async (_, change, words) => {
    const [found] = await master(sql`select id from platform.tenants where subdomain = 'movebad-state'`)
    const id = found ? String(found.id) : (await copyTenant('movebad-state')).id
    await master(change)
    await expectRefusal(to(id), words)
    await master(
      sql`update platform.tenants set schema_version = ${NEWEST}, rotating_since = null, refresh_key_from = null, status = 'active', deleted_at = null where id = ${id}`,
      sql`delete from platform.tenant_migrations where tenant_id = ${id}`,
    )
  })
})

describe('a database that was changed by hand', () => {
  it.each([
    [
      'a function',
      'create function freehold.planted() returns integer language sql return 1',
      'drop function freehold.planted',
      /function freehold\.planted/,
    ],
    ['a table', 'create table freehold.planted (id integer)', 'drop table freehold.planted', /freehold\.planted/],
    ['a policy', 'drop policy read on freehold.audit_checkpoints', '', /policy read on freehold\.audit_checkpoints/],
  ])(
    '%s: the tenant is not moved, stays open, and the reason names it',
    { timeout: 60_000 },
    async (what, change, back, words) => {
      const subdomain = `movebad-${what.slice(2)}`
      const { id } = await copyTenant(subdomain)
      const { asOwner, owner_url } = await databaseOf(subdomain)
      await asOwner(sql.raw(change))
      expect((await to(id)).status).toBe(202)
      expect(await ended(id)).toMatchObject({ state: 'failed', error: expect.stringMatching(words), exchanged_at: null })
      expect((await call(subdomain, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
      await removeRest(id)
      expect([(await databaseOf(subdomain)).owner_url, (await look(id)).newest.left_until]).toEqual([owner_url, null])
      expect((await askNeon(`/projects?search=${id}`)).projects).toEqual([])
      if (!back) return
      await asOwner(sql.raw(back))
      expect((await to(id)).status).toBe(202)
      expect(await ended(id)).toMatchObject({ state: 'done' })
    },
  )
})

describe('while a tenant is moved', () => {
  it('its keys are not rotated, and no run migrates it', async () => {
    const { id } = await copyTenant('movebad-meanwhile')
    const token = await operatorToken()
    await plantMove(id, 'project')
    await expectRefusal(call('', `/platform/v1/tenants/${id}/rotate-keys`, { method: 'POST', token }), /is being moved/)
    const run = crypto.randomUUID()
    await master(
      sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from, wave) values (${run}, ${NEWEST}, 'running', 1, 100, now(), 4)`,
      sql`insert into platform.tenant_migrations (tenant_id, target, run_id, wave, state) values (${id}, ${NEWEST}, ${run}, 0, 'pending')`,
    )
    await advance(env, settings())
    await migrateOnTouch(env, { ...settings(), MIGRATIONS: 'automatic' }, id)
    expect(await master(sql`select state, attempts from platform.tenant_migrations where tenant_id = ${id}`)).toEqual([
      { state: 'pending', attempts: 0 },
    ])
    await master(
      sql`delete from platform.tenant_migrations where tenant_id = ${id}`,
      sql`delete from platform.migration_runs where id = ${run}`,
      sql`update platform.tenant_moves set lease_until = now() - interval '1 second' where tenant_id = ${id}`,
    )
  })

  it('and migrated at the same moment, one of the two begins', async () => {
    const { id } = await copyTenant('movebad-race')
    const headers = { Authorization: `Bearer ${await operatorToken()}`, 'Content-Type': 'application/json' }
    const nowhere = { create: async () => undefined }
    for (let round = 0; round < 10; round++) {
      const run = crypto.randomUUID()
      await master(
        sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from, wave) values (${run}, ${NEWEST}, 'running', 1, 100, now(), 4)`,
        sql`insert into platform.tenant_migrations (tenant_id, target, run_id, wave, state) values (${id}, ${NEWEST}, ${run}, 0, 'pending')`,
      )
      const nobody = { ...env, MIGRATION: { create: async () => undefined } as unknown as typeof env.MIGRATION }
      const asking = () =>
        knockElsewhere({ MOVE: nowhere }, `http://freehold.test${movePath(id)}`, {
          method: 'POST',
          headers,
          body: '{"isolation":"project"}',
        })
      await Promise.all([...Array.from({ length: 5 }, () => advance(nobody, settings())), ...Array.from({ length: 5 }, asking)])
      const [row] = await master(
        sql`select t.move_id is not null as is_moving, m.state from platform.tenants t join platform.tenant_migrations m on m.tenant_id = t.id where t.id = ${id}`,
      )
      expect([row?.is_moving, row?.state], `round ${round}`).toEqual(row?.is_moving ? [true, 'pending'] : [false, 'running'])
      await master(
        sql`update platform.tenants set move_id = null where id = ${id}`,
        sql`delete from platform.tenant_moves where tenant_id = ${id}`,
        sql`delete from platform.tenant_migrations where tenant_id = ${id}`,
        sql`delete from platform.migration_runs where id = ${run}`,
      )
    }
  })
})
