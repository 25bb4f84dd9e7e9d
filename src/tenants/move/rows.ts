/**
 * Reads all rows of a tenant's database, in pages: for a move and for an export. Values are the text that Postgres itself writes and
 * reads, pages follow the place of the rows, and every table can be counted and hashed.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, UNHURRIED_MS, unhurried } from '../../kernel/db.ts'
import { STEADY } from '../migration/fingerprint.ts'

/** What one request carries: Neon takes and answers no more than 10 MiB, and quotes are written twice. */
export const PAGE_BYTES = 4_000_000
/** Blocks of a table that are looked at for so many bytes: rows are hardly ever shorter as text than where they are stored. */
export const blocksFor = (bytes: number) => Math.max(4, Math.floor(bytes / 8192))

const AS_OWNER = sql`set local role freehold_owner`
const OURS = sql.raw(`('freehold'::regnamespace, 'access'::regnamespace)`)

export type Table = { name: string; columns: { name: string; type: string }[]; blocks: number }
type ForeignKey = { on: string; name: string; def: string }
type Sequence = { name: string; last_value: string; is_called: boolean }
export type Shape = { tables: Table[]; keys: ForeignKey[]; sequences: Sequence[] }
export type Sums = Record<string, { rows: number; hash: string }>

/** As the owner, with the settings under which Postgres writes every value in one way. */
export const send = (url: string, statements: SQL[], trace_id: string | null = null) =>
  batch(url, [unhurried, AS_OWNER, sql.raw(STEADY), ...statements], trace_id, UNHURRIED_MS).then((results) => results.slice(3))

/** The tables, foreign keys and sequences of a database. One round trip, two where it has sequences. */
export async function shapeOf(url: string): Promise<Shape> {
  const [tables = [], keys = [], names = []] = await send(url, [
    sql`select c.oid::regclass::text as name, pg_relation_size(c.oid) / 8192 as blocks, (
          select jsonb_agg(jsonb_build_object('name', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod)) order by a.attname)
          from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
        from pg_class c where c.relnamespace in ${OURS} and c.relkind = 'r' and c.oid <> 'freehold.migrations'::regclass order by 1`,
    sql`select k.conrelid::regclass::text as on, quote_ident(k.conname) as name, pg_get_constraintdef(k.oid) as def
        from pg_constraint k where k.connamespace in ${OURS} and k.contype = 'f' order by 1, 2`,
    sql`select c.oid::regclass::text as name from pg_class c where c.relnamespace in ${OURS} and c.relkind = 'S' order by 1`,
  ])
  const sequences = names.length
    ? await send(
        url,
        names.map(({ name }) => sql.raw(`select '${name}' as name, s.last_value::text, s.is_called from ${name} s`)),
      )
    : []
  return {
    tables: tables.map((row) => ({ ...row, blocks: Number(row.blocks) })) as Table[],
    keys: keys as ForeignKey[],
    sequences: sequences.flat() as Sequence[],
  }
}

export const list = (parts: string[]) => parts.join(', ')

export type Place = { table: Table; after: string; block: number }

/** All rows of a table, page by page, each row an array of the texts of its columns. */
export async function* pagesOf(url: string, table: Table): AsyncGenerator<(string | null)[][], void> {
  for (let block = 0, after = '(0,0)'; ; ) {
    const [[page] = []] = await send(url, [pageOf({ table, after, block }, PAGE_BYTES)])
    if (Number(page?.n)) yield JSON.parse(String(page?.rows))
    if (page?.has_more) after = String(page.after)
    else {
      block += blocksFor(PAGE_BYTES)
      if (block >= table.blocks) return
      after = `(${block - 1},65535)`
    }
  }
}

/** Rows of a table behind a place, as JSON arrays of text, at most `bytes` of them, and one at least. */
export const pageOf = ({ table, after, block }: Place, bytes: number) => {
  const until = sql.raw(`'(${block + blocksFor(bytes)},0)'`)
  return sql`with found as materialized (
      select t.ctid as at, to_jsonb(array[${sql.raw(list(table.columns.map((column) => `t.${column.name}::text`)))}])::text as r
      from ${sql.raw(table.name)} t where t.ctid > ${after}::tid and t.ctid < ${until}::tid),
    sized as (select f.at, f.r, sum(octet_length(f.r)) over (order by f.at) as bytes, row_number() over (order by f.at) as n from found f),
    taken as (select * from sized s where s.n = 1 or s.bytes <= ${bytes})
    select '[' || coalesce(string_agg(t.r, ',' order by t.at), '') || ']' as rows, count(*)::integer as n, max(t.at)::text as after,
      (select count(*) from sized) > count(*) as has_more from taken t`
}

/** What says in freehold.tenant whether a database is closed. */
const OF_THE_FENCE = ['id', 'writes_closed_by']

/** How many rows each table has, and a hash of all their values, whatever their order. One round trip. */
export async function sumsOf(url: string, { tables }: Shape): Promise<Sums> {
  const ledger = { name: 'freehold.migrations', columns: ['name', 'applied_at', 'checksum'].map((name) => ({ name })) }
  const parts = [...tables, ledger].map(({ name, columns: all }) => {
    const columns = name === 'freehold.tenant' ? all.filter((column) => !OF_THE_FENCE.includes(column.name)) : all
    const hashed = `sha256(convert_to(to_jsonb(array[${list(columns.map((column) => `t.${column.name}::text`))}])::text, 'UTF8'))`
    const half = (from: number) => `coalesce(sum(('x' || encode(substr(h.hash, ${from}, 7), 'hex'))::bit(56)::bigint), 0)`
    return `select '${name}' as name, count(*)::integer as rows, concat_ws('-', ${half(1)}, ${half(8)}, ${half(15)}) as hash
      from (select ${hashed} as hash from ${name} t) h`
  })
  const [rows = []] = await send(url, [sql.raw(parts.join(' union all '))])
  return Object.fromEntries(rows.map(({ name, rows, hash }) => [String(name), { rows: Number(rows), hash: String(hash) }]))
}

/** The tables that are not the same in two databases. */
export const differing = (one: Sums, other: Sums): string[] =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    (name) => one[name]?.rows !== other[name]?.rows || one[name]?.hash !== other[name]?.hash,
  )
