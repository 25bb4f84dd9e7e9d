/**
 * A tenant with a Neon project of its own. Threat: what a customer pays for (a region, a window to restore in, a limit, nobody beside them)
 * is said and not so; or a region that nobody has is found out after the tenant was promised.
 */
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openOwnHost } from '../../src/tenants/provisioning/own-host.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { askNeon } from '../support/faults.ts'
import { ADMIN, call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

const projectOf = async (id: string) => {
  const { projects } = await askNeon(`/projects?search=${id}`)
  expect(projects).toHaveLength(1)
  return (await askNeon(`/projects/${projects[0].id}`)).project
}
const create = async (name: string, more: Record<string, unknown>, changed: Record<string, string> = {}) =>
  call('', '/platform/v1/tenants', {
    token: await operatorToken(),
    body: { ...wanted(name), ...more },
    headers: { Prefer: 'wait=30' },
    settings: changed,
  })

it('has a project in its region, and in it one database beside the project’s own', async () => {
  const { status, body } = await create('projected', { isolation: 'project', region: 'aws-eu-central-1' })
  expect([status, body.isolation, body.region, body.status], JSON.stringify(body)).toEqual([
    201,
    'project',
    'aws-eu-central-1',
    'active',
  ])
  const project = await projectOf(body.id)
  expect(project).toMatchObject({ region_id: 'aws-eu-central-1', history_retention_seconds: 168 * 3600 })
  const { branches } = await askNeon(`/projects/${project.id}/branches`)
  expect(branches.map((branch: any) => branch.default)).toEqual([true])
  const { databases } = await askNeon(`/projects/${project.id}/branches/${branches[0].id}/databases`)
  expect(databases.map(({ name }: any) => name).sort()).toEqual(['freehold_projected', 'neondb'])
  const { app_url } = await databaseOf('projected')
  const { endpoints } = await askNeon(`/projects/${project.id}/endpoints`)
  expect(endpoints.map(({ host }: any) => host)).toEqual([new URL(app_url).hostname])
  const { access_token } = await login('projected')
  expect((await call('projected', '/api/v1/auth/me', { token: access_token })).body).toMatchObject({ email: ADMIN.email })
})

it('has the compute, the window and the quota of the settings; a host that many share has its own compute', async () => {
  const PROJECT = { PROJECT_COMPUTE_CU: 0.5, PROJECT_RESTORE_HOURS: 24, PROJECT_QUOTA_HOURS: 100, NEON_PG_VERSION: 16 }
  const config = { ...settings(), ...PROJECT }
  const id = await plantTenant('projected-settings')
  await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
  expect(await projectOf(id)).toMatchObject({
    history_retention_seconds: 24 * 3600,
    settings: { quota: { compute_time_seconds: 100 * 3600 * 0.5 } },
    default_endpoint_settings: { autoscaling_limit_min_cu: 0.5, autoscaling_limit_max_cu: 0.5 },
  })
  await makeTenant('projected-shared', {}, await operatorToken())
  const [{ project_id } = {}] = await master(
    sql`select h.project_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.subdomain = 'projected-shared'`,
  )
  expect((await askNeon(`/projects/${project_id}`)).project.default_endpoint_settings).toMatchObject({
    autoscaling_limit_min_cu: 1,
  })
})

it('shares its project with nobody, also when several are made at once', async () => {
  const names = ['projected-a', 'projected-b', 'projected-c']
  const made = await Promise.all(names.map(async (name) => makeTenant(name, { isolation: 'project' }, await operatorToken())))
  const projects = await Promise.all(made.map(({ id }) => projectOf(id)))
  expect(new Set(projects.map(({ id }) => id)).size).toBe(3)
  const hosts = await Promise.all(names.map(async (name) => new URL((await databaseOf(name)).app_url).hostname))
  expect(new Set(hosts).size).toBe(3)
})

it('is refused in a region that Neon has not, before anything is made, with those that there are', async () => {
  const answer = await create('projected-nowhere', { isolation: 'project', region: 'mars-north-1' })
  expectProblem(answer, 400, 'invalid_request')
  expect(answer.body.errors).toEqual([
    { pointer: '#/region', detail: 'must be one of aws-eu-central-1, aws-sa-east-1, aws-us-east-2' },
  ])
  expect((await askNeon('/projects?limit=400')).projects.filter(({ region_id }: any) => region_id === 'mars-north-1')).toEqual([])
  const form = await create('projected-nowhere', { isolation: 'project', region: 'Mars!' })
  expect(form.body.errors).toEqual([{ pointer: '#/region', detail: 'must be the id of a region of Neon' }])
})

it.each(['database', 'branch'])('of isolation %s has no region of its own, and says which has', async (isolation) => {
  const answer = await create('projected-elsewhere', { isolation, region: 'aws-eu-central-1' })
  expectProblem(answer, 400, 'invalid_request')
  expect(answer.body.errors[0].detail).toBe(
    `isolation ${isolation} has the region of its host, aws-us-east-2: use isolation project`,
  )
})

it('is what a tenant is made as that names no isolation, where the setting says so', async () => {
  const { status, body } = await create('projected-default', {}, { DEFAULT_ISOLATION: 'project' })
  expect([status, body.isolation]).toEqual([201, 'project'])
})
