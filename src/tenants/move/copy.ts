/**
 * Copies all rows of one database to another. Threat: a value that arrives as another one (a microsecond, a null, a byte), a row that
 * is left out or is there twice, and nobody notices. So values go as the text that Postgres itself writes and reads, pages follow the
 * place of the rows, which nothing changes while the database is closed, and afterwards both sides count and hash every table.
 *
 * The owner login is no superuser. So triggers are disabled and foreign keys dropped while the new database is filled, and restored
 * before it is used. A row says which attempt fills it: a slower one fails.
 */
import { type SQL, sql } from 'drizzle-orm'
import { fenceOf } from '../fence/fence.ts'
import { blocksFor, list, PAGE_BYTES, type Place, pageOf, type Shape, send, shapeOf, type Table } from './rows.ts'

/** Fails unless this attempt fills the database, which nobody else may begin to fill meanwhile. */
const mustFill = (attempt: number) =>
  sql.raw(`do $$ begin
    perform from freehold.tenant t where t.id = '${fenceOf(attempt)}' for share;
    if not found then raise exception using errcode = 'FH503', message = 'another_attempt'; end if;
  end $$`)

/**
 * Empties a new database and gives it to this attempt: its row of the tenant, closed to everybody. One round trip. Fails when it is another
 * tenant's, when a later attempt fills it, or when it is filled and open.
 */
async function empty(url: string, { tables, keys }: Shape, attempt: number, insertTenant: SQL): Promise<void> {
  await send(url, [
    sql.raw(`lock table freehold.tenant in access exclusive mode`),
    sql.raw(`do $$ begin
      if exists (select from freehold.tenant t where t.id not between '${fenceOf(0)}' and '${fenceOf(attempt)}') then
        raise exception using errcode = 'FH503', message = 'another_attempt';
      end if; end $$`),
    ...triggers(tables, 'disable'),
    ...keys.map(({ on, name }) => sql.raw(`alter table ${on} drop constraint if exists ${name}`)),
    sql.raw(`truncate ${list(tables.map(({ name }) => name))}`),
    insertTenant,
    sql`update freehold.tenant set id = ${fenceOf(attempt)}, writes_closed_by = null`,
  ])
}

/** Lets triggers and keys of a new database rest, or not. */
const triggers = (tables: Table[], what: 'disable' | 'enable') =>
  tables.map(({ name }) => sql.raw(`alter table ${name} ${what} trigger user`))

const insertInto = ({ name, columns }: Table, rows: string) =>
  sql`insert into ${sql.raw(name)} (${sql.raw(list(columns.map((column) => column.name)))}) overriding system value
      select ${sql.raw(list(columns.map(({ type }, i) => `(r ->> ${i})::${type}`)))} from jsonb_array_elements(${rows}::jsonb) r`

/**
 * Fills an empty, migrated database with all rows of a closed one. `told` hears the rows of each table after every page, and may end
 * it. Of a small database two round trips to each side; of a large one two for each 4 MB. Fails with an Error when another attempt
 * fills it.
 */
export async function fill(
  from: string,
  to: string,
  attempt: number,
  told: (copied: Record<string, number>) => Promise<void>,
): Promise<void> {
  const shape = await shapeOf(from)
  const { tables } = shape
  const row = tables.find(({ name }) => name === 'freehold.tenant')
  if (!row) throw new Error('The database has no table freehold.tenant.')
  const [[tenant] = [], ledger = []] = await send(from, [
    pageOf({ table: row, after: '(0,0)', block: 0 }, PAGE_BYTES),
    sql`select m.name, m.applied_at::text as applied_at from freehold.migrations m order by m.name`,
  ])
  await empty(to, shape, attempt, insertInto(row, String(tenant?.rows)))
  const copied: Record<string, number> = { 'freehold.tenant': 1 }
  let places: Place[] = tables.filter((table) => table !== row).map((table) => ({ table, after: '(0,0)', block: 0 }))
  while (places.length) {
    const bytes = Math.floor(PAGE_BYTES / places.length)
    const pages = await send(
      from,
      places.map((place) => pageOf(place, bytes)),
    )
    const inserts = places.flatMap(({ table }, i) => {
      const page = pages[i]?.[0]
      copied[table.name] = (copied[table.name] ?? 0) + Number(page?.n)
      return Number(page?.n) ? [insertInto(table, String(page?.rows))] : []
    })
    if (inserts.length) await send(to, [mustFill(attempt), ...inserts])
    places = places.flatMap((place, i) => {
      const page = pages[i]?.[0]
      if (page?.has_more) return [{ ...place, after: String(page.after) }]
      const block = place.block + blocksFor(bytes)
      return block < place.table.blocks ? [{ ...place, block, after: `(${block - 1},65535)` }] : []
    })
    await told(copied)
  }
  const sequences = shape.sequences.map(
    ({ name, last_value, is_called }) => sql`select setval(${name}::regclass, ${last_value}::bigint, ${is_called})`,
  )
  await send(to, [
    mustFill(attempt),
    ...sequences,
    sql`update freehold.migrations m set applied_at = x.applied_at from jsonb_to_recordset(${JSON.stringify(ledger)}::jsonb) as x (name text, applied_at timestamptz) where x.name = m.name`,
  ])
}

/**
 * Makes a filled database the tenant's, in one transaction: keys and triggers as they were, a checkpoint that says where the audit
 * was moved, and the tenant's own id. Transactions of another Postgres have other numbers: behind that checkpoint, which covers no
 * entry, the audit counts them anew (docs/decisions/0050-moving-a-tenant.md). Repeatable by the same attempt.
 */
export async function open(url: string, shape: Shape, attempt: number, tenant_id: string, trace_id: string): Promise<void> {
  const { tables, keys } = shape
  await send(
    url,
    [
      mustFill(attempt),
      ...keys.map(({ on, name, def }) => sql.raw(`alter table ${on} add constraint ${name} ${def}`)),
      ...triggers(tables, 'enable'),
      sql`with cut as (
            select n.hash as before, jsonb_populate_record(null::freehold.audit_checkpoints,
              jsonb_build_object('no', n.no + 1, 'entries', 0, 'oldest_xid', 0, 'next_xid', 0, 'created_at', clock_timestamp())) as c
            from (select k.no, k.hash from freehold.audit_checkpoints k order by k.no desc limit 1) n)
          insert into freehold.audit_checkpoints (no, entries, oldest_xid, next_xid, hash, created_at)
          select (c).no, 0, 0, 0, sha256(before || access.canonical_checkpoint(c)), (c).created_at from cut`,
      sql`update freehold.tenant set id = ${tenant_id} where id = ${fenceOf(attempt)}`,
    ],
    trace_id,
  )
}

/** Whose a database says it is, its tenant's id or that of a fence, and whether it takes writes; null when it is empty. One round trip. */
export async function ownerOf(url: string): Promise<{ id: string; is_open: boolean } | null> {
  const [[row] = []] = await send(url, [sql`select t.id, t.writes_closed_by is null as is_open from freehold.tenant t`])
  return row ? { id: String(row.id), is_open: row.is_open === true } : null
}

/** Puts all entries of a closed database's audit under checkpoints. False: a transaction of another database is in the way. */
export async function checkpointAll(url: string, trace_id: string): Promise<boolean> {
  for (let made = 0; made < 60; made++) {
    const [, [left] = []] = await send(
      url,
      [
        sql`select access.checkpoint_audit(5000)`,
        sql`select exists (select from freehold.audit_log l where l.checkpoint is null) as is_left`,
      ],
      trace_id,
    )
    if (!left?.is_left) return true
    await scheduler.wait(Math.min(1_000, 20 * made))
  }
  return false
}
