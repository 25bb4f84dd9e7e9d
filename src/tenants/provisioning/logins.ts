/**
 * The two logins of a tenant. Threat: tenants share a cluster, so every login could connect to every database; and one tenant's
 * requests could use up the connections and the compute of all. CONNECT is revoked from PUBLIC and granted to the tenant's own two
 * logins only; they are created by SQL, because roles created through Neon's API can read every database of their branch. The app
 * login has 40 connections, and limits of time, which guard against our own mistakes: whoever holds a login can lift its settings.
 */
import { type SQL, sql } from 'drizzle-orm'
import { type Cluster, changeRoles, dropRoles, makeRole, makeRoles, removeStrange } from './roles.ts'

/** Connection strings of a tenant's app login and owner login. */
export type Urls = { app_url: string; owner_url: string }
export type Passwords = { app: string; owner: string }

/** Connections of one app login, and of the master's reader, at a time. One more is refused, and the request answered with 503. */
const CONNECTIONS = 40
/** For statements of requests. Those that may take longer set their own (`unhurried` in kernel/db.ts). */
const TIMEOUTS = { statement_timeout: '15s', transaction_timeout: '20s', idle_in_transaction_session_timeout: '10s' }

/**
 * The statement that sets the limits of time for a role, or for the current one in the current database. `transaction_timeout` is
 * of Postgres 17 and later.
 */
export const limitTime = (role?: string): SQL =>
  sql.raw(`do $$ declare s record; begin
    for s in select x.key, x.value from jsonb_each_text('${JSON.stringify(TIMEOUTS)}') x join pg_settings p on p.name = x.key loop
      execute ${role ? `format('alter role ${role} set %I = %L'` : `format('alter role current_user in database %I set %I = %L', current_database()`}, s.key, s.value);
    end loop; end $$`)

/** Which of two pairs of names a tenant's logins have: a move gives the new database the other pair (tenants/move). */
export type Pair = 'a' | 'b'
type Named = { id: string; pair: Pair }

const namesOf = ({ id, pair }: Named) => {
  const short = id.replaceAll('-', '').slice(0, 12)
  return { app: `freehold_app_${short}_${pair}`, owner: `freehold_owner_${short}${pair === 'a' ? '' : '_b'}` }
}

/** The pair that the app login of a connection string is of; null: the first, of a tenant that has none yet. */
export const pairOf = (app_url: string | null): Pair => (app_url && new URL(app_url).username.endsWith('_b') ? 'b' : 'a')

/** The connection strings of a tenant's logins: the host of `url`, names derived from the tenant's id, the tenant's database. */
export function urlsAt(url: string, tenant: Named & { database_name: string }, passwords: Passwords): Urls {
  const { app, owner } = namesOf(tenant)
  const as = (username: string, password: string) =>
    Object.assign(new URL(url), { username, password, pathname: `/${encodeURIComponent(tenant.database_name)}` }).href
  return { app_url: as(app, passwords.app), owner_url: as(owner, passwords.owner) }
}

/** The roles of a tenant, and what each may be a member of. */
const rolesOf = (app: string, owner: string) => ({ [app]: ['freehold_app'], [owner]: ['freehold_owner'] })

/**
 * Creates the two roles before there is anything that they could log in to, so that a branch without room for them is known before
 * the database is made. Repeatable. Fails with ClusterFull.
 */
export function reserveLogins(at: Cluster, tenant: Named): Promise<void> {
  const { app, owner } = namesOf(tenant)
  return makeRoles(at, rolesOf(app, owner))
}

/**
 * Creates the logins as the API role of the cluster, which owns the database, and closes the database to all others; `first` runs in the
 * same transaction. Repeatable.
 */
export async function makeLogins(
  at: Cluster,
  database_name: string,
  { app_url, owner_url }: Urls,
  first: SQL[] = [],
): Promise<void> {
  const app = new URL(app_url)
  const owner = new URL(owner_url)
  const database = sql.identifier(database_name)
  await removeStrange(at, rolesOf(app.username, owner.username))
  await changeRoles(at, [
    ...first,
    login(app, ` connection limit ${CONNECTIONS}`),
    limitTime(app.username),
    login(owner),
    sql`grant freehold_owner to current_user with inherit true, set true`,
    sql`grant freehold_app to ${sql.identifier(app.username)}`,
    sql`grant freehold_owner to ${sql.identifier(owner.username)} with inherit true, set true`,
    sql`revoke connect, temporary on database ${database} from public`,
    sql`grant connect on database ${database} to ${sql.identifier(app.username)}, ${sql.identifier(owner.username)}`,
    sql`grant create on database ${database} to freehold_owner`,
  ])
}

/**
 * Creates a login, or sets the password of an existing one. Both values are generated and need no escaping; checked all the same.
 */
function login({ username, password }: URL, limit = '') {
  if (!/^[a-z0-9_]{1,63}$/.test(username) || !/^[A-Za-z0-9_-]{20,}$/.test(password))
    throw new Error('This is not a generated login name or password.')
  const options = `login password '${password}'${limit}`
  return makeRole(username, options, options)
}

/** The connection string of the master's reader, with the name that `npm start` and `freehold keys reader` give it. */
export const readerUrlOf = (master_url: string, password: string) =>
  Object.assign(new URL(master_url), { username: 'freehold_reader_a', password }).href

/** What the login of MASTER_READER_URL is a member of. Its name is the operator's to choose. */
export const readerOf = (reader_url: string) => ({ [new URL(reader_url).username]: ['freehold_reader'] })

/**
 * The statements that create the master's reader with the password of its connection string, or give an existing one that password.
 * It begins no transaction that may write, and its role could write nothing in one. Fails for a name or a password that is not as
 * ours are: outside scripts take a login with `_app` in its name for a tenant's.
 */
export function makeReader(database: SQL, reader_url: string): SQL[] {
  const reader = new URL(reader_url)
  const name = sql.identifier(reader.username)
  if (!/^(?!.*_app)[a-z0-9_]{1,63}$/.test(reader.username) || !/^[A-Za-z0-9_-]{20,}$/.test(reader.password))
    throw new Error(
      'MASTER_READER_URL: the name of its login must be a-z, 0-9 and _ without _app, and its password 20 or more of A-Z, a-z, 0-9, - and _.',
    )
  return [
    login(reader, ` connection limit ${CONNECTIONS}`),
    limitTime(reader.username),
    sql`alter role ${name} set default_transaction_read_only = on`,
    sql`grant freehold_reader to ${name}`,
    sql`grant connect on database ${database} to ${name}`,
  ]
}

/** Drops the logins of a tenant. Repeatable. `database_name` is its database, unless that was deleted: what they may do with it holds them. */
export function dropLogins(at: Cluster, tenant: Named, database_name?: string): Promise<void> {
  const { app, owner } = namesOf(tenant)
  return dropRoles(at, rolesOf(app, owner), database_name)
}

/** Keeps the logins of a tenant that it does not have now from logging in. Repeatable. */
export function closeOtherLogins(at: Cluster, tenant: Named): Promise<unknown> {
  const { app, owner } = namesOf(tenant)
  const short = tenant.id.replaceAll('-', '').slice(0, 12)
  return changeRoles(at, [
    sql.raw(`do $$ declare name text; begin
      for name in select r.rolname from pg_roles r where r.rolname ~ '^freehold_(app|owner)_${short}(_[a-z])?$' and r.rolname not in ('${app}', '${owner}') and r.rolcanlogin loop
        execute format('alter role %I nologin', name);
      end loop; end $$`),
  ])
}
