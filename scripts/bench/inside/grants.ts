import type { Client } from 'pg'
import { idOf, planting, plantRoles } from './people.ts'

/** Chains of roles with their permissions, overrides and delegations, as in a large tenant. */

const CHAINS = 10
const DEPTH = 5
const EACH = 60
const PERMISSIONS = 600
const SCOPES = `(array['own', 'team', 'department', 'all'])`

/** The role at a level of a chain; 0 inherits from 1, and so on. */
export const roleAt = (chain: number, level: number) => chain * DEPTH + level
/** A planted permission by its number. */
export const permission = (number: number) => `bench-${number % PERMISSIONS}:read`
/** A permission that the role at a level of a chain has itself, not by inheritance. */
export const carriedBy = (chain: number, level: number, which: number) => permission((chain + level) * EACH + which)

/** The asking user: holds two roles of several levels, some overrides, and delegations of two others. */
export const ASKER = 1
/** A user without delegations, whose chain is the asker's first. */
export const PLAIN = 11
/** Users as PLAIN is: with the roles `user` and that of the asker's first chain, and no override or delegation. */
export const plainPeople = (count: number) =>
  Array.from({ length: 2 * count }, (_, n) => PLAIN + n * CHAINS)
    .filter((n) => n % 3 && n % 200 !== 1)
    .slice(0, count)
const [DELEGATES_ROLE, DELEGATES_PERMISSIONS] = [2, 3]
/** The chains of the asker's roles, and of the role that is delegated to them. */
export const [CHAIN, OTHER] = [1, 4]
export const DELEGATED = 7
export const DENIED = carriedBy(1, 0, 59)
export const OVERRIDDEN = permission(599)

/**
 * 50 roles five deep, 60 permissions each; every user holds one or two; every hundredth has an override, every two-hundredth a
 * delegation.
 */
export async function plantGrants(postgres: Client, people: number): Promise<void> {
  const roles = Array.from({ length: CHAINS * DEPTH }, (_, number) => ({
    number,
    name: `role ${number}`,
    parent: number % DEPTH < DEPTH - 1 ? number + 1 : null,
  }))
  await plantRoles(postgres, roles)
  const assigned = `insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${idOf('person', 'n')},`
  const within = `starts_at, ends_at, decision, decided_at`
  const now = `now() - interval '1 day', now() + interval '1 day', 'approved', now() - interval '1 day'`
  await planting(postgres, [
    `insert into freehold.permissions (id, name, created_at) select gen_random_uuid(), 'bench-' || n || ':read', now() - interval '2 days'
     from generate_series(0, ${PERMISSIONS - 1}) n`,
    `insert into freehold.role_permissions (id, role_id, permission, scope)
     select gen_random_uuid(), ${idOf('role', 'r')}, 'bench-' || ((r / ${DEPTH} + r % ${DEPTH}) * ${EACH} + n) % ${PERMISSIONS} || ':read', ${SCOPES}[1 + n % 4]
     from generate_series(0, ${CHAINS * DEPTH - 1}) r, generate_series(0, ${EACH - 1}) n`,
    `${assigned} ${idOf('role', `(n % ${CHAINS}) * ${DEPTH}`)} from generate_series(${ASKER + 1}, ${people - 1}) n`,
    `${assigned} ${idOf('role', `((n + 3) % ${CHAINS}) * ${DEPTH} + 2`)} from generate_series(${ASKER + 1}, ${people - 1}) n where n % 3 = 0`,
    `${assigned} ${idOf('role', roleAt(CHAIN, 0))} from generate_series(${ASKER}, ${ASKER}) n`,
    `${assigned} ${idOf('role', roleAt(OTHER, 0))} from generate_series(${ASKER}, ${ASKER}) n`,
    `insert into freehold.overrides (id, user_id, permission, effect, scope)
     select gen_random_uuid(), ${idOf('person', 'n')}, 'bench-' || n % ${PERMISSIONS} || ':read', case when n % 200 = 0 then 'deny' else 'grant' end, 'team'
     from generate_series(100, ${people - 1}, 100) n`,
    `insert into freehold.overrides (id, user_id, permission, effect, scope) values
     (gen_random_uuid(), ${idOf('person', ASKER)}, '${DENIED}', 'deny', 'all'),
     (gen_random_uuid(), ${idOf('person', ASKER)}, '${OVERRIDDEN}', 'grant', 'team')`,
    `insert into freehold.delegations (id, delegator_id, delegate_id, role_id, ${within})
     select ${idOf('delegation', 'n')}, ${idOf('person', 'n')}, ${idOf('person', '(n + 1)')}, ${idOf('role', `(n % ${CHAINS}) * ${DEPTH}`)}, ${now}
     from generate_series(200, ${people - 2}, 200) n`,
    `insert into freehold.user_roles (id, user_id, role_id) values
     (gen_random_uuid(), ${idOf('person', DELEGATES_ROLE)}, ${idOf('role', roleAt(DELEGATED, 0))})`,
    `insert into freehold.delegations (id, delegator_id, delegate_id, role_id, ${within}) values
     (${idOf('delegation', 0)}, ${idOf('person', DELEGATES_ROLE)}, ${idOf('person', ASKER)}, ${idOf('role', roleAt(DELEGATED, 0))}, ${now}),
     (${idOf('delegation', 1)}, ${idOf('person', DELEGATES_PERMISSIONS)}, ${idOf('person', ASKER)}, null, ${now})`,
    `insert into freehold.delegation_permissions (delegation_id, permission)
     select ${idOf('delegation', 1)}, 'bench-' || ${DELEGATES_PERMISSIONS * EACH} + n || ':read' from generate_series(0, 4) n`,
  ])
}

const [ORDINARY, ORDINARY_PARENT] = [CHAINS * DEPTH, CHAINS * DEPTH + 1]
/** A permission that ordinary people hold by inheritance. */
export const ORDINARY_PERMISSION = permission(30)

/** Makes planted people ordinary: a role with twenty permissions, which inherits twenty more, in place of five roles with 300. */
export async function makeOrdinary(postgres: Client, people: number[]): Promise<void> {
  await plantRoles(postgres, [
    { number: ORDINARY_PARENT, name: 'ordinary parent', parent: null },
    { number: ORDINARY, name: 'ordinary', parent: ORDINARY_PARENT },
  ])
  const ids = `array[${people.map((n) => idOf('person', n))}]`
  await planting(postgres, [
    `insert into freehold.role_permissions (id, role_id, permission, scope)
     select gen_random_uuid(), case when n < 20 then ${idOf('role', ORDINARY)} else ${idOf('role', ORDINARY_PARENT)} end, 'bench-' || n || ':read', ${SCOPES}[1 + n % 4]
     from generate_series(0, 39) n`,
    `insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), ${idOf('role', ORDINARY)}, 'user:read', 'department')`,
    `update freehold.user_roles set role_id = ${idOf('role', ORDINARY)} where user_id = any (${ids}) and role_id = ${idOf('role', roleAt(CHAIN, 0))}`,
  ])
}
