/**
 * Moves whose round trips to the master and to both databases are lost or refused, one after another, and what happens to them when all
 * of Neon, the master, or the Worker is gone. Threat: a tenant that stays closed, or is in two places.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { erase } from '../../src/tenants/lifecycle/erasure.ts'
import { fill } from '../../src/tenants/move/copy.ts'
import { doStep, giveUp, STEPS } from '../../src/tenants/move/move.ts'
import { tendMoves } from '../../src/tenants/move/rest.ts'
import { openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { askNeon, bothSides, on, pending, switchOn } from '../support/faults.ts'
import { look, moved, plantMove, removeRest, runMove, tendUntilEnded } from '../support/move.ts'
import { expectWhole, FAULTS, isolationOf, moveUnder } from '../support/move-faults.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll, newTrace } from '../support/undo.ts'

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
beforeAll(async () => {
  introspector = await introspectWorkflow(env.MOVE)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
})
afterEach(() => switchOn())
afterAll(async () => {
  await introspector.dispose()
  await eraseAll('msql-')
}, 240_000)

const SQL = { method: 'POST', path: '^/sql$' }
const other = async (id: string) => ((await isolationOf(id)) === 'database' ? 'project' : 'database')

/** Round trips of a move, to the master, its own database and the new one, that every move has. */
const TRIPS = 62
const places = (every: number) => Array.from({ length: TRIPS }, (_, i) => i).filter((i) => i % every === 0)
const CHOSEN = { 'is answered to nobody': 1, 'is lost': 4, 'is a 500': 5 }

describe.each(Object.entries(CHOSEN))('when one round trip to a database %s', (name, every) => {
  const fault = FAULTS.find(([known]) => known === name)?.[1]
  const subdomain = `msql-${name.replace(/\W+/g, '-')}`
  let id: string
  beforeAll(async () => {
    id = (await copyTenant(subdomain)).id
  })

  it.each(places(every))('that is number %i, the tenant is moved, once', { timeout: 120_000 }, async (place) => {
    if (!fault) throw new Error('There is no such fault.')
    const to = await other(id)
    const first = place ? [{ match: SQL, times: place, kind: 'delay', ms: 1 } as const] : []
    await moveUnder(id, to, ...first, { match: SQL, times: 1, ...fault })
    await expectWhole(id, subdomain, to)
  })
})

describe('when a Worker is killed', () => {
  // After the last one nothing is left to do but to say that it is done.
  it.each(STEPS.map((_, i) => i))(
    'after %i steps of a move, the scheduled job goes on with it',
    { timeout: 120_000 },
    async (done) => {
      const subdomain = `msql-killed-${done}`
      const { id } = await copyTenant(subdomain)
      const work = await plantMove(id, 'project')
      for (const name of STEPS.slice(0, done)) await doStep(env, settings(), work, name)
      await tendMoves(env, settings())
      expect((await look(id)).newest.state, 'its lease has not run out').toBe('running')
      expect(await tendUntilEnded(id)).toBe('done')
      await expectWhole(id, subdomain, 'project')
    },
  )

  it('in the middle of the copy, the scheduled job goes on with it', { timeout: 120_000 }, async () => {
    const { id } = await copyTenant('msql-killed-copy')
    const work = await plantMove(id, 'project')
    for (const name of STEPS.slice(0, STEPS.indexOf('copy'))) await doStep(env, settings(), work, name)
    for (const place of [9, 12, 14]) {
      await switchOn({ match: SQL, times: place, kind: 'delay', ms: 1 }, { match: SQL, times: 1, kind: 'drop_after' })
      await expect(doStep(env, settings(), work, 'copy')).rejects.toThrow()
    }
    await switchOn()
    expect((await call('msql-killed-copy', '/api/v1/auth/login', { body: ADMIN })).body.code, 'it is closed').toBe(
      'database_unavailable',
    )
    expect(await tendUntilEnded(id)).toBe('done')
    await expectWhole(id, 'msql-killed-copy', 'project')
  })

  it('and comes back late, it writes nothing to the database of a later attempt', { timeout: 120_000 }, async () => {
    const { id } = await copyTenant('msql-late')
    const work = await plantMove(id, 'project')
    for (const name of STEPS.slice(0, STEPS.indexOf('copy'))) await doStep(env, settings(), work, name)
    const [row] = await master(sql`select to_jsonb(m) as m from platform.tenant_moves m where id = ${work.move_id}`)
    const before = await databaseOf('msql-late')
    expect(await tendUntilEnded(id)).toBe('done')
    const to = await openOwnerUrl(settings(), id, row?.m.owner_url_encrypted)
    await expect(fill(before.owner_url, to, work.attempt, async () => undefined)).rejects.toThrow('another_attempt')
    await doStep(env, settings(), work, 'copy')
    await giveUp(env, settings(), work, 'late')
    await expectWhole(id, 'msql-late', 'project')
  })
})

describe('when it is away for longer than anybody tries', () => {
  it.each([
    ['Neon’s API', { path: '^/api/v2/' }, 'place'],
    ['every database', SQL, null],
  ] as const)(
    '%s, the move fails or waits, the tenant is where it was, and another move is done',
    { timeout: 120_000 },
    async (what, match, step) => {
      const subdomain = `msql-away-${what.length}`
      const { id } = await copyTenant(subdomain)
      const work = await plantMove(id, 'project')
      await switchOn({ match, times: 1_000_000, kind: 'status', status: 500, body: '{"message":"away"}' })
      await runMove(work).catch(() => undefined)
      await switchOn()
      const [row] = await master(sql`select state, step, error from platform.tenant_moves where id = ${work.move_id}`)
      if (step) expect([row?.state, row?.step, row?.error]).toEqual(['failed', step, expect.stringMatching(/away|500/)])
      else expect(await tendUntilEnded(id)).toBe('done')
      if (step) {
        expect((await call(subdomain, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
        await removeRest(id)
        await tendMoves(env, settings())
        expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
      }
      await expectWhole(id, subdomain, 'project')
    },
  )

  it('a tenant whose operation fails at Neon is where it was, and another move is done', { timeout: 120_000 }, async () => {
    const { id } = await copyTenant('msql-operation')
    const work = await plantMove(id, 'project')
    await switchOn({ match: on('POST /databases$'), times: 1, kind: 'fail_operation' })
    await runMove(work)
    expect(await pending()).toEqual([])
    expect((await look(id)).newest).toMatchObject({ state: 'failed', error: expect.stringMatching(/./) })
    await removeRest(id)
    expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
    await expectWhole(id, 'msql-operation', 'project')
  })
})

describe('a tenant that is erased', () => {
  it.each(STEPS.map((_, i) => i + 1))(
    'after %i steps of a move leaves nothing on either side',
    { timeout: 120_000 },
    async (done) => {
      const subdomain = `msql-erased-${done}`
      const { id } = await copyTenant(subdomain)
      const work = await plantMove(id, 'project')
      for (const name of STEPS.slice(0, done)) await doStep(env, settings(), work, name)
      await master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${id}`)
      await erase(env, settings(), id, newTrace())
      const left = async () => (await master(sql`select from platform.tenants where id = ${id}`)).length
      if (done < STEPS.length) expect(await left(), 'somebody works on the move').toBe(1)
      await master(sql`update platform.tenant_moves set lease_until = now() - interval '1 second' where tenant_id = ${id}`)
      await erase(env, settings(), id, newTrace())
      expect(await left()).toBe(0)
      expect((await askNeon(`/projects?search=${id}`)).projects).toEqual([])
      const { neon, known } = await bothSides(subdomain)
      const short = id.replaceAll('-', '').slice(0, 12)
      expect(
        neon.filter((line) => line.includes(id) || line.includes(short) || line.includes(subdomain.replaceAll('-', '_'))),
      ).toEqual([])
      const taken = (lines: string[]) => lines.filter((line) => line.startsWith('taken'))
      expect(taken(neon)).toEqual(taken(known))
    },
  )
})
