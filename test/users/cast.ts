/** Roles of a given reach, units, and people in them, for what a scope lets somebody do. */
import { sql } from 'drizzle-orm'
import { addPerson, type Inside, type Person } from '../support/inside.ts'
import { tokenOf } from '../support/sessions.ts'

export type Scope = 'all' | 'department' | 'team' | 'own'

/** A role that holds permissions, each at a scope. */
export const addRole = (realm: Inside, name: string, permissions: string[], scope: Scope) =>
  realm.asOwner(
    sql`insert into freehold.roles (id, name) values (gen_random_uuid(), ${name})`,
    sql`insert into freehold.role_permissions (id, role_id, permission, scope)
      select gen_random_uuid(), r.id, p, ${scope} from freehold.roles r, jsonb_array_elements_text(${JSON.stringify(permissions)}::jsonb) p where r.name = ${name}`,
  )

/** A unit; gives its id. */
export async function addUnit(realm: Inside, kind: 'department' | 'team', name: string, parent_id: string | null = null) {
  const id = crypto.randomUUID()
  await realm.asOwner(sql`insert into freehold.units (id, kind, name, parent_id) values (${id}, ${kind}, ${name}, ${parent_id})`)
  return id
}

type Placed = { roles?: string[]; unit_id?: string | null; manager_id?: string | null }

/** Somebody in a unit, under a manager, logged in. */
export async function addMember(
  realm: Inside,
  username: string,
  { roles = ['user'], unit_id = null, manager_id = null }: Placed = {},
): Promise<Person & { token: string }> {
  const person = await addPerson(realm, username, { roles })
  await realm.asOwner(sql`update freehold.users set unit_id = ${unit_id}, manager_id = ${manager_id} where id = ${person.id}`)
  return { ...person, token: await tokenOf(realm, username) }
}
