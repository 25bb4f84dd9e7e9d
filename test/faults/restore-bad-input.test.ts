/**
 * Restore points that are refused. Threat: two at once, one beside a move, a migration or a rotation of keys, one that nobody meant, or
 * one of another tenant; and a refusal that does not say why.
 */
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { askNeon, on, switchOn } from '../support/faults.ts'
import { type Answer, call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { ask, confirm, look, mark, peopleOf, pointAt, pointPath, restoreTo, settled, tenantOf } from '../support/restore.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll } from '../support/undo.ts'

const NAME = 'timebad-one'
let id: string
let token: string
beforeAll(async () => {
  token = await operatorToken()
  id = (await tenantOf(NAME)).id
})
afterAll(() => eraseAll('timebad-'), 240_000)

async function expectRefusal(asked: Promise<Answer>, words: RegExp): Promise<void> {
  const answer = await asked
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toMatch(words)
}
const now = () => new Date(Date.now() - 1_000).toISOString()
const drop = (restore_id: string) => call('', pointPath(id, `/${restore_id}`), { method: 'DELETE', token })

describe('a restore point', () => {
  it.each(['database', 'branch'] as const)(
    'of a tenant of isolation %s is refused, and the refusal says which has one',
    async (isolation) => {
      const { id: other } = await copyTenant(`timebad-${isolation}`, { isolation })
      await expectRefusal(ask(other, now()), new RegExp(`isolation ${isolation} cannot .* one of isolation project can`))
      expect(await look(other)).toMatchObject({
        window: null,
        newest: null,
        reason: expect.stringMatching(/isolation project can/),
      })
    },
  )

  it('outside the window is refused with the window', async () => {
    const { window } = await look(id)
    expect(Date.parse(window.from)).toBeLessThanOrEqual(Date.parse(window.until))
    const early = await ask(id, '2020-01-01T00:00:00Z')
    expectProblem(early, 400, 'invalid_request')
    const [{ pointer, detail }] = early.body.errors
    expect(pointer).toBe('#/at')
    expect(detail).toContain(`is outside the window of the tenant, which is from ${window.from.slice(0, 19)}`)
    const spanish = await call('', pointPath(id), {
      token,
      body: { at: '2020-01-01T00:00:00Z' },
      headers: { 'Accept-Language': 'es' },
    })
    expect(spanish.body.errors[0].detail).toMatch(/^está fuera del intervalo/)
    const late = await ask(id, new Date(Date.now() + 60_000).toISOString())
    expect(late.body.errors).toEqual([{ pointer: '#/at', detail: 'lies in the future' }])
  })

  it('takes one moment, and nothing else', async () => {
    for (const body of [
      {},
      { at: null },
      { at: 7 },
      { at: 'yesterday' },
      { at: '2026-01-01' },
      { at: now(), more: 1 },
      { at: ['x'] },
      [],
      'x',
    ])
      expectProblem(await call('', pointPath(id), { token, body }), 400, 'invalid_request')
    expectProblem(await call('', pointPath(id), { token, body: { at: `${now()}${'0'.repeat(2_000)}` } }), 400, 'invalid_request')
    expectProblem(await call('', pointPath(id), { token, body: { at: 'x'.repeat(1_100_000) } }), 413, 'body_too_large')
    expectProblem(await call('', pointPath('x'), { token, body: { at: now() } }), 400, 'invalid_request')
    expectProblem(await ask(crypto.randomUUID(), now()), 404, 'not_found')
    expect((await look(id)).newest).toBeNull()
  })

  it('is for operators who may change tenants', async () => {
    const reader = `timebad-${crypto.randomUUID().slice(0, 8)}`
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${reader}, ${`${reader}@freehold.test`}, 'auditor')`,
    )
    const auditor = await tokenOf('', reader)
    const foreign = (await plantSession(NAME)).access_token
    const point = crypto.randomUUID()
    const doors: [string, string, unknown][] = [
      ['POST', pointPath(id), { at: now() }],
      ['POST', pointPath(id, `/${point}/confirm`), { confirm: NAME }],
      ['POST', pointPath(id, `/${point}/return`), { confirm: NAME }],
      ['DELETE', pointPath(id, `/${point}`), undefined],
    ]
    for (const [method, path, body] of doors) {
      const as = (token?: string) => call('', path, { method, ...(token && { token }), ...(body !== undefined && { body }) })
      expectProblem(await as(), 401, 'token_missing')
      expectProblem(await as(foreign), 401, 'token_wrong_tenant')
      expectProblem(await as(auditor), 403, 'forbidden')
      expectProblem(await call(NAME, path, { method, token, ...(body !== undefined && { body }) }), 404, 'not_found')
    }
    expect((await call('', pointPath(id), { token: auditor })).status).toBe(200)
  })

  it('that is asked for twenty times at once is one; while it waits there is no other, and it can be given up', async () => {
    const at = await mark(id)
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(id, at)))
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    const point = await settled(id)
    expect(point.state, JSON.stringify(point)).toBe('ready')
    await expectRefusal(ask(id, at), /waits for its confirmation: delete it first/)
    expect((await drop(point.id)).status).toBe(204)
    await expectRefusal(drop(point.id), /does not wait for a confirmation/)
    await expectRefusal(confirm(id, point.id, NAME), /does not wait for a confirmation/)
    expectProblem(await drop(crypto.randomUUID()), 404, 'not_found')
  })

  it('is refused while the tenant is moved, migrated, rotated or switched for good', async () => {
    const during = async (set: ReturnType<typeof sql>, unset: ReturnType<typeof sql>, words: RegExp) => {
      await master(set)
      await expectRefusal(ask(id, now()), words)
      await master(unset)
    }
    const row = sql.raw(`platform.tenants`)
    await during(
      sql`update ${row} set move_id = gen_random_uuid() where id = ${id}`,
      sql`update ${row} set move_id = null where id = ${id}`,
      /being moved, or restored/,
    )
    await during(
      sql`update ${row} set rotating_since = now() where id = ${id}`,
      sql`update ${row} set rotating_since = null where id = ${id}`,
      /keys of the tenant are being rotated/,
    )
    await during(
      sql`update ${row} set status = 'deleted' where id = ${id}`,
      sql`update ${row} set status = 'active' where id = ${id}`,
      /is deleted/,
    )
    await during(
      sql`insert into platform.tenant_migrations (tenant_id, target, wave, state) values (${id}, 'tenant/9999_x', 0, 'running')`,
      sql`delete from platform.tenant_migrations where tenant_id = ${id} and target = 'tenant/9999_x'`,
      /is being migrated/,
    )
  })

  it('is not promised while Neon does not say what it has', async () => {
    await switchOn({ match: on('GET /projects/[^/]+$'), times: 5, kind: 'status', status: 500, body: '{}' })
    const answer = await ask(id, now())
    await switchOn()
    expectProblem(answer, 503, 'database_unavailable')
  })
})

describe('a confirmation', () => {
  it('must repeat the subdomain, of a point of this tenant; of twenty at once one counts, and what was moved since is not restored', async () => {
    const at = await mark(id)
    const point = await pointAt(id, at)
    for (const wrong of ['', 'timebad', 'TIMEBAD-ONE', 'timebad-two']) {
      const answer = await confirm(id, point.id, wrong)
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.errors[0].pointer).toBe('#/confirm')
    }
    for (const body of [
      {},
      { confirm: 7 },
      { confirm: null },
      { confirm: NAME, force: true },
      { confirm: 'x'.repeat(64) },
      [],
      'x',
    ])
      expectProblem(await call('', pointPath(id, `/${point.id}/confirm`), { token, body }), 400, 'invalid_request')
    expectProblem(await confirm(id, crypto.randomUUID(), NAME), 404, 'not_found')
    const { id: other } = await tenantOf('timebad-two')
    expectProblem(await confirm(other, point.id, 'timebad-two'), 404, 'not_found')
    await expectRefusal(confirm(id, point.id, NAME, 'return'), /no state before to go back to/)
    await master(sql`update platform.restore_points set parent_id = 'br-other' where id = ${point.id}`)
    await expectRefusal(confirm(id, point.id, NAME), /another branch at Neon since/)
    await master(
      sql`update platform.restore_points r set parent_id = h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where r.id = ${point.id} and t.id = r.tenant_id`,
    )
    const answers = await Promise.all(Array.from({ length: 20 }, () => confirm(id, point.id, NAME)))
    expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(19).fill(409)])
    expect((await settled(id)).state).toBe('restored')
    expect(await peopleOf(NAME)).toEqual(['bo'])
    await expectRefusal(confirm(id, point.id, NAME), /does not wait for a confirmation/)
    // A window begins with the branch that the tenant has now.
    const { window, newest } = await look(id)
    expect(window.from.slice(0, 23)).toBe(newest.exchanged_at.slice(0, 23))
    await master(sql`update platform.restore_points set kept_until = now() where id = ${point.id}`)
    await expectRefusal(confirm(id, point.id, NAME, 'return'), /no state before/)
    await master(sql`update platform.restore_points set kept_until = now() + interval '1 day' where id = ${point.id}`)
    await restoreTo(id, NAME, point.id, 'return')
    const [host] = await master(
      sql`select h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
    )
    const { branch } = await askNeon(`/projects/${host?.project_id}/branches/${host?.branch_id}`)
    expect(branch.name).toBe(`tenant-${id}`)
  })
})
