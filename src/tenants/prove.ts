/**
 * The last look before a tenant is handed out: as its app login, everything that must fail is tried. Threat: a grant too many, in our
 * provisioning or in the cluster, that nobody would notice because everything works.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../kernel/db.ts'

/** Fails with a sentence that names what should have been refused. `foreign`: connection strings whose databases must refuse this login. */
export async function prove(tenant_id: string, app_url: string, foreign: string[]): Promise<void> {
  await batch(app_url, [sql`select 1`])
  await refused(app_url, sql`create table public.planted (id integer)`, 'create a table')
  await refused(app_url, sql`create table freehold.planted (id integer)`, 'create a table in the schema')
  await refused(app_url, sql`create temporary table planted (id integer)`, 'create a temporary table')
  await refused(app_url, sql`select inner_key from access.secrets`, 'read the key of the seal')
  await refused(app_url, sql`select password_hash from freehold.passwords`, 'read a password hash')
  const forged = sql`select set_config('access.facts', '{"user_id":"00000000-0000-0000-0000-000000000000","scope":"all"}', true), set_config('access.seal', repeat('0', 64), true)`
  const people = sql`select count(*)::integer as n from freehold.users`
  // Whoever may call a door may not be let in by what they say there.
  const lie = sql`'{"scope":"all","user_id":"00000000-0000-0000-0000-000000000000","permission":"user:read"}'::jsonb`
  const doors = [
    sql`select access.record_refusal(${tenant_id}, ${lie}, 'forbidden', null, ${lie})`,
    sql`select access.login_settle(${tenant_id}, (access.login_reserve(${tenant_id}, 'proof') ->> 'attempt')::uuid, repeat('A', 43), '\\x00'::bytea, ${lie})`,
    sql`select access.refresh(${tenant_id}, '\\x00'::bytea, '\\x01'::bytea, ${lie})`,
  ]
  const results = [...(await batch(app_url, [people])), ...(await batch(app_url, [forged, people])).slice(1)]
  if (results.some(([row]) => row?.n !== 0)) throw new Error('The app login sees people without an admission.')
  // Rolled back: what is tried here is not to stand in the tenant's audit.
  const none = sql`select 1 / (count(*) = 0)::integer from freehold.users`
  const undo = sql.raw(`do $$ begin raise exception using errcode = 'FH000', message = 'undone'; end $$`)
  const end = await batch(app_url, [...doors, none, undo]).catch(dbError)
  if (!end || !('code' in end) || end.code !== 'FH000') throw new Error('A door lets the app login in.', { cause: end })
  for (const url of foreign) {
    const there = new URL(url)
    const { username, password } = new URL(app_url)
    await refused(
      Object.assign(there, { username, password }).href,
      sql`select 1`,
      `enter the database ${there.pathname.slice(1)}`,
    )
  }
}

async function refused(url: string, statement: SQL, what: string): Promise<void> {
  const error = await batch(url, [statement]).then(
    () => null,
    (e: unknown) => e,
  )
  if (!error) throw new Error(`The app login can ${what}.`)
  if (dbError(error)?.code !== '42501' && !refusedLogin(error))
    throw new Error(`Whether the app login can ${what} could not be tried.`, { cause: error })
}
