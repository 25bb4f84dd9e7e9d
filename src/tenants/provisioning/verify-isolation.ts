/**
 * The last check before a tenant becomes active: its two logins try everything that must fail. Threat: a grant too many, in
 * provisioning or in the cluster, that nobody notices because everything works.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../../kernel/db.ts'
import type { Urls } from './logins.ts'

const FORBIDDEN = {
  'create a table': 'create table public.planted (id integer)',
  'create a table in the schema': 'create table freehold.planted (id integer)',
  'create a temporary table': 'create temporary table planted (id integer)',
  'read the key that signs claims': 'select inner_key from access.secrets',
  'read a password hash': 'select password_hash from freehold.passwords',
}

/**
 * A round trip of each login to the tenant's database and to each other. Fails with a sentence that names what should have been
 * refused. `foreign`: connection strings whose databases must refuse both logins.
 */
export async function verifyIsolation(tenant: Proven, foreign: string[]): Promise<void> {
  const { app_url, owner_url } = tenant
  const owner = Promise.all([
    tried('owner', owner_url, [holdsOnly('owner'), UNDO]),
    ...foreign.map((url) => mayNotEnter('owner', owner_url, url)),
  ])
  // Of what both find the app login's is told, whoever is faster.
  owner.catch(() => undefined)
  await Promise.all([within(tenant), ...foreign.map((url) => mayNotEnter('app', app_url, url))])
  await owner
}

type Login = 'app' | 'owner'

/** Raises FH001 unless the login holds nothing but the role that it is given, which has no attributes either. */
const holdsOnly = (login: Login): SQL =>
  sql.raw(`do $$ declare strange text; begin
    with recursive held (id) as (
      select oid from pg_roles where rolname = current_user
      union select m.roleid from held join pg_auth_members m on m.member = held.id)
    select string_agg(r.rolname, ', ') into strange from held join pg_roles r on r.oid = held.id
    where r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or r.rolname not in (current_user, 'freehold_${login}');
    if strange is not null then
      raise exception using errcode = 'FH001', message = format('The ${login} login has privileges of others: %s.', strange);
    end if; end $$`)

const UNDO = sql.raw(`do $$ begin raise exception using errcode = 'FH000', message = 'undone'; end $$`)

/** Runs statements in one transaction that is rolled back. Fails with the sentence that one of them raised. */
async function tried(login: Login, url: string, statements: SQL[]): Promise<void> {
  const end = await batch(url, statements).then(
    () => null,
    (error: unknown) => error,
  )
  const code = dbError(end)?.code
  if (code === 'FH001') throw new Error(dbError(end)?.message)
  if (code !== 'FH000') throw new Error(`The privileges of the ${login} login could not be checked.`, { cause: end })
}

type Proven = Urls & { id: string; system_key: string }

/** Tries it in one transaction that is rolled back, so that nothing of it is in the tenant's audit. */
async function within({ id, app_url, system_key }: Proven): Promise<void> {
  // The arguments of a public endpoint must not admit its caller.
  const lie = sql`'{"scope":"all","user_id":"00000000-0000-0000-0000-000000000000","permission":"user:read"}'::jsonb`
  const forged = sql`select set_config('access.claims', '{"user_id":"00000000-0000-0000-0000-000000000000","scope":"all"}', true), set_config('access.signature', repeat('0', 64), true)`
  await tried('app', app_url, [
    holdsOnly('app'),
    ...Object.entries(FORBIDDEN).map(([what, statement]) => mustRefuse(statement, what)),
    seesNobody('without an admission'),
    forged,
    seesNobody('with forged claims'),
    sql`select access.record_refusal(${id}, ${system_key}, ${lie}, 'forbidden', null, ${lie})`,
    sql`select access.finish_login(${id}, ${system_key}, (access.begin_login(${id}, ${system_key}, 'proof') ->> 'attempt')::uuid, repeat('A', 43), null, '\\x00'::bytea, ${lie})`,
    sql`select access.refresh(${id}, ${system_key}, '\\x00'::bytea, '\\x01'::bytea, ${lie})`,
    seesNobody('after a public endpoint'),
    mustRefuse(`select access.begin_login(''${id}'', null, ''proof'')`, 'log in without the key of the system', 'FH403'),
    UNDO,
  ])
}

/** Raises FH001 unless the statement is refused with this SQLSTATE: insufficient_privilege, or one of ours. */
const mustRefuse = (statement: string, what: string, state = '42501'): SQL =>
  sql.raw(`do $$ begin
    execute '${statement}';
    raise exception using errcode = 'FH001', message = 'The app login can ${what}.';
  exception when sqlstate '${state}' or invalid_schema_name then null; end $$`)

const seesNobody = (when: string): SQL =>
  sql.raw(`do $$ begin
    if exists (select from freehold.users) then
      raise exception using errcode = 'FH001', message = 'The app login sees users ${when}.';
    end if; end $$`)

async function mayNotEnter(login: Login, login_url: string, url: string): Promise<void> {
  const { username, password } = new URL(login_url)
  const there = Object.assign(new URL(url), { username, password })
  const name = there.pathname.slice(1)
  const error = await batch(there.href, [sql`select 1`]).then(
    () => null,
    (e: unknown) => e,
  )
  if (!error) throw new Error(`The ${login} login can connect to the database ${name}.`)
  if (!refusedLogin(error))
    throw new Error(`Whether the ${login} login can connect to the database ${name} could not be checked.`, { cause: error })
}
