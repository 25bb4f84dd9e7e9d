import { describe, expect, test } from 'vitest'
import { as, at, sqlOf, started } from './started.ts'

const { ask, newProject, uriOf, post } = started()

async function branchOf(path: string, branch: Record<string, unknown> = {}) {
  const { body } = await ask('POST', `${path}/branches`, { branch, endpoints: [{ type: 'read_write' }] })
  return { path: `${path}/branches/${body.branch.id}`, body }
}

describe('a branch', () => {
  test('starts as a copy of its parent and goes its own way', async () => {
    const { path, uri } = await newProject()
    const parent = sqlOf(uri)
    await parent`create table notes (id serial primary key, text text)`
    await parent`insert into notes (text) values ('before')`
    const child = sqlOf(await uriOf((await branchOf(path)).path))
    await parent`insert into notes (text) values ('in the parent')`
    await child`insert into notes (text) values ('in the child')`
    expect(await parent`select text from notes order by id`).toEqual([{ text: 'before' }, { text: 'in the parent' }])
    expect(await child`select text from notes order by id`).toEqual([{ text: 'before' }, { text: 'in the child' }])
  })

  test('inherits databases, roles and passwords', async () => {
    const { path, branch, uri } = await newProject()
    await ask('POST', `${branch}/roles`, { role: { name: 'ada' } })
    await ask('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'ada' } })
    const child = await branchOf(path)
    const names = (list: { name: string }[]) => list.map(({ name }) => name)
    expect(names((await ask('GET', `${child.path}/roles`)).body.roles)).toEqual(['neondb_owner', 'ada'])
    expect(names((await ask('GET', `${child.path}/databases`)).body.databases)).toEqual(['neondb', 'shop'])
    expect(new URL(await uriOf(child.path)).password).toBe(new URL(uri).password)
    expect(child.body).not.toHaveProperty('connection_uris')
    const shop = sqlOf(await uriOf(child.path, 'shop', 'ada'))
    expect(
      await shop`select pg_get_userbyid(datdba) = current_user as mine from pg_database where datname = current_database()`,
    ).toEqual([{ mine: true }])
  })

  test('gets new passwords when its parent is protected', async () => {
    const { path, branch, uri } = await newProject()
    await ask('PATCH', branch, { branch: { protected: true } })
    const child = await uriOf((await branchOf(path)).path)
    expect(new URL(child).password).not.toBe(new URL(uri).password)
    expect(await sqlOf(child)`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('answers with a connection string when there is one role and one database', async () => {
    const { path } = await newProject()
    const { body } = await branchOf(path)
    expect(await sqlOf(body.connection_uris[0].connection_uri)`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('does not open to the parent’s endpoint, nor the parent to the branch’s', async () => {
    const { path, branch, uri } = await newProject()
    const child = await branchOf(path)
    await ask('POST', `${child.path}/databases`, { database: { name: 'only_in_child', owner_name: 'neondb_owner' } })
    await expect(sqlOf(at(uri, 'only_in_child'))`select 1`).rejects.toMatchObject({ code: '3D000' })
    const internal = (await sqlOf(await uriOf(child.path))`select current_user as me, current_database() as here`)[0]
    await expect(sqlOf(at(uri, internal?.here))`select 1`).rejects.toMatchObject({ code: '3D000' })
    const { password } = new URL(uri)
    expect((await post(as(uri, internal?.me, password), { query: 'select 1' })).body.message).toContain(
      'password authentication failed',
    )
    expect((await ask('GET', `${branch}/databases/only_in_child`)).status).toBe(404)
  })

  test('is gone with its databases and roles once it is deleted, and its name is free', async () => {
    const { path } = await newProject()
    const child = await branchOf(path, { name: 'brief' })
    const uri = await uriOf(child.path)
    expect(await sqlOf(uri)`select 1 as one`).toEqual([{ one: 1 }])
    expect((await ask('DELETE', child.path)).body.operations.map(({ action }: { action: string }) => action)).toEqual([
      'suspend_compute',
      'delete_timeline',
    ])
    await expect(sqlOf(uri)`select 1`).rejects.toThrow('password authentication failed')
    expect((await ask('POST', `${path}/branches`, { branch: { name: 'brief' } })).status).toBe(201)
  })

  test('of a branch is a copy of that branch', async () => {
    const { path } = await newProject()
    const child = await branchOf(path)
    await sqlOf(await uriOf(child.path))`create table mine (id int)`
    const grandchild = await branchOf(path, { parent_id: child.body.branch.id })
    expect(await sqlOf(await uriOf(grandchild.path))`select * from mine`).toEqual([])
  })

  test('can be made while the parent is being used', async () => {
    const { path, uri } = await newProject()
    const parent = sqlOf(uri)
    await parent`create table notes (id int)`
    const writing = Array.from({ length: 60 }, (_, n) => parent`insert into notes values (${n})`)
    const child = await branchOf(path)
    await Promise.all(writing)
    expect(await parent`select count(*)::int as n from notes`).toEqual([{ n: 60 }])
    expect(child.body.branch.name).toMatch(/^br-/)
  })
})

describe('what the copy says about the parent’s roles it says about the branch’s', () => {
  test('owners, grants, default privileges, policies, memberships and settings', async () => {
    const { path, branch, uri } = await newProject()
    await ask('POST', `${branch}/roles`, { role: { name: 'heiress' } })
    const parent = sqlOf(uri)
    const statements = [
      'create role clerks nologin',
      'grant clerks to current_user with set true, inherit true',
      'create schema shop',
      'create table shop.orders (id int, note text)',
      'grant select, insert (id) on shop.orders to heiress',
      'grant usage on schema shop to heiress with grant option',
      'alter default privileges in schema shop grant select on tables to heiress',
      'alter table shop.orders enable row level security',
      'create policy own on shop.orders to heiress using (true)',
      'create function shop.total() returns int language sql security definer as $$select 1$$',
      'revoke connect on database neondb from public',
      'grant connect on database neondb to heiress',
      "alter database neondb set statement_timeout = '1h'",
    ]
    for (const statement of statements) await parent.query(statement)
    await sqlOf(await uriOf(branch, 'neondb', 'heiress'))`alter role current_user set search_path = 'shop'`
    const child = await branchOf(path)
    const [owner, ada] = [sqlOf(await uriOf(child.path)), sqlOf(await uriOf(child.path, 'neondb', 'heiress'))]

    const [names] =
      await ada`select current_user as ada, current_setting('search_path') as path, current_setting('statement_timeout') as timeout`
    expect(names).toMatchObject({ path: 'shop', timeout: '1h' })
    const [facts] = await owner`
      select current_user as me,
        (select relowner::regrole::text = quote_ident(current_user) from pg_class where oid = 'shop.orders'::regclass) as table_is_mine,
        (select proowner::regrole::text = quote_ident(current_user) from pg_proc where proname = 'total') as function_is_mine,
        has_table_privilege(${names?.ada}, 'shop.orders', 'select') as ada_reads,
        has_column_privilege(${names?.ada}, 'shop.orders', 'id', 'insert') as ada_writes_id,
        has_schema_privilege(${names?.ada}, 'shop', 'usage with grant option') as ada_grants,
        (select polroles[1]::regrole::text = quote_ident(${names?.ada}) from pg_policy where polname = 'own') as policy_is_for_ada,
        (select bool_or(grantee::regrole::text = quote_ident(${names?.ada})) from pg_default_acl, aclexplode(defaclacl)) as default_is_for_ada,
        pg_has_role(current_user, 'clerks', 'set') as is_clerk,
        has_database_privilege(${names?.ada}, current_database(), 'connect') as ada_connects,
        has_database_privilege('clerks', current_database(), 'connect') as others_connect`
    expect(facts).toMatchObject({
      table_is_mine: true,
      function_is_mine: true,
      ada_reads: true,
      ada_writes_id: true,
      ada_grants: true,
      policy_is_for_ada: true,
      default_is_for_ada: true,
      is_clerk: true,
      ada_connects: true,
      others_connect: false,
    })
    await owner.query('drop table shop.orders')
    expect(await parent`select to_regclass('shop.orders') is not null as there`).toEqual([{ there: true }])
    expect((await ask('DELETE', child.path)).status).toBe(200)
    expect(await sqlOf(await uriOf(branch, 'neondb', 'heiress'))`select * from shop.orders`).toEqual([])
  })
})
