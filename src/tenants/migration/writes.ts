/**
 * What was written to a tenant's database since a branch of it was taken. Threat: an undo that loses what somebody was told is
 * stored. Postgres itself says which rows are new: each has the transaction that wrote it (`xmin`), and a snapshot says which
 * transactions were committed when it was taken. What the migration wrote is known by its ledger and its trace id in the audit, and
 * is not counted (docs/decisions/0045-undo-of-a-migration.md).
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'

/** A snapshot of Postgres, as text, and how many rows each table had in it. */
export type Before = { snapshot: string; rows: Record<string, number> }

/**
 * Of one table: `written` rows were inserted or changed since, and would be gone; `restored` rows were changed or deleted since, and
 * would be as they were.
 */
export type Written = { table: string; written: number; restored: number }

/** Written by housekeeping (checkpoints, the mark of the last purge, counters), by the migration, or beside an entry that is counted. */
const UNCOUNTED = [
  'freehold.audit_checkpoints',
  'access.event_spans',
  'freehold.webhook_progress',
  'freehold.webhook_deliveries',
  'freehold.audit_detail',
  'freehold.migrations',
  'freehold.tenant',
  'access.limits',
  'access.session_places',
  'access.purges',
]

const AS_OWNER = sql`set local role freehold_owner`

/** The tables that are counted, and the names in the ledger. */
async function catalogue(owner_url: string): Promise<{ tables: string[]; applied: string[] }> {
  const [, tables = [], ledger = []] = await batch(owner_url, [
    AS_OWNER,
    sql`select c.relnamespace::regnamespace || '.' || c.relname as name from pg_class c
        where c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and c.relkind in ('r', 'p') and not c.relispartition order by 1`,
    sql`select m.name from freehold.migrations m order by m.name`,
  ])
  const names = tables.map(({ name }) => String(name)).filter((name) => !UNCOUNTED.includes(name))
  return { tables: names, applied: ledger.map(({ name }) => String(name)) }
}

const identifier = (table: string): SQL =>
  sql.join(
    table.split('.').map((part) => sql.identifier(part)),
    sql`.`,
  )
const all = (selects: SQL[]) => sql.join(selects, sql` union all `)

/** What a database has applied. One round trip. */
export const ledgerOf = async (owner_url: string): Promise<string[]> => (await catalogue(owner_url)).applied

/**
 * How many documents are counted in a database; null: its schema counts none. They are not of the database, so they are not gone with
 * what was written in it, and stay counted (tenants/registry/standing.ts). One round trip.
 */
export async function documentsIn(owner_url: string): Promise<number | null> {
  const results = await batch(owner_url, [
    AS_OWNER,
    sql.raw(`do $$ begin
      if to_regclass('access.limits') is not null then
        perform set_config('freehold.documents', l.used::text, true) from access.limits l where l.name = 'documents';
      end if;
    end $$`),
    sql`select nullif(current_setting('freehold.documents', true), '')::bigint as documents`,
  ])
  const documents = results.at(-1)?.[0]?.documents ?? null
  return documents === null ? null : Number(documents)
}

/** What is in a tenant's database now, and what it has applied. Two round trips. */
export async function lookAt(owner_url: string): Promise<{ before: Before; applied: string[] }> {
  const { tables, applied } = await catalogue(owner_url)
  const counts = all(tables.map((table) => sql`select ${table}::text as name, count(*) as n from ${identifier(table)}`))
  // One statement, and so one snapshot for the counts and for itself.
  const [, , [row] = []] = await batch(owner_url, [
    unhurried,
    AS_OWNER,
    sql`select pg_current_snapshot()::text as snapshot, (select jsonb_object_agg(c.name, c.n) from (${counts}) c) as rows`,
  ])
  return { before: { snapshot: String(row?.snapshot), rows: row?.rows as Before['rows'] }, applied }
}

/**
 * What was written since, by table; `traces` are those of the migration and of the undo. Two round trips. A row that the migration
 * rewrote counts as the migration's.
 */
export async function writtenSince(owner_url: string, { snapshot, rows }: Before, traces: string[]): Promise<Written[]> {
  const { tables } = await catalogue(owner_url)
  const counts = all(
    tables.map((table) => {
      // An entry of the audit knows its own transaction: a checkpoint writes the row again.
      const xid = table === 'freehold.audit_log' ? sql`r.xid` : sql`greatest(3, n.xid - age(r.xmin))`
      return sql`select ${table}::text as name, count(*) filter (where w.is_new)::integer as written, count(*) filter (where not w.is_new)::integer as kept
        from now n cross join ${identifier(table)} r cross join lateral (select ${xid} as xid) x
          cross join lateral (select not pg_visible_in_snapshot(x.xid::text::xid8, n.before) and x.xid <> all (n.own) as is_new) w`
    }),
  )
  const statements = [
    unhurried,
    AS_OWNER,
    // From here on age() counts from this transaction's own number.
    sql`select pg_current_xact_id()`,
    sql`with now as materialized (
          select n.xid, ${snapshot}::pg_snapshot as before, array(
            select n.xid - age(m.xmin) from freehold.migrations m
            union select l.xid from freehold.audit_log l where l.user_id is null and l.trace_id in (select jsonb_array_elements_text(${JSON.stringify(traces)}::jsonb))
          ) as own
          from (select pg_current_xact_id()::text::bigint as xid) n)
        ${counts}`,
  ]
  const [, , , counted = []] = await batch(owner_url, statements)
  return counted.flatMap(({ name, written, kept }) => {
    const restored = Math.max(0, (rows[String(name)] ?? 0) - Number(kept))
    const [, table = ''] = String(name).split('.')
    return Number(written) || restored ? [{ table, written: Number(written), restored }] : []
  })
}
