import type { Client } from 'pg'

/**
 * Users, planted by SQL with the triggers off, because triggers would take minutes; the ranges that triggers maintain are written
 * here. Each planted row has an id derived from its number, so that a measure can name it.
 */

/** The id of the `number`th thing of a kind, as an expression of SQL: a random UUID by its form, as the API demands. */
export const idOf = (kind: string, number: string | number) =>
  `overlay(overlay(md5('${kind} ' || ${number}) placing '4' from 13) placing '8' from 17)::uuid`

/** Units: a department with 19 departments under it, over which 180 teams are spread. */
export const UNITS = 200
const DEPARTMENTS = 19
/** The number of the department that a team belongs to. */
export const departmentOf = (team: number) => 1 + (team % DEPARTMENTS)

/** Runs statements with the triggers off. */
export async function planting(postgres: Client, statements: string[]): Promise<void> {
  await postgres.query('set session_replication_role = replica')
  try {
    for (const statement of statements) await postgres.query(statement)
  } finally {
    await postgres.query('reset session_replication_role')
  }
}

/**
 * Writes units and users 0 to `count` - 1, evenly spread over the units (user n is in unit n modulo 200); all hold the role
 * `user`.
 */
export async function plantPeople(postgres: Client, count: number): Promise<void> {
  const numbers = `generate_series(0, ${count - 1}) n`
  await planting(postgres, [
    `insert into freehold.units (id, kind, name, parent_id)
     select ${idOf('unit', 'n')}, case when n <= ${DEPARTMENTS} then 'department' else 'team' end, 'unit ' || n,
       case when n between 1 and ${DEPARTMENTS} then ${idOf('unit', 0)} when n > ${DEPARTMENTS} then ${idOf('unit', `(1 + n % ${DEPARTMENTS})`)} end
     from generate_series(0, ${UNITS - 1}) n`,
    // Names in no order: neighbours in an index are not neighbours in the table.
    `insert into freehold.users (id, username, email, given_name, family_name, role, unit_id)
     select ${idOf('person', 'n')}, left(md5(n::text), 8) || '-' || n, left(md5('mail ' || n), 8) || '-' || n || '@people.test',
       left(md5('given ' || n), 6), left(md5('family ' || n), 8), 'user', ${idOf('unit', `(n % ${UNITS})`)} from ${numbers}`,
    `insert into freehold.user_periods (id, user_id, starts_at) select gen_random_uuid(), ${idOf('person', 'n')}, now() from ${numbers}`,
    `insert into freehold.user_roles (id, user_id, role_id)
     select gen_random_uuid(), ${idOf('person', 'n')}, r.id from ${numbers}, freehold.roles r where r.name = 'user'`,
  ])
}

/** Writes roles without their permissions: each by its number, with its name and the number of its parent. */
export const plantRoles = (postgres: Client, roles: { number: number; name: string; parent: number | null }[]) =>
  planting(
    postgres,
    roles.flatMap(({ number, name, parent }) => {
      const parent_id = parent === null ? 'null' : idOf('role', parent)
      return [
        `insert into freehold.roles (id, name, parent_id) values (${idOf('role', number)}, '${name}', ${parent_id})`,
        `insert into freehold.role_periods (id, role_id, parent_id, starts_at) values (gen_random_uuid(), ${idOf('role', number)}, ${parent_id}, now())`,
      ]
    }),
  )

/** A session of a user, as the credential that the admission takes. */
export async function plantSession(postgres: Client, person: string): Promise<string> {
  const { rows } = await postgres.query<{ credential: string }>(
    `insert into freehold.sessions (id, user_id, expires_at) values (gen_random_uuid(), ${person}, now() + interval '1 day')
     returning jsonb_build_object('session_id', id, 'user_id', user_id, 'proof', access.session_proof(id))::text as credential`,
  )
  return rows[0]?.credential ?? ''
}

/** Gives users a password, the same to all, and returns their usernames, in order. */
export async function plantPasswords(postgres: Client, people: number[], password_hash: string): Promise<string[]> {
  const { rows } = await postgres.query<{ username: string }>(
    `with person as (select u.id, u.username, n from unnest($2::int[]) n join freehold.users u on u.id = ${idOf('person', 'n')}),
       given as (insert into freehold.passwords (id, user_id, password_hash) select gen_random_uuid(), id, $1 from person)
     select username from person order by n`,
    [password_hash, people],
  )
  return rows.map(({ username }) => username)
}

/** Updates the statistics of the planted rows, so that queries are planned well. */
export const analyze = (postgres: Client) => postgres.query('vacuum analyze')
