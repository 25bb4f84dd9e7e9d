import { escapeIdentifier, escapeLiteral } from 'pg'
import { type Database, now } from '../state/records.ts'
import { adopt } from './adopt.ts'
import type { Context } from './context.ts'
import { copyOf } from './copy.ts'
import { createDatabase } from './databases.ts'
import { databasesOf, endpointsOf, marksOf, rolesOf } from './lookup.ts'
import { createRole } from './roles.ts'

/** Creates the roles and databases of the branch's records: empty ones, or copies of the parent's. */
export async function buildBranch(context: Context, branchId: string): Promise<void> {
  const { store, admin } = context
  const branch = store.get('branch', branchId)
  if (!branch) return
  const roles = rolesOf(store, branchId)
  const made = roles.filter((role) => role.made_by === 'api')
  for (const role of made) await createRole(context, branchId, role.name)
  const heirs = new Map(made.flatMap((role) => (role.copy_of === undefined ? [] : [[role.copy_of, role.real_name] as const])))
  if (heirs.size > 0) await adopt.memberships(admin, heirs)
  for (const database of databasesOf(store, branchId)) {
    if (database.copy_of === undefined) await createDatabase(context, branchId, database.name)
    else await copyDatabase(context, database, heirs)
  }
  store.put('branch', { ...branch, current_state: 'ready', updated_at: now(), state_changed_at: now() })
}

async function copyDatabase(context: Context, database: Database, heirs: Map<string, string>) {
  const { store, admin } = context
  const { real_name, copy_of, content_of } = database
  if (database.live || copy_of === undefined) return
  // An interrupted copy may be incomplete.
  await admin.run(`drop database if exists ${escapeIdentifier(real_name)} with (force)`)
  await copyOf(context, content_of ?? copy_of, real_name)
  await adopt.database(admin, { from: copy_of, to: real_name, heirs })
  store.put('database', { ...database, live: true, updated_at: now() })
}

/** Drops everything of a branch, then its records. */
export async function removeBranch(context: Context, branchId: string): Promise<void> {
  const { store } = context
  const branch = store.get('branch', branchId)
  const databases = databasesOf(store, branchId)
  const roles = rolesOf(store, branchId)
  const own = roles.filter((role) => role.made_by === 'api')
  for (const endpoint of endpointsOf(store, branchId)) store.drop('endpoint', endpoint)
  const marks = marksOf(store, new Set([branchId]))
  await dropAll(
    context,
    [...databases.map((database) => database.real_name), ...marks.flatMap((mark) => Object.values(mark.databases))],
    own.map((role) => role.real_name),
  )
  store.drop('database', ...databases)
  store.drop('role', ...roles)
  store.drop('mark', ...marks)
  if (branch) store.drop('branch', branch)
}

/** Drops databases, then the roles that owned them. */
export async function dropAll({ admin, pool }: Context, databases: string[], roles: string[]): Promise<void> {
  const drop = async () => {
    for (const name of databases) await admin.run(`drop database if exists ${escapeIdentifier(name)} with (force)`)
  }
  await pool.hold(databases, drop, 0)
  for (const name of roles) {
    await pool.closeUser(name)
    await admin.run(disposeOf(name))
  }
}

/** Drops those of these roles that no other database knows: all branches share the roles that SQL made. */
export async function dropUnused({ admin, pool }: Context, roles: string[]): Promise<void> {
  for (const name of roles) {
    await pool.closeUser(name)
    await admin.run(`
      do $$
      begin
        drop role if exists ${escapeIdentifier(name)};
      exception when dependent_objects_still_exist then null;
      end
      $$`)
  }
}

/**
 * Grants by the role, and to it on shared objects, are revoked first. A role that still owns something in an unknown database is
 * kept, but can no longer log in.
 */
const disposeOf = (role: string) => `
  do $$
  begin
    if exists (select from pg_roles where rolname = ${escapeLiteral(role)}) then
      drop owned by ${escapeIdentifier(role)};
      drop role ${escapeIdentifier(role)};
    end if;
  exception when dependent_objects_still_exist then
    alter role ${escapeIdentifier(role)} nologin;
  end
  $$`
