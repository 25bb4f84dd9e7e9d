/** The databases behind the door, as whoever may log in to them: for what HTTP cannot show, and for what must be refused. */
import { createHash } from 'node:crypto'
import { decodeHex, encodeHexLowerCase } from '@oslojs/encoding'
import { type SQL, sql } from 'drizzle-orm'
import { inject } from 'vitest'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch, dbError, useSqlUrl } from '../../src/kernel/db.ts'
import { decrypt } from '../../src/kernel/keyring.ts'
import { systemKeyOf } from '../../src/kernel/token.ts'
import { openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'

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

/** What was written past the Worker is nothing that the scheduled job knows of: has it look after this tenant in its next run. */
export const maintainNext = (id: string) => master(sql`update platform.maintenance set due_at = now() where realm_id = ${id}`)

/** A run of the scheduled job that another test starts must not take what this test has queued: it passes this tenant by for an hour. */
export const maintainLater = (id: string) =>
  master(
    sql`update platform.maintenance set due_at = now() + interval '1 hour', maintained_at = now(), active_until = now() - interval '1 second' where realm_id = ${id}`,
  )

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
  host_url: string
  /** By which the database knows the Worker. */
  system_key: string
  /** What a token of this tenant carries beside the id of its session. */
  proof: (credential: object) => string | null
  /** As the login that the Worker uses. */
  asApp: (...statements: SQL[]) => Promise<Rows>
  /** As freehold_owner, who is above row level security. */
  asOwner: (...statements: SQL[]) => Promise<Rows>
}

/** The proof of a session's id, made with the keys that only the database has. */
async function proofs(owner_url: string): Promise<Database['proof']> {
  const [keys] = await rowsOf(
    owner_url,
    sql`set local role freehold_owner`,
    sql`select encode(inner_key, 'hex') as inner_key, encode(outer_key, 'hex') as outer_key from access.secrets`,
  )
  const hashed = (key: string, message: Uint8Array) => createHash('sha256').update(decodeHex(key)).update(message).digest()
  return (credential) => {
    const { session_id } = credential as { session_id?: unknown }
    if (!keys || typeof session_id !== 'string') return null
    const inner = hashed(keys.inner_key, new TextEncoder().encode(`session:${session_id}`))
    return encodeHexLowerCase(hashed(keys.outer_key, inner))
  }
}

/** The database of a tenant that exists. */
export async function databaseOf(subdomain: string): Promise<Database> {
  const config = settings()
  const { ENCRYPTION_KEYS } = config
  const [found] = await master(
    sql`select t.id, t.database_name, t.app_url_encrypted, t.owner_url_encrypted, t.refresh_key_encrypted, h.id as host_id, h.owner_url_encrypted as host_url_encrypted
        from platform.tenants t join platform.hosts h on h.id = t.host_id where t.subdomain = ${subdomain}`,
  )
  if (!found) throw new Error(`There is no tenant ${subdomain}.`)
  const app_url = await decrypt(ENCRYPTION_KEYS, found.id, 'app_url', found.app_url_encrypted)
  const owner_url = await openOwnerUrl(config, found.id, found.owner_url_encrypted)
  return {
    id: found.id,
    name: found.database_name,
    app_url,
    proof: await proofs(owner_url),
    owner_url,
    system_key: await systemKeyOf(await decrypt(ENCRYPTION_KEYS, found.id, 'refresh_key', found.refresh_key_encrypted)),
    host_url: await openOwnerUrl(config, found.host_id, found.host_url_encrypted),
    asApp: (...statements) => rowsOf(app_url, ...statements),
    asOwner: (...statements) => rowsOf(owner_url, sql`set local role freehold_owner`, ...statements),
  }
}

/** The same server and login, another database. */
export const atDatabase = (url: string, name: string) => Object.assign(new URL(url), { pathname: `/${name}` }).href
