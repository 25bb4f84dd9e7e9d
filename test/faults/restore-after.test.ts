/**
 * What becomes of a tenant that was taken back. Threat: the state before is kept for ever, with what people had deleted, or the state that
 * is removed is the tenant's; a restore that stopped half-way leaves a gap in the audit that nobody made; documents that were counted
 * since are counted again.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { tendRestores } from '../../src/tenants/restore/rest.ts'
import { exchange, giveUp, wake } from '../../src/tenants/restore/restore.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { examine } from '../support/doctor.ts'
import { askNeon, on, pending, switchOn } from '../support/faults.ts'
import { addPerson, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { confirm, mark, peopleOf, plantRestore, pointAt, restoreTo, tenantOf } from '../support/restore.ts'
import { tokenOf } from '../support/sessions.ts'
import { eraseAll, look as lookAtUndo, migrated, undo } from '../support/undo.ts'

afterEach(() => switchOn())
afterAll(() => eraseAll('after-'), 240_000)

const placeOf = async (id: string) =>
  (
    await master(
      sql`select h.project_id, h.branch_id, t.database_name from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
    )
  )[0] as Record<'project_id' | 'branch_id' | 'database_name', string>
const aWeekLater = (id: string) =>
  master(
    sql`update platform.restore_points set kept_until = now() - interval '1 second', compute_until = null where tenant_id = ${id}`,
  )
/** What the doctor says of the branches of a tenant, and of its restores. */
const findings = async (check: 'neon' | 'work', id: string) =>
  (await examine(check)).filter(
    ({ tenant_id, subject, code }) =>
      (tenant_id === id || subject.includes(id)) && (check === 'neon' || code === 'restore_overdue'),
  )

describe('a week after a restore', () => {
  const name = 'after-week'
  let id: string
  let left: Record<'project_id' | 'branch_id' | 'database_name', string>
  let restore_id: string
  const there = async (path: string) =>
    (await askNeon(`/projects/${left.project_id}/branches/${left.branch_id}/${path}`))[path] as { name: string; id: string }[]
  const isRemoved = async () =>
    (
      await master(sql`select r.removed_at is not null as is_removed from platform.restore_points r where r.id = ${restore_id}`)
    )[0]?.is_removed

  it('the state before is there until then, and can be gone back to', { timeout: 120_000 }, async () => {
    id = (await tenantOf(name)).id
    left = await placeOf(id)
    const at = await mark(id)
    await addPerson(await inside(name), 'ann')
    restore_id = (await pointAt(id, at)).id
    await restoreTo(id, name, restore_id)
    await master(sql`update platform.restore_points set compute_until = now() where id = ${restore_id}`)
    await tendRestores(env, settings())
    expect(await there('endpoints')).toEqual([])
    expect((await there('databases')).map((one) => one.name)).toContain(left.database_name)
    expect(await isRemoved()).toBe(false)
    expect(await findings('neon', id)).toEqual([])
  })

  it('the doctor names one that should have been removed', async () => {
    await master(sql`update platform.restore_points set kept_until = now() - interval '3 hours' where tenant_id = ${id}`)
    expect(await findings('work', id)).toMatchObject([
      {
        code: 'restore_overdue',
        fix: null,
        detail:
          'What it was before it was restored should have been removed at Neon 3 hours ago: the log of the scheduled job says why it is not.',
      },
    ])
  })

  it.each([
    ['GET /databases$', 'drop_before'],
    ['POST /endpoints$', 'drop_after'],
    ['DELETE /databases/[^/]+$', 'drop_before'],
    ['DELETE /databases/[^/]+$', 'drop_after'],
  ] as const)('the job goes on after %s was lost (%s)', { timeout: 120_000 }, async (at, kind) => {
    await aWeekLater(id)
    await switchOn({ match: on(at), times: 20, kind })
    await tendRestores(env, settings())
    expect((await pending())[0]?.times, 'the fault happened').toBeLessThan(20)
    expect(await isRemoved()).toBe(false)
    expect((await login(name)).token_type).toBe('Bearer')
  })

  it('it is removed, the tenant is as it was, and the doctor finds nothing', { timeout: 120_000 }, async () => {
    await switchOn()
    await tendRestores(env, settings())
    expect(await isRemoved()).toBe(true)
    expect((await there('databases')).map((one) => one.name)).not.toContain(left.database_name)
    expect(await there('endpoints')).toEqual([])
    expect(await peopleOf(name)).toEqual(['bo'])
    expect((await login(name)).token_type).toBe('Bearer')
    expect(await verifyAudit(settings(), name)).toMatchObject({ faults: [] })
    expect([await findings('neon', id), await findings('work', id)]).toEqual([[], []])
    await tendRestores(env, settings())
    expect((await placeOf(id)).branch_id).not.toBe(left.branch_id)
  })

  it('nobody goes back to it', async () => {
    expectProblem(await confirm(id, restore_id, name, 'return'), 409, 'illegal_state')
  })
})

it('a restore that stopped after the audit was cut, and is confirmed again later, leaves no gap that the master did not make', {
  timeout: 180_000,
}, async () => {
  const name = 'after-half'
  const { id } = await tenantOf(name)
  const at = await mark(id)
  await addPerson(await inside(name), 'ann')
  await checkpointAudit(settings(), name)
  const point = await pointAt(id, at)
  const work = await plantRestore(id, point.id, 'restoring')
  const host = String(await wake(settings(), work))
  // The branch is settled, and the master takes no exchange.
  await master(sql`update platform.tenants set status = 'deleted' where id = ${id}`)
  await expect(exchange(settings(), work, host)).rejects.toThrow('another branch')
  await master(sql`update platform.tenants set status = 'active' where id = ${id}`)
  await giveUp(settings(), work, 'It stopped.')
  // The tenant goes on meanwhile, and so do the numbers of its checkpoints.
  for (const username of ['ben', 'cyd', 'dan']) {
    await addPerson(await inside(name), username)
    await scheduler.wait(50)
    await checkpointAudit(settings(), name)
  }
  const [head] = await master(sql`select a.no from platform.audit_heads a where a.realm_id = ${id}`)
  await restoreTo(id, name, point.id)
  expect(await peopleOf(name)).toEqual(['bo'])
  const cuts = await master(
    sql`select c.to_no, c.left_no, c.restore_id from platform.audit_cuts c where c.realm_id = ${id} order by c.to_no`,
  )
  expect(cuts.length).toBe(2)
  expect(cuts.at(-1)).toEqual({ to_no: Number(head?.no) + 1, left_no: Number(head?.no), restore_id: point.id })
  await (await databaseOf(name)).asOwner(sql`select 1`)
  await checkpointAudit(settings(), name)
  expect(await verifyAudit(settings(), name)).toMatchObject({ faults: [] })
})

describe('documents that were counted since', () => {
  const counted = async (name: string, count: number) =>
    (await call(name, '/api/v1/usage/documents', { token: await tokenOf(name), body: { count } })).body.documents
  const used = async (name: string) => (await call(name, '/api/v1/usage', { token: await tokenOf(name) })).body.used.documents

  it('are counted after a restore, and after going back from it', { timeout: 180_000 }, async () => {
    const name = 'after-counted'
    const { id } = await tenantOf(name)
    expect(await counted(name, 3)).toBe(3)
    const at = await mark(id)
    expect(await counted(name, 4)).toBe(7)
    const point = await pointAt(id, at)
    await restoreTo(id, name, point.id)
    await login(name).catch(() => undefined)
    expect(await used(name)).toBe(7)
    expect(await counted(name, 5)).toBe(12)
    await restoreTo(id, name, point.id, 'return')
    await login(name).catch(() => undefined)
    expect(await used(name)).toBe(12)
  })

  it('are told before the undo of a migration, which would forget them', { timeout: 180_000 }, async () => {
    const name = 'after-undone'
    const id = await migrated(name)
    expect(await counted(name, 2)).toBe(2)
    expect((await undo(id)).status).toBe(409)
    const told = (await lookAtUndo(id)).writes.map(({ table }: { table: string }) => table)
    expect(told).toContain('audit_log')
    expect(await used(name)).toBe(2)
  })
})
