/**
 * What the doctor finds of tenants that were moved. Threat: a tenant is closed, or cannot be touched, and nobody works on it; or the doctor opens
 * one that is being moved, and its writes are lost.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { close, closeWrites } from '../../src/tenants/fence/fence.ts'
import { erase } from '../../src/tenants/lifecycle/erasure.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { about, codes, fix, mended } from '../support/doctor.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll, newTrace } from '../support/undo.ts'

const NAME = 'dmove-closed'
let id: string

beforeAll(async () => {
  id = (await copyTenant(NAME)).id
})
afterAll(() => eraseAll('dmove-'), 60_000)

/** A move of the tenant that had closed it. */
const plant = async (state: 'running' | 'failed', more = sql`now() + interval '3 minutes'`) => {
  const move = crypto.randomUUID()
  await master(
    sql`delete from platform.tenant_moves where tenant_id = ${id}`,
    sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, closed_at, trace_id)
        values (${move}, ${id}, 'database', 'project', 'x', ${state}, 'copy', 4, ${more}, now(), ${'c'.repeat(32)})`,
  )
  return move
}
const write = async () => (await call(NAME, '/api/v1/auth/login', { body: ADMIN })).status

describe('tenant_closed', () => {
  it.each([
    ['to writes', closeWrites],
    ['to everybody', close],
  ])(
    'a database that is closed %s, and nobody works on it, is opened; what was changed meanwhile reaches it',
    async (_, shut) => {
      const { owner_url, asOwner } = await databaseOf(NAME)
      await plant('failed')
      await shut(owner_url, id, 4, newTrace())
      await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
      await master(sql`update platform.tenants set published_v = v where id = ${id}`)
      await mended('work', 'tenant_closed', NAME)
      expect(await asOwner(sql`select t.id, t.writes_closed_by, t.is_active from freehold.tenant t`)).toEqual([
        { id, writes_closed_by: null, is_active: false },
      ])
      await master(sql`update platform.tenants set status = 'active' where id = ${id}`)
      await asOwner(sql`update freehold.tenant set is_active = true`)
    },
  )

  it('one that is being moved is no finding, is not opened, and stays closed', async () => {
    const { owner_url } = await databaseOf(NAME)
    const move = await plant('running')
    await closeWrites(owner_url, id, 4, newTrace())
    expect(await codes('work', NAME)).toEqual([])
    expectProblem(await fix('tenant_closed', NAME), 409, 'illegal_state')
    expect(await write()).toBe(503)
    await master(sql`update platform.tenant_moves set state = 'failed' where id = ${move}`)
    expect((await fix('tenant_closed', NAME)).status).toBe(200)
    expect(await write()).toBe(200)
  })

  it('one of an earlier schema, which is closed to everybody alone, is opened', async () => {
    const { owner_url, asOwner } = await databaseOf(NAME)
    await plant('failed')
    await close(owner_url, id, 4, newTrace())
    await asOwner(sql`alter table freehold.tenant rename column writes_closed_by to not_there_yet`)
    const answer = await fix('tenant_closed', NAME)
    await asOwner(sql`alter table freehold.tenant rename column not_there_yet to writes_closed_by`)
    expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([200, 'tenant_closed'])
    expect(await asOwner(sql`select t.id from freehold.tenant t`)).toEqual([{ id }])
  })

  it('one that was never closed is not asked', async () => {
    await copyTenant('dmove-never')
    const { asOwner } = await databaseOf('dmove-never')
    await asOwner(sql`update freehold.tenant set writes_closed_by = 2`)
    expect(await codes('work', 'dmove-never')).toEqual([])
  })
})

it('tenant_taken: a tenant that nothing moves, restores or rotates is given back, and one that is moved is none', async () => {
  const move = await plant('running')
  await master(sql`update platform.tenants set move_id = ${move} where id = ${id}`)
  expect(await codes('work', NAME)).toEqual([])
  await master(sql`delete from platform.tenant_moves where tenant_id = ${id}`)
  await mended('work', 'tenant_taken', NAME)
  expect(await master(sql`select move_id from platform.tenants where id = ${id}`)).toEqual([{ move_id: null }])
  expect(await login(NAME)).toMatchObject({ token_type: 'Bearer' })
})

it('an erasure waits while what a move left is being removed, and then goes on', async () => {
  const held = await copyTenant('dmove-held')
  await master(
    sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, left_until, trace_id)
        values (gen_random_uuid(), ${held.id}, 'database', 'project', 'x', 'failed', 'copy', 4, now() + interval '15 minutes', now(), ${'c'.repeat(32)})`,
    sql`update platform.tenants set status = 'erasing' where id = ${held.id}`,
  )
  await erase(env, settings(), held.id, newTrace())
  expect(
    await master(sql`select s.error from platform.provisioning_steps s where s.tenant_id = ${held.id} and s.name = 'erase'`),
  ).toEqual([{ error: 'What a move left is being removed.' }])
  await master(sql`update platform.tenant_moves set lease_until = now() where tenant_id = ${held.id}`)
  await erase(env, settings(), held.id, newTrace())
  expect(await master(sql`select from platform.tenants where id = ${held.id}`)).toEqual([])
})

it('move_stuck: a move that nobody works on is told with its step, and what one left for long, too', async () => {
  const told = async () => (await about('work', NAME)).map(({ code, detail, fix }) => [code, detail, fix])
  await plant('running', sql`now() - interval '1 minute'`)
  expect(await told(), 'the scheduled job has not come yet').toEqual([])
  await plant('running', sql`now() - interval '3 minutes'`)
  expect(await told()).toEqual([['move_stuck', 'Step copy of its move: nobody works on it.', 'safe']])
  const move = await plant('failed', sql`now() - interval '20 minutes'`)
  await master(sql`update platform.tenant_moves set left_until = now() - interval '15 minutes' where id = ${move}`)
  await mended('work', 'move_stuck', NAME)
  expect(await master(sql`select left_until from platform.tenant_moves where id = ${move}`)).toEqual([{ left_until: null }])
})
