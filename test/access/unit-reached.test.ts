/** Threat: the two ways to ask which units a scope reaches disagree, so that a check allows what a list does not show. */
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { databaseOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

it('a scope reaches a unit where the unit is among those in the scope, for every user, scope and unit of a tree', async () => {
  await copyTenant('reached')
  const tenant = await databaseOf('reached')
  // A tree: teams below teams and departments, departments below departments; a user in each unit, and one in none.
  const [row] = await tenant.asOwner(
    sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'department', 'd0'), (gen_random_uuid(), 'team', 't0')`,
    ...Array.from({ length: 15 }, (_, i) => [
      sql`insert into freehold.units (id, kind, name, parent_id)
          select gen_random_uuid(), 'department', ${`d${i + 1}`}, u.id from freehold.units u where u.name = ${`d${i >> 1}`}`,
      sql`insert into freehold.units (id, kind, name, parent_id)
          select gen_random_uuid(), 'team', ${`t${i + 1}`}, u.id from freehold.units u where u.name = ${`${i % 3 ? 't' : 'd'}${i >> 1}`}`,
    ]).flat(),
    sql`insert into freehold.users (id, username, email, unit_id) select gen_random_uuid(), 'in-' || name, name || '@people.test', id from freehold.units`,
    sql`with asked as (
          select p.id as holder, s.scope, u.id as unit
          from freehold.users p, unnest(enum_range(null::access.scope)) s (scope), freehold.units u)
        select count(*)::int as asked,
          count(*) filter (where access.reaches_unit(holder, scope, unit))::int as reached,
          count(*) filter (where access.reaches_unit(holder, scope, unit) is distinct from (unit in (select access.units_in_scope(holder, scope))))::int as differ
        from asked`,
  )
  expect(row?.asked).toBe(33 * 5 * 32)
  expect(row?.reached).toBeGreaterThan(100)
  expect(row?.differ).toBe(0)
})
