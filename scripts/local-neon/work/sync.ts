import { newDatabaseId } from '../state/names.ts'
import { now } from '../state/records.ts'
import type { Context } from './context.ts'
import { databasesOf, rolesOf } from './lookup.ts'
import { shareRoles } from './roles.ts'

// SQL makes databases and roles too. Neon's API shows them a little later; here at once, in the branch through which they were made.

const OWN = ['local_neon', 'postgres', 'template0', 'template1']

/** Takes notice of databases that SQL made, renamed or dropped. */
export async function syncDatabases({ store, admin }: Context, branchId: string): Promise<void> {
  const { rows } = await admin.pool.query<{ name: string; owner: string }>(
    'select datname as name, pg_get_userbyid(datdba) as owner from pg_database where datname <> all ($1)',
    [OWN],
  )
  const existing = new Set(rows.map(({ name }) => name))
  const known = new Set(store.all('database').map((database) => database.real_name))
  for (const database of store.all('database'))
    if (database.live && !existing.has(database.real_name)) store.drop('database', database)
  for (const { name, owner } of rows) {
    if (known.has(name)) continue
    const owner_name = rolesOf(store, branchId).find((role) => role.real_name === owner)?.name ?? owner
    const at = { created_at: now(), updated_at: now() }
    if (databasesOf(store, branchId).some((one) => one.name === name)) continue
    store.put('database', {
      id: newDatabaseId(),
      branch_id: branchId,
      name,
      owner_name,
      real_name: name,
      live: true,
      deleting: false,
      ...at,
    })
  }
  await store.saved()
}

interface SqlRole {
  name: string
  login: boolean
  secret: string | null
}

const seen = new WeakMap<object, Map<string, string>>()

/** Takes notice of roles that SQL made, changed or dropped: connections that an old password opened end. */
export async function syncRoles({ store, admin, pool }: Context, branchId: string): Promise<void> {
  const { rows } = await admin.pool.query<SqlRole>(
    "select rolname as name, rolcanlogin as login, rolpassword as secret from pg_authid where oid >= 16384 and rolname <> 'neon_superuser'",
  )
  const before = seen.get(store) ?? new Map<string, string>()
  const after = new Map(rows.map(({ name, login, secret }) => [name, `${login} ${secret}`]))
  seen.set(store, after)
  for (const [name, state] of before) if (after.get(name) !== state) await pool.closeUser(name)
  for (const role of store.all('role')) if (role.made_by === 'sql' && !after.has(role.name)) store.drop('role', role)
  const known = new Set(store.all('role').map((role) => role.real_name))
  for (const { name, login } of rows) {
    if (known.has(name)) continue
    const at = { created_at: now(), updated_at: now() }
    store.put('role', { branch_id: branchId, name, real_name: name, made_by: 'sql', no_login: !login, deleting: false, ...at })
  }
  await shareRoles({ store, admin })
  await store.saved()
}
