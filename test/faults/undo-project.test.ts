/**
 * Undo of a migration of a tenant with a project of its own: the branch that is kept becomes its host's. Threat: what else is known of
 * the host (its own connection string, its branch) goes on naming the branch that was left.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { tendUndos } from '../../src/tenants/migration/put-back.ts'
import { type MasterRow, openHost } from '../../src/tenants/provisioning/job.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { examine } from '../support/doctor.ts'
import { askNeon } from '../support/faults.ts'
import { call } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import {
  BEFORE,
  behind,
  breakPresets,
  ended,
  eraseAll,
  KEPT,
  ledgerOf,
  look,
  migrateAll,
  NEWEST,
  stateOf,
  undo,
  versionOf,
} from '../support/undo.ts'

afterAll(() => eraseAll('unproject-'), 240_000)

const hostOf = async (id: string) => {
  const [row] = await master(
    sql`select to_jsonb(h) as host, h.name from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  return { name: String(row?.name), ...(await openHost(settings(), row?.host as MasterRow)) }
}
const namesIn = async (project_id: string) =>
  (await askNeon(`/projects/${project_id}/branches`)).branches.map((branch: any) => `${branch.name} ${branch.id}`).sort()

it('makes the kept branch that of its project, with the host, and again after the next migration', async () => {
  const id = await behind('unproject-plain', 'project')
  const { access_token: token } = await plantSession('unproject-plain')
  await migrateAll()
  const { branch_id: main, project_id, name } = await hostOf(id)
  expect(await namesIn(project_id)).toEqual([`main ${main}`, expect.stringContaining(`tenant-${id}-${KEPT}-1`)])
  expect(await look(id)).toMatchObject({ is_possible: true, undo_to: BEFORE, writes: [] })
  expect((await undo(id)).status).toBe(202)
  expect(await ended(id)).toMatchObject({ state: 'done', branch_left: main })
  expect([await versionOf(id), await ledgerOf('unproject-plain')]).toEqual([BEFORE, BEFORE])
  const host = await hostOf(id)
  expect(await namesIn(project_id)).toEqual([`tenant-${id} ${host.branch_id}`, `tenant-${id}-undone-${main} ${main}`])
  expect(new URL(host.owner_url).host).toBe(new URL((await databaseOf('unproject-plain')).owner_url).host)
  expect((await call('unproject-plain', '/api/v1/auth/me', { token })).status).toBe(200)
  // One cluster has the logins of all projects here, also what other tests left.
  const findings = (await examine('neon')).filter(({ subject, code }) => subject.startsWith(name) && code !== 'login_of_nobody')
  expect(findings).toEqual([])
  await master(sql`update platform.migration_undos set compute_until = now() where tenant_id = ${id}`)
  await tendUndos(env, settings())
  await migrateAll()
  expect([await versionOf(id), await ledgerOf('unproject-plain')]).toEqual([NEWEST, NEWEST])
  expect((await undo(id)).status).toBe(202)
  expect(await ended(id)).toMatchObject({ state: 'done', branch_left: host.branch_id })
  expect(await namesIn(project_id)).toHaveLength(3)
  expect((await call('unproject-plain', '/.well-known/jwks.json')).status).toBe(200)
})

it('puts back by itself what failed half-way', async () => {
  const id = await behind('unproject-half', 'project')
  await breakPresets('unproject-half')
  await migrateAll()
  expect(await ended(id)).toMatchObject({ state: 'done', is_automatic: true })
  expect([await ledgerOf('unproject-half'), (await stateOf(id))?.state]).toEqual([BEFORE, 'failed'])
})
