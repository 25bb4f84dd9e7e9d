/** Threat: a release adds a role whose parent a tenant has made itself by that name, and it inherits what the tenant meant for few. */
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { presets } from '../../src/presets/presets.ts'
import { rolesOf } from '../../src/tenants/provisioning/seed.ts'
import { databaseOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

it('a role that a preset has gained inherits from roles of the preset, and from none that the tenant made by that name', async () => {
  await copyTenant('preset-roles')
  const { asOwner } = await databaseOf('preset-roles')
  await asOwner(sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'lead')`)
  const minimal = presets.minimal
  if (!minimal) throw new Error('There is no preset minimal.')
  const role = { description: 'x', grants: [] }
  const roles = [
    ...minimal.roles,
    { ...role, name: 'lead' },
    { ...role, name: 'junior', parent: 'lead' },
    { ...role, name: 'helper', parent: 'user' },
  ]
  const gained = rolesOf({ ...minimal, roles })
  await asOwner(...gained)
  await asOwner(...gained)
  const found = await asOwner(
    sql`select r.name, r.is_system, p.name as parent from freehold.roles r left join freehold.roles p on p.id = r.parent_id where r.name in ('lead', 'junior', 'helper') order by 1`,
  )
  expect(found).toEqual([
    { name: 'helper', is_system: true, parent: 'user' },
    { name: 'junior', is_system: true, parent: null },
    { name: 'lead', is_system: false, parent: null },
  ])
})
