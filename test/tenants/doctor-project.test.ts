/**
 * The doctor, of projects: those of one tenant alone, and those of nobody. Threat: a project that costs money is known to nobody; or one
 * that somebody needs is deleted as nobody's.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it, vi } from 'vitest'
import { DEPLOYMENT, plainHostName } from '../../src/tenants/provisioning/host-names.ts'
import { openOwnHost } from '../../src/tenants/provisioning/own-host.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { codes, examine, fix, remove, written } from '../support/doctor.ts'
import { askNeon } from '../support/faults.ts'
import { call, makeTenant, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

/** What this deployment is called in names. */
let deployment: string
const own = (id: string) => `freehold-tenant-${deployment}-${id}`
const shared = (number: number) => `freehold-host-${deployment}-${number}`

beforeAll(async () => {
  deployment = String((await master(sql`select ${DEPLOYMENT} as name`))[0]?.name)
})

const named = async (name: string) =>
  (await askNeon(`/projects?search=${name}`)).projects.filter((project: { name: string }) => project.name === name)
const idle = (id: string) =>
  vi.waitUntil(async () => (await askNeon(`/projects/${id}/operations`)).operations.every((o: any) => o.status === 'finished'), {
    timeout: 20_000,
    interval: 100,
  })
/** A project that Freehold did not ask for. */
async function strange(name: string) {
  const body = JSON.stringify({ project: { name, region_id: settings().NEON_REGION } })
  const { project, branch } = await askNeon('/projects', { method: 'POST', body })
  await idle(project.id)
  return {
    id: project.id as string,
    subject: `${name}/${project.id}`,
    branch_id: branch.id,
  }
}
const aboutHost = async (name: string) =>
  [...(await examine('registry')), ...(await examine('neon')), ...(await examine('work'))].filter(
    // Logins that other files left are in every branch here: all are one cluster.
    ({ code, subject }) => subject.split('/')[0] === name && code !== 'login_of_nobody',
  )

it('a tenant with a project of its own that is well is no finding, and what its project lacks is one', async () => {
  const { id } = await makeTenant('healthy-project', { isolation: 'project' }, await operatorToken())
  expect(await aboutHost(own(id))).toEqual([])
  const { host_url } = await databaseOf('healthy-project')
  const role = 'freehold_app_0123456789ab_b'
  await rowsOf(host_url, sql.raw(`create role ${role} nologin`))
  expect(await codes('neon', `${own(id)}/${role}`)).toEqual(['login_of_nobody'])
  expect((await remove('login_of_nobody', `${own(id)}/${role}`, role)).status).toBe(200)
  await master(sql`update platform.tenants set database_name = 'healthy_elsewhere' where id = ${id}`)
  const missing = await codes('neon', `${own(id)}/healthy-project`)
  const strangers = await codes('neon', `${own(id)}/freehold_healthy_project`)
  await master(sql`update platform.tenants set database_name = 'freehold_healthy_project' where id = ${id}`)
  expect([missing, strangers]).toEqual([['database_missing'], ['database_of_nobody']])
})

it('a project that is being made has its place taken: it is not counted again, and its tenant can be erased', async () => {
  const id = await plantTenant('healthy-opening')
  await master(
    sql`update platform.tenants set isolation = 'project' where id = ${id}`,
    sql`insert into platform.hosts (id, name, kind, state, region, capacity, taken, lease_until) values (gen_random_uuid(), ${own(id)}, 'project', 'opening', 'aws-us-east-2', 1, 1, now() + interval '1 minute')`,
  )
  expect(await aboutHost(own(id))).toEqual([])
  expectProblem(await fix('host_counted', own(id)), 409, 'illegal_state')
  await master(sql`update platform.hosts set lease_until = now() - interval '1 second' where name = ${own(id)}`)
  const [stuck] = await aboutHost(own(id))
  expect([stuck?.code, stuck?.detail]).toEqual(['host_stuck', 'Nobody is opening it: retry its tenant, or erase it.'])
  const config = settings()
  await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
  expect(await aboutHost(own(id))).toEqual([])
  expect(await named(own(id))).toHaveLength(1)
  const erased = await call('', `/platform/v1/tenants/${id}?hard=true&confirm=healthy-opening`, {
    method: 'DELETE',
    token: await operatorToken(),
  })
  expect(erased.status, JSON.stringify(erased.body)).toBe(202)
  const gone = async () => !(await master(sql`select from platform.tenants where id = ${id}`)).length
  await vi.waitUntil(gone, { timeout: 60_000, interval: 200 })
  expect(await named(own(id))).toEqual([])
  expect(await master(sql`select from platform.hosts where name = ${own(id)}`)).toEqual([])
})

it('project_of_nobody: a project with a name of Freehold’s that no host has is deleted when its id is repeated', async () => {
  const names = [shared(7001), `freehold-branches-${deployment}-7001`, own(crypto.randomUUID())]
  for (const name of names) {
    const { id, subject } = await strange(name)
    expect(await codes('neon', subject)).toEqual(['project_of_nobody'])
    expectProblem(await remove('project_of_nobody', subject, name), 400, 'invalid_request')
    expectProblem(await remove('project_of_nobody', `${shared(1)}/${id}`, id), 409, 'illegal_state')
    expect((await remove('project_of_nobody', subject, id)).status).toBe(200)
    expect(await written(subject)).toMatchObject({ email: 'ada@freehold.test', after: { code: 'project_of_nobody' } })
    expect(await named(name)).toEqual([])
    expectProblem(await remove('project_of_nobody', subject, id), 409, 'illegal_state')
  }
})

it('a project that five delete at once is deleted, and each hears how it is', async () => {
  const { id, subject } = await strange(shared(7004))
  const answers = await Promise.all(Array.from({ length: 5 }, () => remove('project_of_nobody', subject, id)))
  expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([])
  expect(answers.map(({ status }) => status)).toContain(200)
  expect((await askNeon(`/projects?search=${shared(7004)}`)).projects).toEqual([])
})

it('a project with another name, that of a host, or of a host that is being opened is nobody’s business', async () => {
  const other = await strange('freehold-master-copy')
  expect(await codes('neon', other.subject)).toEqual([])
  expectProblem(await remove('project_of_nobody', other.subject, other.id), 409, 'illegal_state')
  const { host_id } = await databaseOf('healthy-project').then(
    async ({ id }) => (await master(sql`select host_id from platform.tenants where id = ${id}`))[0] as any,
  )
  const [host] = await master(sql`select name, project_id from platform.hosts where id = ${host_id}`)
  expectProblem(
    await remove('project_of_nobody', `${host?.name}/${host?.project_id}`, String(host?.project_id)),
    409,
    'illegal_state',
  )
  const opening = await strange(shared(7002))
  const id = crypto.randomUUID()
  const state = (kind: string) =>
    sql`insert into platform.hosts (id, name, kind, state, region, capacity, lease_until) values (${id}, ${shared(7002)}, ${kind}, 'opening', 'x', 0, now())`
  // Of a kind that nobody opens, so that no other file's tenant is placed there.
  await master(state('none'))
  expect(await codes('neon', opening.subject)).toEqual([])
  expectProblem(await remove('project_of_nobody', opening.subject, opening.id), 409, 'illegal_state')
  await master(sql`delete from platform.hosts where id = ${id}`)
  expect(await named(shared(7002))).toHaveLength(1)
  expect((await remove('project_of_nobody', opening.subject, opening.id)).status).toBe(200)
  await askNeon(`/projects/${other.id}`, { method: 'DELETE' })
})

it('a project of another deployment with the same key is never judged, also one whose name is older than names of deployments', async () => {
  const other = deployment === '0badcafe' ? '0badcaff' : '0badcafe'
  const [known] = await master(sql`select id from platform.tenants where host_id is not null limit 1`)
  const names = [
    `freehold-host-${other}-7005`,
    `freehold-tenant-${other}-${known?.id}`,
    'freehold-host-7005',
    plainHostName(crypto.randomUUID()),
  ]
  for (const name of names) {
    const { id, subject } = await strange(name)
    expect(await codes('neon', subject), name).toEqual([])
    expectProblem(await remove('project_of_nobody', subject, id), 409, 'illegal_state')
    expect(await named(name)).toHaveLength(1)
    await askNeon(`/projects/${id}`, { method: 'DELETE' })
  }
})

it('an older name with the id of a tenant that this master knew is its own', async () => {
  const id = await plantTenant('healthy-older')
  const { id: project, subject } = await strange(plainHostName(id))
  await master(sql`delete from platform.tenants where id = ${id}`)
  expect(await codes('neon', subject)).toEqual(['project_of_nobody'])
  expect((await remove('project_of_nobody', subject, project)).status).toBe(200)
  expect(await named(plainHostName(id))).toEqual([])
})

it('a project that holds a tenant’s data is not deleted, though no host has it: the master was restored, or is another', async () => {
  const { id } = await makeTenant('healthy-forgotten', { isolation: 'project' }, await operatorToken())
  const [project] = await named(own(id))
  const subject = `${own(id)}/${project.id}`
  await master(sql`update platform.hosts set name = ${own(crypto.randomUUID())} where name = ${own(id)}`)
  const found = await codes('neon', subject)
  const answer = await remove('project_of_nobody', subject, project.id)
  await master(sql`update platform.hosts set name = ${own(id)} where project_id = ${project.id}`)
  expect(found).toEqual(['project_of_nobody'])
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toBe(
    `It holds the data of the tenant ${id}, which this master did not erase. Delete it at Neon, if it is yours.`,
  )
  expect(await named(own(id))).toHaveLength(1)
})

it('a project that has further branches is not deleted: they may be tenants', async () => {
  const { id, subject, branch_id } = await strange(`freehold-branches-${deployment}-7003`)
  const body = JSON.stringify({ branch: { name: 'tenant-x', parent_id: branch_id } })
  const { branch } = await askNeon(`/projects/${id}/branches`, { method: 'POST', body })
  await idle(id)
  const answer = await remove('project_of_nobody', subject, id)
  expectProblem(answer, 409, 'illegal_state')
  expect(answer.body.detail).toContain('2 branches')
  expect(await named(`freehold-branches-${deployment}-7003`)).toHaveLength(1)
  await askNeon(`/projects/${id}/branches/${branch.id}`, { method: 'DELETE' })
  await idle(id)
  expect((await remove('project_of_nobody', subject, id)).status).toBe(200)
})

it('the host of a tenant that is gone is found with its project, and both go', async () => {
  const id = await plantTenant('healthy-lost')
  const config = settings()
  await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
  const [project] = await named(own(id))
  const subject = `${own(id)}/${project.id}`
  expect(await codes('neon', subject)).toEqual([])
  await master(sql`delete from platform.tenants where id = ${id}`)
  expect(await codes('neon', subject)).toEqual(['project_of_nobody'])
  expect((await remove('project_of_nobody', subject, project.id)).status).toBe(200)
  expect(await named(own(id))).toEqual([])
  expect(await master(sql`select from platform.hosts where name = ${own(id)}`)).toEqual([])
})

it('host_crowded: a shared host with more tenants awake than HOST_AWAKE, and not the host of one tenant', async () => {
  const token = await operatorToken()
  await makeTenant('healthy-awake', {}, token)
  await makeTenant('healthy-awake-too', {}, token)
  const [host] = await master(
    sql`select h.name from platform.hosts h join platform.tenants t on t.host_id = h.id where t.subdomain = 'healthy-awake'`,
  )
  const alone = await makeTenant('healthy-alone', { isolation: 'project' }, token)
  const crowded = async (HOST_AWAKE: string) => {
    const found: any[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const path: string = `/platform/v1/doctor?check=registry${cursor && `&cursor=${cursor}`}`
      const { body } = await call('', path, { token, settings: { HOST_AWAKE } })
      found.push(...body.data)
      cursor = body.next_cursor
    }
    return found.filter(({ code }) => code === 'host_crowded').map(({ subject }) => subject)
  }
  expect(await crowded('1')).toContain(host?.name)
  expect(await crowded('1')).not.toContain(own(alone.id))
  expect(await crowded('240')).toEqual([])
})
