import type { Admin } from '../cluster/admin.ts'
import { newDatabaseId } from '../state/names.ts'
import { inBranch, now } from '../state/records.ts'
import type { Context } from './context.ts'
import { rolesOf } from './lookup.ts'
import { shareRoles } from './roles.ts'

// SQL creates databases and roles too. Neon's API lists them a little later; here at once, in the branch through which they were
// created.

export interface Sync {
  /** Records databases that SQL created, renamed or dropped. */
  databases(branchId: string): Promise<void>
  /** Records roles that SQL created, changed or dropped; closes connections that used an old password. */
  roles(branchId: string): Promise<void>
}

/** Reads the current roles, so that the first change is recognised. */
export async function openSync(context: Context): Promise<Sync> {
  const { store, admin, pool } = context
  let seen = secrets(await rolesIn(admin))

  return {
    async databases(branchId) {
      const { rows } = await admin.pool.query<{ name: string; owner: string }>(DATABASES)
      const existing = new Set(rows.map(({ name }) => name))
      const gone = store.all('database').filter((database) => database.live && !existing.has(database.real_name))
      store.drop('database', ...gone)
      // Copies of earlier moments are of no branch: they would be copied with it again and again.
      const kept = store.all('mark').flatMap((mark) => Object.values(mark.databases))
      const known = new Set([...kept, ...store.all('database').map((database) => database.real_name)])
      for (const { name, owner } of rows) {
        if (known.has(name) || store.get('database', inBranch(branchId, name))) continue
        const owner_name = rolesOf(store, branchId).find((role) => role.real_name === owner)?.name ?? owner
        store.put('database', {
          id: newDatabaseId(),
          branch_id: branchId,
          name,
          owner_name,
          real_name: name,
          live: true,
          deleting: false,
          ...stamps(),
        })
      }
      await store.saved()
    },
    async roles(branchId) {
      const rows = await rolesIn(admin)
      const before = seen
      seen = secrets(rows)
      for (const [name, secret] of before) if (seen.get(name) !== secret) await pool.closeUser(name)
      const gone = store.all('role').filter((role) => role.made_by === 'sql' && !seen.has(role.name))
      store.drop('role', ...gone)
      const known = new Set(store.all('role').map((role) => role.real_name))
      for (const { name, login } of rows) {
        if (known.has(name)) continue
        const role = { branch_id: branchId, name, real_name: name, made_by: 'sql' as const, no_login: !login }
        store.put('role', { ...role, deleting: false, ...stamps() })
      }
      // A role that the API dropped and SQL made again has another oid.
      const made = rows.filter(({ name, oid }) => !before.get(name)?.startsWith(`${oid} `)).map(({ name }) => name)
      if (made.length > 0) await shareRoles(context, { made })
      await store.saved()
    },
  }
}

const stamps = () => ({ created_at: now(), updated_at: now() })

interface FoundRole {
  oid: string
  name: string
  login: boolean
  secret: string | null
}

const rolesIn = async (admin: Admin) => (await admin.pool.query<FoundRole>(ROLES)).rows

const secrets = (roles: FoundRole[]) => new Map(roles.map(({ oid, name, login, secret }) => [name, `${oid} ${login} ${secret}`]))

const DATABASES = `
  select datname as name, pg_get_userbyid(datdba) as owner from pg_database
  where datname <> all ('{local_neon,postgres,template0,template1}')`

const ROLES = `
  select oid::text, rolname as name, rolcanlogin as login, rolpassword as secret from pg_authid
  where oid >= 16384 and rolname <> 'neon_superuser'`
