/**
 * The template of a shared host: a database with the schema of this release and nothing else, which Postgres copies for the next tenant
 * faster than migrations make it. Threat: what is copied is something else: an older schema, half of one, or a database that somebody
 * uses and that has keys or people in it. So its name has the sum of its migrations and is one that no tenant's database can have, and it
 * is copied only when it is sealed: complete, empty, and closed to every login from then on; not to superusers, as which Neon itself
 * connects to each database when it deletes a role. A copy has a schema before it has logins, which every owner login of the host could
 * read or change: so it takes no connection, either, until the logins of its tenant are made. A tenant needs no template: without it, or
 * when Postgres refuses the copy, its database is made as any other. Either way the step `migrate` reads the ledger.
 */
import { encodeHexLowerCase } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import { alone, batch, dbError, refusedLogin } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { tenantMigrations } from './bundled.ts'
import type { Host } from './job.ts'
import { checksumOf, migrate } from './migrations.ts'

type At = Pick<Host, 'id' | 'owner_url'>

/** Databases of tenants have no hyphen in their names. */
const prefixOf = ({ id }: Pick<Host, 'id'>) => `freehold-template-${id.replaceAll('-', '').slice(0, 12)}-`

/** True of the name of a template of the host, of whatever release. */
export const isTemplate = (host: Pick<Host, 'id'>, name: string) => isAnyTemplate(name) && name.startsWith(prefixOf(host))

/** True of the name of a template of whatever host. */
export const isAnyTemplate = (name: string) => /^freehold-template-[0-9a-f]{12}-[0-9a-f]{12}$/.test(name)

/** The name of the template of the host that has the schema of this release. */
export async function templateOf(host: Pick<Host, 'id'>): Promise<string> {
  const ledger = await Promise.all(tenantMigrations.map(async (one) => `${one.name} ${await checksumOf(one)}`))
  const sum = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(ledger.join('\n')))
  return `${prefixOf(host)}${encodeHexLowerCase(new Uint8Array(sum)).slice(0, 12)}`
}

/**
 * Makes a database as a copy of the host's template. False: there is none, or Postgres refuses, as when there is a database of that name,
 * or the host is gone; whoever asks makes it otherwise, adopts it, or is told why not. Two round trips to the host. Fails when there is no
 * answer.
 */
export async function copyTemplate(host: At, database_name: string): Promise<boolean> {
  const template = await templateOf(host)
  try {
    const [sealed] = await batch(host.owner_url, [
      sql`select from pg_database d where d.datname = ${template} and d.datconnlimit = 0 and pg_get_userbyid(d.datdba) = current_user`,
    ])
    if (!sealed?.length) return false
    await alone(
      host.owner_url,
      sql`create database ${sql.identifier(database_name)} template ${sql.identifier(template)} connection limit 0`,
    )
    return true
  } catch (error) {
    if (!dbError(error)?.code && !refusedLogin(error)) throw error
    log('the template was not copied', { database: database_name, template, error: dbError(error)?.message ?? null })
    return false
  }
}

/** The statement that lets a copy take connections: in the transaction that closes it to all logins but its tenant's. */
export const opening = (database_name: string) => sql`alter database ${sql.identifier(database_name)} connection limit -1`

/**
 * True of a copy that has not taken a connection yet: it holds what the template holds. One that was closed by hand has privileges of its
 * logins. One round trip to the host.
 */
export async function isUntouched(host: At, database_name: string): Promise<boolean> {
  const [found] = await batch(host.owner_url, [
    sql`select from pg_database d where d.datname = ${database_name} and d.datconnlimit = 0 and d.datacl is null and pg_get_userbyid(d.datdba) = current_user`,
  ])
  return found?.length === 1
}

/**
 * Makes the template of this release on a host that lacks it, and drops those of other releases. Repeatable, also by two at once: a
 * database that was begun is gone on with, and sealing is the last thing. Round trips to the host: one when there is nothing to do.
 */
export async function keepTemplate(host: At, trace_id: string): Promise<void> {
  const name = await templateOf(host)
  const database = sql.identifier(name)
  // Neon's proxy keeps connections, and Postgres copies no database that has one.
  const free = sql`select pg_terminate_backend(a.pid, 2000) from pg_stat_activity a join pg_database d on d.oid = a.datid
      where d.datname = ${name} and d.datconnlimit = 0 and a.usename = current_user`
  const [found = []] = await batch(host.owner_url, [
    sql`select d.datname as name, d.datconnlimit = 0 as is_sealed from pg_database d where starts_with(d.datname, ${prefixOf(host)})`,
    // Of one whose maker was killed before it came to that.
    free,
  ])
  const known = found.find((each) => each.name === name)
  if (!known)
    await alone(host.owner_url, sql`create database ${database}`).catch((error) => {
      if (dbError(error)?.code !== '42P04') throw error
    })
  if (!known?.is_sealed) {
    await batch(host.owner_url, [
      sql`revoke connect, temporary on database ${database} from public`,
      sql`grant create on database ${database} to freehold_owner`,
    ])
    const url = Object.assign(new URL(host.owner_url), { pathname: `/${name}` }).href
    await migrate(url, tenantMigrations, trace_id)
    await batch(url, [
      sql`set local role freehold_owner`,
      // Fails when it holds what is one tenant's alone.
      sql`select 1 / (not exists (select from access.secrets) and not exists (select from freehold.tenant) and not exists (select from freehold.users))::integer as is_empty`,
    ])
    await batch(host.owner_url, [sql`alter database ${database} connection limit 0`])
    await batch(host.owner_url, [free])
    log('the template of a host was made', { host: host.id, template: name, trace_id })
  }
  for (const { name: other } of found) if (other !== name) await dropTemplate(host, String(other))
}

/** Drops a template of the host that is of another release; does nothing about any other database. Repeatable. */
export async function dropTemplate(host: At, name: string): Promise<void> {
  if (isTemplate(host, name) && name !== (await templateOf(host))) await dropDatabase(host, name)
}

/**
 * Drops a database of the host by SQL, if Postgres has it and it is of the host's owner, as all that SQL made are: Neon's API may not know
 * it. Two round trips to the host.
 */
export async function dropDatabase(host: At, name: string): Promise<void> {
  const [found] = await batch(host.owner_url, [
    sql`select from pg_database d where d.datname = ${name} and pg_get_userbyid(d.datdba) = current_user`,
  ])
  if (found?.length) await alone(host.owner_url, sql`drop database if exists ${sql.identifier(name)} with (force)`)
}
