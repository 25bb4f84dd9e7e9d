import { escapeIdentifier, escapeLiteral } from 'pg'
import { inBranch, now, type Role } from '../state/records.ts'
import type { Context } from './context.ts'
import { databasesOf, realRole } from './lookup.ts'

const ABSENT = '42704'
const EXISTS = '42710'

/** Makes a role the way that Neon's API does: a member of `neon_superuser`, not a superuser of Postgres. */
export async function createRole({ store, admin }: Context, branchId: string, name: string): Promise<void> {
  const role = store.get('role', inBranch(branchId, name))
  if (!role || (role.live_password !== undefined && !role.no_login)) return
  const real = escapeIdentifier(role.real_name)
  await admin
    .run(`create role ${real} inherit createrole createdb bypassrls replication in role neon_superuser`)
    .catch(unless(EXISTS))
  if (!role.no_login) await admin.run(`alter role ${real} login password ${escapeLiteral(role.password ?? '')}`)
  await shareRoles({ store, admin }, { managers: [role.real_name] })
  store.put('role', live(role))
}

/** Sets the password that the API already returns, and ends connections that used the old one. */
export async function setPassword({ store, admin, pool }: Context, branchId: string, name: string): Promise<void> {
  const role = store.get('role', inBranch(branchId, name))
  if (!role) return
  await admin.run(`alter role ${escapeIdentifier(role.real_name)} login password ${escapeLiteral(role.password ?? '')}`)
  store.put('role', live(role))
  await pool.closeUser(role.real_name)
}

/** Drops a role; what it owned inside databases goes to their owners. */
export async function dropRole({ store, admin, pool }: Context, branchId: string, name: string): Promise<void> {
  const role = store.get('role', inBranch(branchId, name))
  if (!role) return
  await pool.closeUser(role.real_name)
  const real = escapeIdentifier(role.real_name)
  for (const database of databasesOf(store, branchId).filter((one) => one.live)) {
    const heir = escapeIdentifier(realRole(store, branchId, database.owner_name))
    await admin.runIn(database.real_name, `reassign owned by ${real} to ${heir}; drop owned by ${real}`).catch(unless(ABSENT))
  }
  await admin.run(`drop role if exists ${real}`)
  store.drop('role', role)
}

function live(role: Role): Role {
  return { ...role, ...(role.password === undefined ? {} : { live_password: role.password }), updated_at: now() }
}

const unless = (code: string) => (error: Error & { code?: string }) => {
  if (error.code !== code) throw error
}

/**
 * On Neon each branch has its own roles; here a role made by SQL is one for all. Each API role may therefore manage all of them,
 * as it could on Neon, but gets no access to what they own. With arguments: only the named roles of either kind.
 */
export async function shareRoles(
  { store, admin }: Pick<Context, 'store' | 'admin'>,
  { made, managers }: { made?: string[]; managers?: string[] } = {},
): Promise<void> {
  const ours = store.all('role').filter((role) => role.made_by === 'api')
  const names = ours.map((role) => role.real_name)
  await admin.pool.query('select share_roles($1, $2, $3)', [names, made ?? null, managers ?? names])
}

/** A role that is a member of an API role cannot have that role as its manager: Postgres refuses circles. */
export const SHARE_ROLES = `
  create or replace function share_roles(api_roles name[], chosen name[], managers name[]) returns void language plpgsql as $body$
  declare
    pair record;
  begin
    perform pg_advisory_xact_lock(hashtext('share_roles'));
    for pair in
      select made.rolname as made, manager.rolname as manager
      from pg_roles made cross join pg_roles manager
      where manager.rolname = any (managers)
        and (chosen is null or made.rolname = any (chosen))
        and made.rolname <> all (api_roles)
        and made.oid >= 16384 and made.rolname <> 'neon_superuser'
        and not exists (
          select from pg_auth_members m where m.roleid = made.oid and m.member = manager.oid and m.admin_option
        )
    loop
      begin
        execute format('grant %I to %I with admin true, inherit false, set false', pair.made, pair.manager);
      exception when invalid_grant_operation or undefined_object then
        null;
      end;
    end loop;
  end
  $body$`
