/**
 * Roles in a branch of Neon, made by SQL. Threat: Neon forwards a change of roles to its control plane before it commits it. A role
 * whose commit failed may come back as Neon makes roles, a member of `neon_superuser`, which reads every database of the branch; so
 * what a role may do is read before it is adopted. And Neon refuses changes that Postgres would make: while it is busy, for roles that
 * do not exist, and beyond 500 roles in a branch.
 */
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import { batch, dbError } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { type NeonApi, waitFor, withRetry } from './neon.ts'

/** A branch, with the connection string of its API role. `neon` is null in an account of somebody else's, whose API nobody asks. */
export type Cluster = { neon: NeonApi | null; project_id: string; branch_id: string; url: string }

/** The branch has as many roles as Neon allows. Trying again there does not help. */
export class ClusterFull extends Error {}

/** A role has our name and may do more than we let it. */
export class StrangeRole extends Error {}

/** Less than Neon's 500 by what it may count besides. */
const NEARLY_ALL_ROLES = 490

/** The roles that own and use every tenant's schema, and what each may be a member of. */
export const GROUPS: Memberships = { freehold_owner: [], freehold_app: [] }

/** Those of the master, whose registry has readers as well. */
export const MASTER_GROUPS: Memberships = { ...GROUPS, freehold_reader: [] }

/** Changes roles in one transaction, and waits while Neon is busy. Fails with ClusterFull. */
export const changeRoles = (at: Cluster, statements: Parameters<typeof batch>[1]) =>
  withRetry(
    async () => {
      try {
        return await batch(at.url, statements)
      } catch (error) {
        const isFull = isRefused(error) && (await hasNoRoom(at, error))
        throw isFull ? new ClusterFull('The branch has no room for roles.', { cause: error }) : error
      }
    },
    (error) => !(error instanceof ClusterFull) && isRefused(error),
  )

/** True when Neon's control plane did not take a change of roles. */
const isRefused = (error: unknown) =>
  dbError(error)?.code === 'XX000' && /^Received HTTP code \d+ from control plane/.test(dbError(error)?.message ?? '')

/** The words of the refusal are Neon's to change, so the roles are counted, too. */
async function hasNoRoom({ neon, project_id, branch_id }: Cluster, error: unknown): Promise<boolean> {
  if (/\blimit/i.test(dbError(error)?.message ?? '')) return true
  const roles = (await neon?.postgres.roles.list({ projectId: project_id, branchId: branch_id }).catch(() => [])) ?? []
  return roles.length >= NEARLY_ALL_ROLES
}

/** What a role may be a member of, by its name. */
type Memberships = Record<string, string[]>

/** The names of those of the roles that exist; `strange`: with an attribute, or in a role, that we give none. */
async function found(url: string, allowed: Memberships): Promise<{ name: string; strange: boolean }[]> {
  const [rows = []] = await batch(url, [
    sql`select r.rolname as name, r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or exists (
          select from pg_auth_members m where m.member = r.oid and not ${JSON.stringify(allowed)}::jsonb -> r.rolname::text ? m.roleid::regrole::text) as strange
        from pg_roles r where ${JSON.stringify(allowed)}::jsonb ? r.rolname::text`,
  ])
  return rows as { name: string; strange: boolean }[]
}

/** Fails with StrangeRole, naming it, when one of these roles exists and may do more than we let it. */
export async function requireOrdinary(url: string, allowed: Memberships): Promise<void> {
  for (const { name, strange } of await found(url, allowed))
    if (strange) throw new StrangeRole(`The role ${name} has privileges that are not of Freehold. Drop it, and try again.`)
}

/**
 * Removes those of these roles that may do more than we let them, through Neon's API, which made them. Where nobody asks it, fails and names
 * them.
 */
export async function removeStrange(at: Cluster, allowed: Memberships): Promise<void> {
  const { neon, project_id, branch_id } = at
  if (!neon) return requireOrdinary(at.url, allowed)
  const strange = (await found(at.url, allowed)).filter((role) => role.strange)
  for (const { name: role_name } of strange) {
    log('a role that Neon brought back is removed', { project: project_id, branch: branch_id, role: role_name })
    const path = { project_id, branch_id, role_name }
    const gone = await withRetry(() => raw.deleteProjectBranchRole({ client: neon.client, path, throwOnError: true }))
    await waitFor(neon, gone?.operations ?? [])
  }
  if (strange.length) await requireOrdinary(at.url, allowed)
}

/** Creates roles that cannot log in, unless they exist. Those that exist are ordinary afterwards. Fails with ClusterFull. */
export async function makeRoles(at: Cluster, allowed: Memberships): Promise<void> {
  await removeStrange(at, allowed)
  await changeRoles(
    at,
    Object.keys(allowed).map((name) => makeRole(name)),
  )
}

/** Creates a role with options, or gives an existing one these options. The name must need no quotes. */
export const makeRole = (name: string, options = 'nologin', existing = '') =>
  sql.raw(`do $$ begin
    if not exists (select from pg_roles where rolname = '${name}') then create role ${name} ${options};
    ${existing && `else alter role ${name} ${existing};`} end if; end $$`)

/**
 * Drops those of these roles that exist: Neon refuses to drop others, even with `if exists`. `database_name` is one that there is, and that
 * they may connect to.
 */
export async function dropRoles(at: Cluster, allowed: Memberships, database_name?: string): Promise<void> {
  await removeStrange(at, allowed)
  const names = (await found(at.url, allowed)).map(({ name }) => sql.identifier(name))
  if (!names.length) return
  const roles = sql.join(names, sql`, `)
  const leave = database_name === undefined ? [] : [sql`revoke all on database ${sql.identifier(database_name)} from ${roles}`]
  await changeRoles(at, [...leave, sql`drop role ${roles}`])
}
