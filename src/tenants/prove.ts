/**
 * The last look before a tenant is handed out: as its app login, everything that must fail is tried. Threat: a grant too many, in our
 * provisioning or in the cluster, that nobody would notice because everything works.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../kernel/db.ts'

/** Fails with a sentence that names what should have been refused. `foreign`: connection strings whose databases must refuse this login. */
export async function prove(app_url: string, foreign: string[]): Promise<void> {
  await batch(app_url, [sql`select 1`])
  await refused(app_url, sql`create table public.planted (id integer)`, 'create a table')
  await refused(app_url, sql`create table freehold.planted (id integer)`, 'create a table in the schema')
  await refused(app_url, sql`create temporary table planted (id integer)`, 'create a temporary table')
  await refused(app_url, sql`select inner_key from access.secrets`, 'read the key of the seal')
  await refused(app_url, sql`select password_hash from freehold.passwords`, 'read a password hash')
  const forged = sql`select set_config('access.facts', '{"user_id":"00000000-0000-0000-0000-000000000000","scope":"all"}', true), set_config('access.seal', repeat('0', 64), true)`
  const people = sql`select count(*)::integer as n from freehold.users`
  const results = [...(await batch(app_url, [people])), ...(await batch(app_url, [forged, people])).slice(1)]
  if (results.some(([row]) => row?.n !== 0)) throw new Error('The app login sees people without an admission.')
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
