/**
 * Encrypts everything again under the first key of ENCRYPTION_KEYS, so that the former key can go. Threat: a key is taken away that
 * something is still under, which then nobody can read; a value that the Worker wrote meanwhile is overwritten with an older one; ten
 * thousand rows are in memory. So pages are small, a value is replaced only where it is still the one that was read, and at the end each
 * database says what is left. There is no state: what is under another key is what is left to do, so that a run that was killed is run again.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch, dbError } from '../../kernel/db.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'
import { openOwnerUrl, reencryptOwnerUrls } from '../provisioning/owner-url.ts'
import { IN_MASTER, IN_REALM, type Sealed, SHORT_LIVED } from './sealed.ts'

/** Rows of one statement. */
export const PAGE = 200
/** Tenants that are looked up at once. */
const TENANTS = 100

/** Something that is not under the first key, or that nobody could ask: where, how many rows, and why. */
export type Left = { where: string; rows: number | null; because: string }
export type Progress = { where: string; done: number }
/** `can_go`: the ids of the other keys of ENCRYPTION_KEYS, when nothing is left. */
export type Reencrypted = { key: string; reencrypted: number; left: Left[]; can_go: string[] }

type Run = { config: Config; trace_id: string; key: string; tell: (progress: Progress) => void }

/**
 * Encrypts everything again: the master, then each tenant's database. Repeatable, and while the Worker serves. Fails when the master does
 * not answer; a tenant's database that does not is in `left`, and is done by the next run.
 */
export async function reencryptAll(
  config: Config,
  trace_id: string,
  tell: (progress: Progress) => void = () => undefined,
): Promise<Reencrypted> {
  const [first, ...others] = config.ENCRYPTION_KEYS
  if (!first) throw new Error('The key ring is empty.')
  const run = { config, trace_id, key: first.id, tell }
  const master = config.MASTER_DATABASE_URL
  const [[realm] = []] = await batch(master, [sql`select id from platform.realm`])
  if (!realm) throw new Error('The master has no realm of the platform: run `npm run freehold -- setup`.')
  const left: Left[] = []
  let reencrypted = await reencryptOwnerUrls(config, trace_id)
  if (reencrypted) tell({ where: 'owner logins', done: reencrypted })
  reencrypted += await database(run, 'the master', master, null, IN_MASTER, left)
  reencrypted += await database(run, 'the platform', master, String(realm.id), IN_REALM, left)
  for await (const tenant of tenants(config)) reencrypted += await ofTenant(run, tenant, left)
  left.push(...(await elsewhere(config)))
  return { key: first.id, reencrypted, left, can_go: left.length ? [] : others.map(({ id }) => id) }
}

type Tenant = { id: string; subdomain: string; status: string; owner: string; is_moving: boolean }

async function* tenants(config: Config): AsyncGenerator<Tenant> {
  for (let last = ''; ; ) {
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id, t.subdomain, t.status, t.owner_url_encrypted as owner, t.move_id is not null as is_moving from platform.tenants t
          where t.owner_url_encrypted is not null and t.id::text > ${last} order by t.id::text limit ${TENANTS}`,
    ])
    yield* rows as Tenant[]
    if (rows.length < TENANTS) return
    last = String(rows.at(-1)?.id)
  }
}

async function ofTenant(run: Run, { id, subdomain, status, owner, is_moving }: Tenant, left: Left[]): Promise<number> {
  // What is written here may be in a copy already, or in one that the tenant leaves.
  if (is_moving)
    left.push({
      where: subdomain,
      rows: null,
      because: 'It is being moved, or its logins are rotated: run it again in some minutes.',
    })
  try {
    return await database(run, subdomain, await openOwnerUrl(run.config, id, owner), id, IN_REALM, left)
  } catch (error) {
    const { code } = dbError(error) ?? {}
    // A tenant that is not made yet: its database, its login or its tables.
    if (
      ['provisioning', 'failed', 'erasing'].includes(status) &&
      ['3D000', '42P01', '42501', '28P01', '28000'].includes(code ?? '')
    )
      return 0
    left.push({ where: subdomain, rows: null, because: `Its database does not answer: ${wordsOf(error)}` })
    return 0
  }
}

/** The database's own message: that of a failed query has its parameters. */
const wordsOf = (error: unknown) => dbError(error)?.message ?? (error instanceof Error ? error.message : String(error))

/** What keeps an old key in use outside of the databases: KV, and branches that an undo brings back. */
async function elsewhere(config: Config): Promise<Left[]> {
  const [[kv] = [], kept = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select count(*)::integer as rows from platform.tenants t
        where t.status in ('active', 'inactive', 'deleted') and t.published_v < t.v`,
    sql`select t.subdomain, to_char(k.kept_until at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as until
        from platform.kept_branches k join platform.tenants t on t.id = k.tenant_id where k.branch_id is not null and k.kept_until > now() order by 1`,
  ])
  const entries = Number(kv?.rows)
  return [
    ...(entries
      ? [{ where: 'KV', rows: entries, because: 'The scheduled job writes these entries anew: run it again in some minutes.' }]
      : []),
    ...kept.map(({ subdomain, until }) => ({
      where: String(subdomain),
      rows: null,
      because: `A branch of before its last migration is kept until ${until}, and an undo brings back what is in it.`,
    })),
  ]
}

/** Everything of one database. Returns how many values were encrypted again. */
async function database(
  run: Run,
  where: string,
  url: string,
  realm_id: string | null,
  tables: Sealed[],
  left: Left[],
): Promise<number> {
  let done = 0
  for (const table of tables)
    for (let last: unknown = null; ; ) {
      const rows = await pageOf(run, url, table, last)
      const fresh = await Promise.all(rows.map((row) => renewed(run, table, row, realm_id)))
      done += await write(run, url, table, fresh)
      if (rows.length) run.tell({ where, done })
      if (rows.length < PAGE) break
      last = rows.at(-1)?.pk
    }
  const old = (column: string) => sql`split_part(t.${sql.identifier(column)}, '.', 1) <> ${run.key}`
  const short = sql.raw(SHORT_LIVED.table)
  const ended = sql`now() - make_interval(mins => ${SHORT_LIVED.minutes}::integer)`
  const counts = tables.map(
    (table) =>
      sql`select ${table.table} as name, count(*)::integer as rows from ${sql.raw(table.table)} t where ${any(table, old)}`,
  )
  const results = await batch(
    url,
    [
      sql`set local role freehold_owner`,
      ...counts,
      ...(realm_id === null
        ? []
        : [
            sql`update ${short} t set ${sql.identifier(SHORT_LIVED.column)} = null where ${old(SHORT_LIVED.column)} and t.created_at <= ${ended}`,
            sql`select ${SHORT_LIVED.table} as name, count(*)::integer as rows from ${short} t where ${old(SHORT_LIVED.column)}`,
          ]),
    ],
    run.trace_id,
  )
  for (const row of results.flat())
    if (Number(row.rows))
      left.push({ where: `${where}: ${row.name}`, rows: Number(row.rows), because: reasonFor(String(row.name)) })
  return done
}

const reasonFor = (name: string) =>
  name === SHORT_LIVED.table
    ? 'These answers to requests with an Idempotency-Key are kept for ten minutes: run it again then.'
    : 'These values were written meanwhile, or no key of the ring opens them: run it again.'

const any = ({ columns }: Sealed, is: (column: string) => SQL) =>
  sql.join(
    columns.map(({ name }) => sql`(${is(name)})`),
    sql` or `,
  )

type Row = { pk: unknown; owner: string } & Record<string, unknown>
type Fresh = { pk: unknown } & Record<string, unknown>

/** The next rows that have something under another key. */
async function pageOf({ key }: Run, url: string, table: Sealed, last: unknown): Promise<Row[]> {
  const pk = sql`t.${sql.identifier(table.pk)}`
  const columns = table.columns.flatMap(({ name, field }, i) => [
    sql`t.${sql.identifier(name)} as ${sql.identifier(`sealed_${i}`)}`,
    sql`${sql.raw(field)} as ${sql.identifier(`field_${i}`)}`,
  ])
  const [, rows = []] = await batch(url, [
    sql`set local role freehold_owner`,
    sql`select ${pk} as pk, ${sql.raw(table.owner)}::text as owner, ${sql.join(columns, sql`, `)} from ${sql.raw(table.table)} t
        where (${any(table, (name) => sql`split_part(t.${sql.identifier(name)}, '.', 1) <> ${key}`)})
          ${last === null ? sql`` : sql`and ${pk} > ${last}::${sql.raw(table.type)}`} order by ${pk} limit ${PAGE}`,
  ])
  return rows as Row[]
}

/** A row's values under the first key; what no key opens stays as it is, and is counted at the end. */
async function renewed({ config, key }: Run, table: Sealed, row: Row, realm_id: string | null): Promise<Fresh> {
  const fresh: Fresh = { pk: row.pk }
  const owner = realm_id ?? row.owner
  for (const [i] of table.columns.entries()) {
    const [sealed, field] = [row[`sealed_${i}`], String(row[`field_${i}`])]
    if (typeof sealed !== 'string' || sealed.startsWith(`${key}.`)) continue
    const text = await decrypt(config.ENCRYPTION_KEYS, owner, field, sealed).catch(() => null)
    if (text === null) continue
    fresh[`sealed_${i}`] = sealed
    fresh[`fresh_${i}`] = await encrypt(config.ENCRYPTION_KEYS, owner, field, text)
  }
  return fresh
}

/** Writes what is still as it was read; rows are locked in one order. Returns how many rows changed. */
async function write({ trace_id }: Run, url: string, table: Sealed, rows: Fresh[]): Promise<number> {
  const wanted = rows.filter((row) => Object.keys(row).length > 1)
  if (!wanted.length) return 0
  const [name, pk] = [sql.raw(table.table), sql.identifier(table.pk)]
  const at = (i: number, what: 'sealed' | 'fresh') => sql.identifier(`${what}_${i}`)
  const shape = table.columns.flatMap((_, i) => [sql`${at(i, 'sealed')} text`, sql`${at(i, 'fresh')} text`])
  const sets = table.columns.map(
    (column, i) =>
      sql`${sql.identifier(column.name)} = case when t.${sql.identifier(column.name)} = x.${at(i, 'sealed')} then x.${at(i, 'fresh')} else t.${sql.identifier(column.name)} end`,
  )
  const same = sql.join(
    table.columns.map((column, i) => sql`t.${sql.identifier(column.name)} = x.${at(i, 'sealed')}`),
    sql` or `,
  )
  const [, , changed = []] = await batch(
    url,
    [
      sql`set local role freehold_owner`,
      sql`select from ${name} z where z.${pk} in (select y.pk from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb) as y (pk ${sql.raw(table.type)})) order by z.${pk} for no key update`,
      sql`update ${name} t set ${sql.join(sets, sql`, `)}
          from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb) as x (pk ${sql.raw(table.type)}, ${sql.join(shape, sql`, `)})
          where t.${pk} = x.pk and (${same}) returning 1 as one`,
    ],
    trace_id,
  )
  return changed.length
}
