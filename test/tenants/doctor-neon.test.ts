/** What the doctor finds at Neon, and deletes when it is asked to. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { alone } from '../../src/kernel/db.ts'
import { sealOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { keepTemplate, templateOf } from '../../src/tenants/provisioning/template.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { about, codes, examine, fix, mended, patient, remove, written } from '../support/doctor.ts'
import { askNeon } from '../support/faults.ts'
import { makeTenant, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

const NAME = 'astray'
let id: string
let host: Awaited<ReturnType<typeof patient>>['host']

beforeAll(async () => {
  ;({ id, host } = await patient(NAME))
})

describe('at Neon', () => {
  const databases = (more = '', init = {}) =>
    askNeon(`/projects/${host.project_id}/branches/${host.branch_id}/databases${more}`, init)
  const finished = () =>
    vi.waitUntil(
      async () =>
        (await askNeon(`/projects/${host.project_id}/operations`)).operations.every(
          (o: { status: string }) => o.status === 'finished',
        ),
      { timeout: 60_000, interval: 100 },
    )
  const made = async (name: string) => {
    const owner_name = (await databases()).databases[0].owner_name
    await vi.waitUntil(
      () =>
        databases('', { method: 'POST', body: JSON.stringify({ database: { name, owner_name } }) }).then(
          () => true,
          () => false,
        ),
      { timeout: 60_000, interval: 200 },
    )
    await finished()
  }

  it('database_of_nobody: a database that no tenant of the host has is deleted when its name is repeated, and not else', async () => {
    await made('astray_stranger')
    const subject = `${host.name}/astray_stranger`
    const [found] = await about('neon', subject)
    expect(found).toMatchObject({ code: 'database_of_nobody', fix: 'ask', tenant_id: null })
    expectProblem(await remove('database_of_nobody', subject, 'astray'), 400, 'invalid_request')
    expectProblem(await remove('database_of_nobody', subject, subject), 400, 'invalid_request')
    expectProblem(await fix('database_of_nobody', subject), 400, 'invalid_request')
    expect(await codes('neon', subject)).toEqual(['database_of_nobody'])
    expect((await remove('database_of_nobody', subject, 'astray_stranger')).status).toBe(200)
    expect(await written(subject)).toMatchObject({ email: 'ada@freehold.test', after: { code: 'database_of_nobody' } })
    expect(await codes('neon', subject)).toEqual([])
    expectProblem(await remove('database_of_nobody', subject, 'astray_stranger'), 409, 'illegal_state')
  })

  it('template_stale: the template of a host that is of another release is dropped, and that of this release is no finding', async () => {
    const { host_url } = await databaseOf(NAME)
    const [current, other] = [await templateOf(host), `${(await templateOf(host)).slice(0, -12)}${'0'.repeat(12)}`]
    await keepTemplate({ id: host.id, owner_url: host_url }, 'a'.repeat(32))
    expect(await codes('neon', `${host.name}/${current}`)).toEqual([])
    await alone(host_url, sql`create database ${sql.identifier(other)}`)
    expectProblem(await fix('template_stale', `${host.name}/${current}`), 409, 'illegal_state')
    await mended('neon', 'template_stale', `${host.name}/${other}`)
    const names = (await databases()).databases.map((each: { name: string }) => each.name)
    expect(names).toContain(current)
    expect(names).not.toContain(other)
  })

  it('a database of a tenant, of the host itself, or with a tenant’s data under another name is never deleted', async () => {
    const { name } = await databaseOf(NAME)
    expectProblem(await remove('database_of_nobody', `${host.name}/${name}`, name), 409, 'illegal_state')
    expectProblem(await remove('database_of_nobody', `${host.name}/neondb`, 'neondb'), 409, 'illegal_state')
    // As after a hand that set the name in the master.
    await master(sql`update platform.tenants set database_name = 'astray_elsewhere' where id = ${id}`)
    const answer = await remove('database_of_nobody', `${host.name}/${name}`, name)
    const found = await about('neon', `${host.name}/${NAME}`)
    await master(sql`update platform.tenants set database_name = ${name} where id = ${id}`)
    expectProblem(answer, 409, 'illegal_state')
    expect(answer.body.detail).toContain(NAME)
    expect(found.map(({ code }) => code)).toEqual(['database_missing'])
    expect((await databases()).databases.map((each: { name: string }) => each.name)).toContain(name)
    const [row] = await master(sql`select h.removing, h.removing_until from platform.hosts h where h.id = ${host.id}`)
    expect(row).toEqual({ removing: null, removing_until: null })
  })

  it('a database with the data of a tenant that the master does not know is not deleted: the master was restored, or is another', async () => {
    const forgotten = await makeTenant('astray-forgotten', {}, await operatorToken())
    const { name, asOwner } = await databaseOf('astray-forgotten')
    const [home] = await master(
      sql`select h.name from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${forgotten.id}`,
    )
    const stranger = crypto.randomUUID()
    await master(sql`update platform.tenants set database_name = 'astray_gone' where id = ${forgotten.id}`)
    await asOwner(sql`update freehold.tenant set id = ${stranger}`)
    const subject = `${home?.name}/${name}`
    const found = await codes('neon', subject)
    const answer = await remove('database_of_nobody', subject, name)
    await asOwner(sql`update freehold.tenant set id = ${forgotten.id}`)
    await master(sql`update platform.tenants set database_name = ${name} where id = ${forgotten.id}`)
    expect(found).toEqual(['database_of_nobody'])
    expectProblem(answer, 409, 'illegal_state')
    expect(answer.body.detail).toContain(`the data of the tenant ${stranger}, which this master did not erase`)
  })

  it('login_of_nobody: a login that no tenant has is dropped, and that of a tenant is not', async () => {
    const role = 'freehold_app_0123456789ab_a'
    const { host_url } = await databaseOf(NAME)
    await rowsOf(host_url, sql.raw(`create role ${role} nologin`))
    const subject = `${host.name}/${role}`
    expect(await codes('neon', subject)).toEqual(['login_of_nobody'])
    expect((await remove('login_of_nobody', subject, role)).status).toBe(200)
    expect(await codes('neon', subject)).toEqual([])
    const own = `freehold_app_${id.replaceAll('-', '').slice(0, 12)}_a`
    expectProblem(await remove('login_of_nobody', `${host.name}/${own}`, own), 409, 'illegal_state')
    expectProblem(await remove('login_of_nobody', `${host.name}/freehold_owner`, 'freehold_owner'), 409, 'illegal_state')
  })

  it('login_missing: a tenant whose logins are gone', async () => {
    const stranger = await plantTenant('astray-unknown')
    await master(sql`update platform.tenants set host_id = ${host.id}, status = 'inactive' where id = ${stranger}`)
    const found = await about('neon', `${host.name}/astray-unknown`)
    await master(sql`update platform.tenants set status = 'failed', host_id = null where id = ${stranger}`)
    expect(found.map(({ code }) => code)).toEqual(['database_missing', 'login_missing', 'login_missing'])
    expect(found.every((each) => each.fix === null && each.tenant_id === stranger)).toBe(true)
  })

  it('of a host that is for one tenant alone all is compared: nothing of it is found, and a database of nobody is', async () => {
    const made = await makeTenant('astray-project', { isolation: 'project' }, await operatorToken())
    const [home] = await master(
      sql`select h.name, h.project_id, h.branch_id from platform.hosts h where h.name like ${`%${made.id}`}`,
    )
    const own = String(home?.name)
    const mine = async () =>
      (await examine('neon'))
        // Logins that other files left are in every branch here: all are one cluster.
        .filter(({ code, subject }) => subject.startsWith(own) && code !== 'login_of_nobody')
        .map(({ code, subject }) => `${code} ${subject}`)
    expect(await mine()).toEqual([])
    const path = `/projects/${home?.project_id}/branches/${home?.branch_id}/databases`
    const { owner_name } = (await askNeon(path)).databases[0]
    await askNeon(path, { method: 'POST', body: JSON.stringify({ database: { name: 'astray_beside', owner_name } }) })
    await vi.waitUntil(async () => (await mine()).length, { timeout: 60_000, interval: 200 })
    expect(await mine()).toEqual([`database_of_nobody ${own}/astray_beside`])
    expect((await remove('database_of_nobody', `${own}/astray_beside`, 'astray_beside')).status).toBe(200)
    expect(await mine()).toEqual([])
  })

  it('branch_of_nobody, branch_missing: branches with the id of no tenant, and tenants without their branch', async () => {
    const made = await makeTenant('astray-branch', { isolation: 'branch' }, await operatorToken())
    const [home] = await master(
      sql`select h.id, h.name, h.project_id, t.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${made.id}`,
    )
    const strange = async (tenant_id: string) => {
      const body = JSON.stringify({ branch: { name: `tenant-${tenant_id}` } })
      await askNeon(`/projects/${home?.project_id}/branches`, { method: 'POST', body })
      return `tenant-${tenant_id}`
    }
    const unknown = await strange(crypto.randomUUID())
    const refused = await remove('branch_of_nobody', `${home?.name}/${unknown}`, unknown)
    expectProblem(refused, 409, 'illegal_state')
    expect(refused.body.detail).toContain('which this master did not erase')
    const erased = await plantTenant('astray-erased')
    await master(sql`delete from platform.tenants where id = ${erased}`)
    const name = await strange(erased)
    const subject = `${home?.name}/${name}`
    expect(await codes('neon', subject)).toEqual(['branch_of_nobody'])
    expect((await examine('neon')).filter(({ tenant_id }) => tenant_id === made.id)).toEqual([])
    const { branches } = await askNeon(`/projects/${home?.project_id}/branches?search=${unknown}`)
    await askNeon(`/projects/${home?.project_id}/branches/${branches[0].id}`, { method: 'DELETE' })
    expectProblem(await remove('branch_of_nobody', `${home?.name}/tenant-${made.id}`, `tenant-${made.id}`), 409, 'illegal_state')
    expect((await remove('branch_of_nobody', subject, name)).status).toBe(200)
    expect(await codes('neon', subject)).toEqual([])
    await master(sql`update platform.tenants set branch_id = 'br-gone-astray' where id = ${made.id}`)
    expect(await codes('neon', `${home?.name}/astray-branch`)).toEqual(['branch_missing'])
    await master(sql`update platform.tenants set branch_id = ${home?.branch_id} where id = ${made.id}`)
  })

  it('branch_of_nobody: of those beside a tenant’s own, what the master keeps or an undo left is none, and what nobody knows is', async () => {
    const made = await makeTenant('astray-beside', { isolation: 'branch' }, await operatorToken())
    const [home] = await master(
      sql`select h.name, h.project_id, t.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${made.id}`,
    )
    const path = `/projects/${home?.project_id}/branches`
    const branch = async (name: string) =>
      (await askNeon(path, { method: 'POST', body: JSON.stringify({ branch: { name, parent_id: home?.branch_id } }) })).branch.id
    const [kept, left, stray] = ['before-0004-2', 'undone-br-left-1', 'before-0004-1'].map((last) => `tenant-${made.id}-${last}`)
    for (const name of [kept, left, stray]) {
      await vi.waitUntil(
        () =>
          branch(String(name)).then(
            () => true,
            () => false,
          ),
        { timeout: 60_000, interval: 200 },
      )
      await vi.waitUntil(
        async () =>
          (await askNeon(`/projects/${home?.project_id}/operations`)).operations.every((o: any) => o.status === 'finished'),
        { timeout: 60_000, interval: 100 },
      )
    }
    const mine = async () =>
      (await examine('neon')).filter(({ subject }) => subject.includes(made.id)).map(({ code, subject }) => `${code} ${subject}`)
    const called = (name?: string) => `branch_of_nobody ${home?.name}/${name}`
    expect((await mine()).sort()).toEqual([called(kept), called(left), called(stray)].sort())
    const id = (await askNeon(`${path}?search=${left}`)).branches[0].id
    await master(
      sql`insert into platform.kept_branches (tenant_id, target, attempt, parent_id, before, trace_id, kept_until) values (${made.id}, 'tenant/0004_asvs', 2, ${home?.branch_id}, '{}', 'x', now() + interval '1 day')`,
      sql`insert into platform.migration_undos (id, tenant_id, target, branch_id, parent_id, state, is_automatic, discard_writes, was, lease_until, trace_id) values (gen_random_uuid(), ${made.id}, 'tenant/0004_asvs', 'br-x', ${id}, 'done', false, false, 'done', now(), 'x')`,
    )
    expect(await mine()).toEqual([called(stray)])
    for (const name of [kept, left])
      expectProblem(await remove('branch_of_nobody', `${home?.name}/${name}`, String(name)), 409, 'illegal_state')
    // A move away from a branch of its own, or from a project, has all of them to remove.
    for (const from of ['branch', 'project']) {
      await master(
        sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, left_until, trace_id)
            values (gen_random_uuid(), ${made.id}, ${from}, 'database', 'x', 'done', 'publish', 2, now(), now() + interval '1 hour', 'x')`,
      )
      expect(await mine(), from).toEqual([])
      await master(sql`delete from platform.tenant_moves where tenant_id = ${made.id}`)
    }
    expect((await remove('branch_of_nobody', `${home?.name}/${stray}`, String(stray))).status).toBe(200)
    expect(await mine()).toEqual([])
  })

  it('host_missing: a host whose project or branch Neon does not have', async () => {
    const lost = crypto.randomUUID()
    const plant = (project: string, branch: string) =>
      master(
        sql`insert into platform.hosts (id, name, kind, state, region, project_id, branch_id, owner_role, owner_url_encrypted, capacity, lease_until)
            select ${lost}, 'astray-lost', 'none', 'open', 'x', ${project}, ${branch}, 'x', 'x', 1, now() on conflict (id) do update set project_id = excluded.project_id, branch_id = excluded.branch_id`,
      )
    await plant('lost-project-1', 'br-lost-1')
    // Its secret is one of nobody, so that nothing is placed there: it cannot be read at all.
    expect(await codes('neon', 'astray-lost')).toEqual(['neon_unreadable'])
    const sealed = await sealOwnerUrl(settings(), lost, 'postgresql://a:b@c.test/d')
    await master(sql`update platform.hosts set owner_url_encrypted = ${sealed}, capacity = 0 where id = ${lost}`)
    const [found] = await about('neon', 'astray-lost')
    expect([found?.code, found?.detail]).toEqual(['host_missing', 'Neon has no project lost-project-1.'])
    await plant(host.project_id, 'br-lost-1')
    await master(sql`update platform.hosts set owner_url_encrypted = ${sealed} where id = ${lost}`)
    const [branch] = await about('neon', 'astray-lost')
    expect([branch?.code, branch?.detail]).toEqual(['host_missing', `The project ${host.project_id} has no branch br-lost-1.`])
    await master(sql`delete from platform.hosts where id = ${lost}`)
  })
})
