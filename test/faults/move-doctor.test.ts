/** Threat: the doctor takes the database that a move is making, or has just left, for nobody's, and somebody deletes what they are told. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { doStep, STEPS } from '../../src/tenants/move/move.ts'
import { master, settings } from '../support/databases.ts'
import { examine } from '../support/doctor.ts'
import { moved, plantMove, removeRest } from '../support/move.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll } from '../support/undo.ts'

afterAll(() => eraseAll('mdoctor-'), 240_000)

/** What the doctor finds of hosts and of this tenant. */
async function found(id: string): Promise<string[]> {
  const all = [...(await examine('registry')), ...(await examine('neon'))]
  // The database that tests copy tenants from is nobody's.
  const ours = all.filter(
    ({ tenant_id, code, subject }) =>
      tenant_id === id || (/host_counted|of_nobody|unreadable/.test(code) && !subject.includes('copied_by_tests')),
  )
  return ours.map(({ code, subject, detail }) => `${code} ${subject} ${detail}`)
}

it('finds nothing while a tenant is moved to a project and back, after each step, and when what is left is removed', {
  timeout: 240_000,
}, async () => {
  const { id } = await copyTenant('mdoctor-both')
  expect(await found(id)).toEqual([])
  expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
  expect(await found(id)).toEqual([])
  await removeRest(id)
  expect(await found(id)).toEqual([])
  const work = await plantMove(id, 'database', 4)
  for (const name of STEPS) {
    await doStep(env, settings(), work, name)
    expect(await found(id), name).toEqual([])
  }
  expect(
    (await master(sql`select left_until from platform.tenant_moves where id = ${work.move_id}`))[0]?.left_until,
  ).not.toBeNull()
  await removeRest(id)
  expect(await found(id)).toEqual([])
})
