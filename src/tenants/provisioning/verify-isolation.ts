/**
 * The last check before a tenant becomes active: its app login tries everything that must fail. Threat: a grant too many, in
 * provisioning or in the cluster, that nobody notices because everything works.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../../kernel/db.ts'

const FORBIDDEN = {
  'create a table': 'create table public.planted (id integer)',
  'create a table in the schema': 'create table freehold.planted (id integer)',
  'create a temporary table': 'create temporary table planted (id integer)',
  'read the key that signs claims': 'select inner_key from access.secrets',
  'read a password hash': 'select password_hash from freehold.passwords',
}

/**
 * Two round trips to the tenant's database and to each other. Fails with a sentence that names what should have been refused.
 * `foreign`: connection strings whose databases must refuse this login.
 */
export async function verifyIsolation(tenant: Proven, foreign: string[]): Promise<void> {
  await Promise.all([within(tenant), ...foreign.map((url) => mayNotEnter(tenant.app_url, url))])
}

type Proven = { id: string; app_url: string; system_key: string }

/** Tries it in one transaction that is rolled back, so that nothing of it is in the tenant's audit. */
async function within({ id, app_url, system_key }: Proven): Promise<void> {
  // The arguments of a public endpoint must not admit its caller.
  const lie = sql`'{"scope":"all","user_id":"00000000-0000-0000-0000-000000000000","permission":"user:read"}'::jsonb`
  const forged = sql`select set_config('access.claims', '{"user_id":"00000000-0000-0000-0000-000000000000","scope":"all"}', true), set_config('access.signature', repeat('0', 64), true)`
  const end = await batch(app_url, [
    ...Object.entries(FORBIDDEN).map(([what, statement]) => mustRefuse(statement, what)),
    seesNobody('without an admission'),
    forged,
    seesNobody('with forged claims'),
    sql`select access.record_refusal(${id}, ${lie}, 'forbidden', null, ${lie})`,
    sql`select access.finish_login(${id}, ${system_key}, (access.begin_login(${id}, ${system_key}, 'proof') ->> 'attempt')::uuid, repeat('A', 43), null, '\\x00'::bytea, ${lie})`,
    sql`select access.refresh(${id}, ${system_key}, '\\x00'::bytea, '\\x01'::bytea, ${lie})`,
    seesNobody('after a public endpoint'),
    mustRefuse(`select access.begin_login(''${id}'', null, ''proof'')`, 'log in without the key of the system', 'FH403'),
    sql.raw(`do $$ begin raise exception using errcode = 'FH000', message = 'undone'; end $$`),
  ]).then(
    () => null,
    (error: unknown) => error,
  )
  const code = dbError(end)?.code
  if (code === 'FH001') throw new Error(dbError(end)?.message)
  if (code !== 'FH000') throw new Error('The privileges of the app login could not be checked.', { cause: end })
}

/** Raises FH001 unless the statement is refused with this SQLSTATE: insufficient_privilege, or one of ours. */
const mustRefuse = (statement: string, what: string, state = '42501'): SQL =>
  sql.raw(`do $$ begin
    execute '${statement}';
    raise exception using errcode = 'FH001', message = 'The app login can ${what}.';
  exception when sqlstate '${state}' then null; end $$`)

const seesNobody = (when: string): SQL =>
  sql.raw(`do $$ begin
    if exists (select from freehold.users) then
      raise exception using errcode = 'FH001', message = 'The app login sees users ${when}.';
    end if; end $$`)

async function mayNotEnter(app_url: string, url: string): Promise<void> {
  const { username, password } = new URL(app_url)
  const there = Object.assign(new URL(url), { username, password })
  const name = there.pathname.slice(1)
  const error = await batch(there.href, [sql`select 1`]).then(
    () => null,
    (e: unknown) => e,
  )
  if (!error) throw new Error(`The app login can connect to the database ${name}.`)
  if (!refusedLogin(error))
    throw new Error(`Whether the app login can connect to the database ${name} could not be checked.`, { cause: error })
}
