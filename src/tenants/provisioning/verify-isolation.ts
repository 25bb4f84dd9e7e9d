/**
 * The last look before a tenant is handed out: as its app login, everything that must fail is tried. Threat: a grant too many, in our
 * provisioning or in the cluster, that nobody would notice because everything works.
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
 * Two round trips to the tenant's database and to each other. Fails with a sentence that names what should have been refused. `foreign`:
 * connection strings whose databases must refuse this login.
 */
export async function verifyIsolation(tenant_id: string, app_url: string, foreign: string[]): Promise<void> {
  await Promise.all([within(tenant_id, app_url), ...foreign.map((url) => mayNotEnter(app_url, url))])
}

/** In one transaction that is undone, because what is tried here is not to stand in the tenant's audit. */
async function within(tenant_id: string, app_url: string): Promise<void> {
  // Whoever may call a public endpoint may not be let in by what they say there.
  const lie = sql`'{"scope":"all","user_id":"00000000-0000-0000-0000-000000000000","permission":"user:read"}'::jsonb`
  const forged = sql`select set_config('access.claims', '{"user_id":"00000000-0000-0000-0000-000000000000","scope":"all"}', true), set_config('access.signature', repeat('0', 64), true)`
  const end = await batch(app_url, [
    ...Object.entries(FORBIDDEN).map(([what, statement]) => refused(statement, what)),
    seesNobody('without an admission'),
    forged,
    seesNobody('with forged claims'),
    sql`select access.record_refusal(${tenant_id}, ${lie}, 'forbidden', null, ${lie})`,
    sql`select access.finish_login(${tenant_id}, (access.begin_login(${tenant_id}, 'proof') ->> 'attempt')::uuid, repeat('A', 43), null, '\\x00'::bytea, ${lie})`,
    sql`select access.refresh(${tenant_id}, '\\x00'::bytea, '\\x01'::bytea, ${lie})`,
    seesNobody('after a public endpoint'),
    sql.raw(`do $$ begin raise exception using errcode = 'FH000', message = 'undone'; end $$`),
  ]).then(
    () => null,
    (error: unknown) => error,
  )
  const code = dbError(end)?.code
  if (code === 'FH001') throw new Error(dbError(end)?.message)
  if (code !== 'FH000') throw new Error('What the app login can do could not be tried.', { cause: end })
}

/** Raises FH001 unless the statement is refused for want of a privilege. */
const refused = (statement: string, what: string): SQL =>
  sql.raw(`do $$ begin
    execute '${statement}';
    raise exception using errcode = 'FH001', message = 'The app login can ${what}.';
  exception when insufficient_privilege then null; end $$`)

const seesNobody = (when: string): SQL =>
  sql.raw(`do $$ begin
    if exists (select from freehold.users) then
      raise exception using errcode = 'FH001', message = 'The app login sees people ${when}.';
    end if; end $$`)

async function mayNotEnter(app_url: string, url: string): Promise<void> {
  const { username, password } = new URL(app_url)
  const there = Object.assign(new URL(url), { username, password })
  const name = there.pathname.slice(1)
  const error = await batch(there.href, [sql`select 1`]).then(
    () => null,
    (e: unknown) => e,
  )
  if (!error) throw new Error(`The app login can enter the database ${name}.`)
  if (!refusedLogin(error))
    throw new Error(`Whether the app login can enter the database ${name} could not be tried.`, { cause: error })
}
