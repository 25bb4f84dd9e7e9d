/** Threat: a branch is a copy, and what is copied with it (passwords, rows, whoever may come in) is somebody else's. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Database, databaseOf, master, refusalOf, rowsOf } from '../support/databases.ts'
import { askNeon } from '../support/faults.ts'
import { makeTenant } from '../support/people.ts'

let first: Database
let second: Database
let host: { project_id: string; branch_id: string; owner_role: string }

let names = ['branched', 'branched-other']
const hosts = async () =>
  (await master(sql`select distinct t.host_id from platform.tenants t where t.subdomain in (${names[0]}, ${names[1]})`)).length

beforeAll(async () => {
  await makeTenant('branched', { isolation: 'branch' })
  await makeTenant('branched-other', { isolation: 'branch' })
  // Both in one project: tenants of other files may have filled a host between the two.
  for (let n = 0; n < 5 && (await hosts()) !== 1; n++) {
    await makeTenant(`branched-${n}`, { isolation: 'branch' })
    await makeTenant(`branched-other-${n}`, { isolation: 'branch' })
    names = [`branched-${n}`, `branched-other-${n}`]
  }
  first = await databaseOf(names[0] ?? '')
  second = await databaseOf(names[1] ?? '')
  const [row] = await master(
    sql`select h.project_id, h.branch_id, h.owner_role from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${first.id}`,
  )
  host = row as typeof host
})

const branchOf = async ({ id }: Database) =>
  (await askNeon(`/projects/${host.project_id}/branches?search=tenant-${id}`)).branches.find(
    (branch: any) => branch.name === `tenant-${id}`,
  )
/** How the API role of a tenant's branch connects, by Neon's word. */
async function apiUrl(database: Database): Promise<string> {
  const { id } = await branchOf(database)
  const query = new URLSearchParams({ branch_id: id, database_name: database.name, role_name: host.owner_role })
  return (await askNeon(`/projects/${host.project_id}/connection_uri?${query}`)).uri
}
const withPassword = (url: string, password: string) => Object.assign(new URL(url), { password }).href

it('a tenant has a child of its host’s branch, with a compute of its own', async () => {
  const hosts = [first, second].map(({ app_url }) => new URL(app_url).host)
  expect(new Set([...hosts, new URL(first.host_url).host]).size).toBe(3)
  for (const database of [first, second]) {
    const branch = await branchOf(database)
    expect(branch).toMatchObject({ parent_id: host.branch_id, default: false })
    const { endpoints } = await askNeon(`/projects/${host.project_id}/branches/${branch.id}/endpoints`)
    expect(endpoints.map((endpoint: any) => endpoint.host)).toEqual([new URL(database.app_url).hostname])
  }
})

it('the password that the API role had in the template opens no branch, and that of a branch opens neither template nor sibling', async () => {
  const urls = [first.host_url, await apiUrl(first), await apiUrl(second)]
  const passwords = urls.map((url) => new URL(url).password)
  expect(new Set(passwords).size).toBe(3)
  for (const [i, url] of urls.entries())
    for (const [j, password] of passwords.entries()) {
      const refusal = await refusalOf(withPassword(url, password), sql`select 1`)
      if (i === j) expect(refusal).toBe('none')
      else expect(refusal).toMatch(/password authentication failed/)
    }
})

it('what is in a branch is neither in the template nor in a sibling', async () => {
  await first.asOwner(sql`update freehold.users set given_name = 'Only here'`)
  expect(await second.asOwner(sql`select count(*)::integer as n from freehold.users where given_name = 'Only here'`)).toEqual([
    { n: 0 },
  ])
  const asOwner = sql`set local role freehold_owner`
  for (const table of ['users', 'roles', 'sessions', 'tenant'])
    expect(await rowsOf(first.host_url, asOwner, sql.raw(`select * from freehold.${table}`)), table).toEqual([])
})
