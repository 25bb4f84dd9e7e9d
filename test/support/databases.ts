/** The databases behind the door, as whoever may log in to them: for what HTTP cannot show, and for what must be refused. */
import { type SQL, sql } from 'drizzle-orm'
import { inject } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch, dbError, useSqlUrl } from '../../src/kernel/db.ts'
import { decrypt } from '../../src/kernel/keyring.ts'

export type Rows = Record<string, any>[]

/** The settings of the Worker under test; afterwards the driver finds the databases. */
export function settings() {
  const config = parseSettings(inject('settings'))
  useSqlUrl(config.NEON_SQL_URL)
  return config
}

/** Runs statements as one transaction and gives the rows of the last one. */
export async function rowsOf(url: string, ...statements: SQL[]): Promise<Rows> {
  settings()
  return (await batch(url, statements)).at(-1) ?? []
}

/** Runs statements on the master, as the login that owns it. */
export const master = (...statements: SQL[]) => rowsOf(settings().MASTER_DATABASE_URL, ...statements)

/** How a database refuses a statement list: `SQLSTATE message`, or `none` when it does not. */
export async function refusalOf(url: string, ...statements: SQL[]): Promise<string> {
  settings()
  return batch(url, statements).then(
    () => 'none',
    (error: unknown) => `${dbError(error)?.code ?? '-'} ${dbError(error)?.message ?? String(error)}`,
  )
}

export type Database = {
  id: string
  name: string
  app_url: string
  owner_url: string
  home_url: string
  /** As the login that the Worker uses. */
  asApp: (...statements: SQL[]) => Promise<Rows>
  /** As freehold_owner, who is above row level security. */
  asOwner: (...statements: SQL[]) => Promise<Rows>
}

/** The database of a tenant that exists. */
export async function databaseOf(subdomain: string): Promise<Database> {
  const { ENCRYPTION_KEYS } = settings()
  const [found] = await master(
    sql`select t.id, t.database_name, t.app_url_sealed, t.owner_url_sealed, h.id as home_id, h.owner_url_sealed as home_url_sealed
        from platform.tenants t join platform.homes h on h.id = t.home_id where t.subdomain = ${subdomain}`,
  )
  if (!found) throw new Error(`There is no tenant ${subdomain}.`)
  const app_url = await decrypt(ENCRYPTION_KEYS, found.id, 'app_url', found.app_url_sealed)
  const owner_url = await decrypt(ENCRYPTION_KEYS, found.id, 'owner_url', found.owner_url_sealed)
  return {
    id: found.id,
    name: found.database_name,
    app_url,
    owner_url,
    home_url: await decrypt(ENCRYPTION_KEYS, found.home_id, 'owner_url', found.home_url_sealed),
    asApp: (...statements) => rowsOf(app_url, ...statements),
    asOwner: (...statements) => rowsOf(owner_url, sql`set local role freehold_owner`, ...statements),
  }
}

/** The same server and login, another database. */
export const atDatabase = (url: string, name: string) => Object.assign(new URL(url), { pathname: `/${name}` }).href
