/** A tenant with its administrator at the door, and a quick way to bring in members, roles and units. */
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { type Answer, call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

export type Member = Person & { token: string }
type Ask = { token?: string | undefined; body?: unknown; method?: string; headers?: Record<string, string> }

export type Cast = {
  realm: Inside
  /** The administrator's token and id. */
  bo: { id: string; token: string }
  /** A request under /api/v1, by bo unless another token is given; token '' is nobody. */
  ask: (path: string, more?: Ask) => Promise<Answer>
  /** A member who is logged in. `can` is what a role of their own carries. */
  member: (
    username: string,
    more?: { can?: Record<string, string>; roles?: string[]; unit?: string; own?: Record<string, unknown> },
  ) => Promise<Member>
  /** Makes a role through the route; gives its id. */
  role: (name: string, permissions?: Record<string, string>, more?: Record<string, unknown>) => Promise<string>
  /** The id of a role by its name. */
  roleId: (name: string) => Promise<string>
  unit: (name: string, parent?: string, kind?: string) => Promise<string>
}

/** `{ 'user:read': 'all' }` as the wire has it. */
export const grants = (held: Record<string, string>) => Object.entries(held).map(([permission, scope]) => ({ permission, scope }))

export async function cast(subdomain: string): Promise<Cast> {
  await copyTenant(subdomain)
  const realm = await inside(subdomain)
  const token = await tokenOf(subdomain)
  const [bo] = await realm.asOwner(sql`select id from freehold.users where username = 'bo'`)
  const ask: Cast['ask'] = (path, { token: other = token, ...more } = {}) =>
    call(subdomain, `/api/v1${path}`, { ...more, ...(other && { token: other }) })
  const role: Cast['role'] = async (name, permissions = {}, more = {}) => {
    const made = await ask('/roles', { body: { name, permissions: grants(permissions), ...more } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    return made.body.id
  }
  return {
    realm,
    bo: { id: bo?.id, token },
    ask,
    role,
    member: async (username, { can, roles = ['user'], unit, own } = {}) => {
      if (can) await role(`of ${username}`, can, own)
      const person = await addPerson(realm, username, { roles: can ? [...roles, `of ${username}`] : roles })
      if (unit) await realm.asOwner(sql`update freehold.users set unit_id = ${unit} where id = ${person.id}`)
      return { ...person, token: await tokenOf(realm, username) }
    },
    roleId: async (name) =>
      (await realm.asOwner(sql`select id from freehold.roles where name = ${name} and deleted_at is null`))[0]?.id,
    unit: async (name, parent, kind = 'team') => {
      const id = crypto.randomUUID()
      await realm.asOwner(
        sql`insert into freehold.units (id, kind, name, parent_id) values (${id}, ${kind}, ${name}, ${parent ?? null})`,
      )
      return id
    },
  }
}
