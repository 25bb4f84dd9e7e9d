import { describe, expect, test } from 'vitest'
import { as, sqlOf, started } from './started.ts'

// Neon asks its control plane before it commits a change of roles, and aborts when that says no.

const { call, newProject, state } = started({ limits: { rolesPerBranch: 6 } })

const PASSWORD = 'a-long-enough-pass-1'
const faults = (...list: object[]) =>
  fetch(state.apiUrl.replace('/api/v2', '/faults'), { method: 'PUT', body: JSON.stringify(list) })
const refusal = (code: number, words = '') => ({
  code: 'XX000',
  message: `Received HTTP code ${code} from control plane${words && `: ${words}`}`,
})

test('a branch has so many roles and no more, whoever makes them', async () => {
  const { branch, uri } = await newProject()
  const sql = sqlOf(uri)
  for (const i of [1, 2, 3]) await sql.query(`create role full_${i}`)
  await expect(sql.transaction(['a', 'b', 'c'].map((name) => sql.query(`create role full_${name}`)))).rejects.toMatchObject(
    refusal(422, 'roles limit exceeded: at most 6 roles per branch'),
  )
  expect(await sql`select from pg_roles where rolname in ('full_a', 'full_b', 'full_c')`).toEqual([])
  await sql.query('create role full_4')
  await sql.query('create role full_5')
  await expect(sql.query('create role full_6')).rejects.toMatchObject({ code: 'XX000' })
  const reply = await call('POST', `${branch}/roles`, { role: { name: 'full_api' } })
  expect(reply).toMatchObject({ status: 422, body: { code: 'ROLES_LIMIT_EXCEEDED' } })
  await sql.query('drop role full_1, full_2, full_3, full_4, full_5')
})

test('`drop role if exists` of nobody is refused', async () => {
  const sql = sqlOf((await newProject()).uri)
  await sql.query('create role somebody')
  await expect(sql.query('drop role if exists somebody, nobody')).rejects.toMatchObject(refusal(404))
  expect(await sql`select from pg_roles where rolname = 'somebody'`).toHaveLength(1)
  await sql.query('drop role if exists somebody')
})

describe('on purpose', () => {
  test('the control plane refuses changes of roles, and no others', async () => {
    const sql = sqlOf((await newProject()).uri)
    await faults({ match: { path: '^/sql$' }, times: 2, kind: 'refuse_roles', status: 423 })
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }])
    await expect(sql.query('create role later')).rejects.toMatchObject(refusal(423))
    await expect(sql.transaction([sql`create table t (n int)`, sql`create role later`])).rejects.toMatchObject(refusal(423))
    expect(await sql`select to_regclass('t') as t`).toEqual([{ t: null }])
    await sql.query('create role later')
    await sql.query('drop role later')
  })

  test('a role whose commit failed comes back as Neon makes roles', async () => {
    const { branch, uri } = await newProject()
    const sql = sqlOf(uri)
    await faults({ match: { path: '^/sql$' }, times: 1, kind: 'bring_back_roles' })
    await expect(
      sql.transaction([sql`create table t (n int)`, sql.query(`create role returned login password '${PASSWORD}'`)]),
    ).rejects.toThrow('Error connecting to database')
    expect(await sql`select to_regclass('t') as t`).toEqual([{ t: null }])
    const attributes = 'rolcreaterole and rolcreatedb and rolbypassrls'
    expect(
      await sqlOf(as(uri, 'returned', PASSWORD)).query(
        `select ${attributes} as all_of_them, pg_has_role('neon_superuser', 'member') as member from pg_roles where rolname = current_user`,
      ),
    ).toEqual([{ all_of_them: true, member: true }])
    await expect(sql.query('drop role returned')).rejects.toMatchObject({ code: '42501' })
    expect((await call('DELETE', `${branch}/roles/returned`)).status).toBe(200)
    expect(await sql`select from pg_roles where rolname = 'returned'`).toEqual([])
  })
})
