import { describe, expect, test } from 'vitest'
import { as, at, sqlOf, started } from './started.ts'

// What a service that gives each tenant a database asks of Neon, run by a role that the API made: never by a superuser.

const { ask, newProject, uriOf, post } = started()

const PASSWORD = 'a-long-enough-pass-1'

/** A tenant's database in a branch, with logins of its own. */
async function provision(branch: string, tenant: string) {
  await ask('POST', `${branch}/databases`, { database: { name: tenant, owner_name: 'neondb_owner' } })
  const uri = await uriOf(branch, tenant)
  const sql = sqlOf(uri)
  const exists = await sql`select from pg_roles where rolname = 'freehold_owner'`
  if (exists.length === 0) await sql.query('create role freehold_owner nologin')
  await sql.query(`create role ${tenant}_app login password '${PASSWORD}'`)
  await sql.query(`create role ${tenant}_owner login password '${PASSWORD}'`)
  await sql.query(`grant freehold_owner to ${tenant}_owner`)
  await sql.query('grant freehold_owner to current_user with set true, inherit true')
  await sql.query(`grant create on database ${tenant} to freehold_owner`)
  await sql.query(`revoke connect, temporary on database ${tenant} from public`)
  await sql.query(`grant connect on database ${tenant} to ${tenant}_app, ${tenant}_owner`)
  return { admin: uri, app: as(uri, `${tenant}_app`, PASSWORD), owner: as(uri, `${tenant}_owner`, PASSWORD) }
}

describe('a tenant in a shared branch', () => {
  test('gets a schema that a group owns and its app login can use only as granted', async () => {
    const { branch } = await newProject()
    const acme = await provision(branch, 'acme')
    const owner = sqlOf(acme.owner)
    await owner.transaction([
      owner`set local role freehold_owner`,
      owner`create schema freehold`,
      owner`create table freehold.users (id int)`,
      owner`grant usage on schema freehold to acme_app`,
      owner`grant select on freehold.users to acme_app`,
    ])
    const app = sqlOf(acme.app)
    expect(await app`select * from freehold.users`).toEqual([])
    await expect(app`insert into freehold.users values (1)`).rejects.toMatchObject({ code: '42501' })
    await expect(app`create table freehold.more (id int)`).rejects.toMatchObject({ code: '42501' })
    await expect(app`create temporary table brief (id int)`).rejects.toMatchObject({ code: '42501' })
    await expect(app`set role freehold_owner`).rejects.toMatchObject({ code: '42501' })
  })

  test('cannot reach its neighbour, the first database or those that all branches share', async () => {
    const { branch, uri } = await newProject()
    const [one, other] = [await provision(branch, 'one'), await provision(branch, 'other')]
    await sqlOf(uri)`revoke connect on database neondb from public`.catch(() => undefined)
    for (const database of ['other', 'postgres', 'template1']) {
      const { status, body } = await post(at(one.app, database), { query: 'select 1' })
      expect([status, body.code, body.message]).toEqual([500, '42501', `permission denied for database "${database}"`])
    }
    expect((await post(at(one.app, 'local_neon'), { query: 'select 1' })).body.code).toBe('3D000')
    expect(await sqlOf(other.app)`select current_user as me`).toEqual([{ me: 'other_app' }])
  })

  test('shares the owners’ group with tenants in other projects', async () => {
    const first = await newProject()
    await provision(first.branch, 'in_first')
    const second = await newProject()
    const tenant = await provision(second.branch, 'in_second')
    const owner = sqlOf(tenant.owner)
    await owner.transaction([owner`set local role freehold_owner`, owner`create schema freehold`])
    expect(await sqlOf(tenant.admin)`select count(*)::int as n from pg_namespace where nspname = 'freehold'`).toEqual([{ n: 1 }])
  })

  test('can be managed by a role that was made before the group and by one made after it', async () => {
    const early = await newProject()
    await sqlOf(early.uri).query('create role late_group nologin')
    const late = await newProject()
    for (const [place, { uri }] of [early, late].entries()) {
      const sql = sqlOf(uri)
      await sql.query(`create role member_${place} login password '${PASSWORD}'`)
      await sql.query(`grant late_group to member_${place}`)
      expect(
        await sql`select pg_has_role('late_group', 'usage') as has, pg_has_role('late_group', 'set') as sets, pg_has_role('late_group', 'usage with admin option') as manages`,
      ).toEqual([{ has: false, sets: false, manages: true }])
      await sql.query('grant late_group to current_user with set true, inherit true')
      expect(await sql`select pg_has_role('late_group', 'usage') as has`).toEqual([{ has: true }])
    }
  })

  test('goes with its database: dropping it by the API and then its logins leaves nothing', async () => {
    const { branch, uri } = await newProject()
    const brief = await provision(branch, 'brief')
    expect(await sqlOf(brief.app)`select 1 as one`).toEqual([{ one: 1 }])
    await ask('DELETE', `${branch}/databases/brief`)
    await sqlOf(uri).query('drop role brief_app, brief_owner')
    expect(await sqlOf(uri)`select rolname from pg_roles where rolname like 'brief%'`).toEqual([])
    expect((await ask('GET', `${branch}/roles`)).body.roles.some(({ name }: { name: string }) => name.startsWith('brief'))).toBe(
      false,
    )
  })
})

describe('a role that the API made', () => {
  test('is no superuser, but may make roles and databases and read what the branch holds', async () => {
    const { branch, uri } = await newProject()
    const sql = sqlOf(uri)
    const [role] =
      await sql`select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolinherit from pg_roles where rolname = current_user`
    expect(role).toEqual({
      rolsuper: false,
      rolcreaterole: true,
      rolcreatedb: true,
      rolbypassrls: true,
      rolreplication: true,
      rolinherit: true,
    })
    await ask('POST', `${branch}/roles`, { role: { name: 'reader' } })
    await sql`create table secrets as select 1 as one`
    expect(await sqlOf(await uriOf(branch, 'neondb', 'reader'))`select * from secrets`).toEqual([{ one: 1 }])
    await expect(sql`alter system set work_mem = '1MB'`).rejects.toMatchObject({ code: '42501' })
  })

  test('keeps its plain name while that is free in the cluster, and has its branch’s id in it otherwise', async () => {
    const names = await Promise.all(
      [
        await newProject({ branch: { role_name: 'unique_admin' } }),
        await newProject({ branch: { role_name: 'unique_admin' } }),
      ].map(async ({ branch }) => (await sqlOf(await uriOf(branch, 'neondb', 'unique_admin'))`select current_user as me`)[0]?.me),
    )
    expect(names[0]).toBe('unique_admin')
    expect(names[1]).toMatch(/^unique_admin@br-/)
  })
})
