/**
 * A whole tenant as what `pg_restore` reads: its schema and all its rows, hashes included. Threat: a copy that is not of one moment, that
 * lacks rows, or that nobody knows was made. So every table is counted and hashed before and after it is read, and a difference fails;
 * the schema is that of the migrations in the ledger; and the platform's audit has it before anything is read.
 *
 * SQL over HTTP holds no transaction between two requests, which is why a tenant that is in use can fail to be exported: one that is
 * deactivated or deleted does not (docs/decisions/0056-certificates-of-erasures.md).
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { FINGERPRINT, type Fingerprint, fingerprintOf } from '../migration/fingerprint.ts'
import { differing, pagesOf, type Shape, send, shapeOf, sumsOf, type Table } from '../move/rows.ts'
import { asOne, type SqlFile } from '../provisioning/migrations.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'

/** A part of an archive: SQL, or the rows of a table as `copy` takes them. */
export type Part =
  | { tag: string; kind: 'before' | 'after'; text: string }
  | { tag: string; kind: 'rows'; copy: string; table: Table }

export type Exported = {
  id: string
  subdomain: string
  database: string
  schema_version: string
  /** Objects that are not as the migrations make them, and that the archive has as they make them; null: of an older schema nobody knows. */
  drifted: number | null
  parts: Part[]
  /** The rows of a part, as text. */
  rowsOf(part: { table: Table }): AsyncGenerator<string, void>
  /** How many rows each table has. Fails when something was written since the export began. */
  check(): Promise<Record<string, number>>
}

const LEDGER = {
  name: 'freehold.migrations',
  columns: ['applied_at', 'checksum', 'name'].map((name) => ({ name, type: 'text' })),
}

/**
 * Begins to export a tenant, by its subdomain or id. `migrations` are those of this release, and `made` is what they make. Fails when there
 * is none with a database, or its schema is of another release.
 */
export async function beginExport(
  config: Config,
  name: string,
  { migrations, made }: { migrations: SqlFile[]; made: Fingerprint },
  trace_id: string,
): Promise<Exported> {
  const [[tenant] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id, t.subdomain, t.database_name, t.owner_url_encrypted from platform.tenants t where ${name} in (t.subdomain, t.id::text) and t.owner_url_encrypted is not null`,
  ])
  if (!tenant) throw new Error(`There is no tenant ${name} with a database.`)
  const id = String(tenant.id)
  const told = JSON.stringify({ subdomain: tenant.subdomain })
  await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`set local role freehold_owner`,
      sql`select access.record('TENANT_EXPORTED', 'export', 'tenant', ${id}, null, ${told}::jsonb)`,
    ],
    trace_id,
  )
  const url = await openOwnerUrl(config, id, String(tenant.owner_url_encrypted))
  const shape = await shapeOf(url)
  const [ledger = [], [size] = [], objects = []] = await send(url, [
    sql`select m.name from freehold.migrations m order by m.name`,
    sql`select pg_relation_size('freehold.migrations') / 8192 as blocks`,
    sql.raw(FINGERPRINT),
  ])
  const applied = ledger.map((row) => String(row.name))
  const unknown = applied.find((one) => !migrations.some((migration) => migration.name === one))
  if (unknown) throw new Error(`The database has the migration ${unknown}, which this release does not have.`)
  const before = await sumsOf(url, shape)
  return {
    id,
    subdomain: String(tenant.subdomain),
    database: String(tenant.database_name),
    schema_version: applied.at(-1) ?? '',
    drifted: applied.length === migrations.length ? drifted(fingerprintOf(objects), made) : null,
    parts: partsOf(
      shape,
      migrations.filter((migration) => applied.includes(migration.name)),
      { ...LEDGER, blocks: Number(size?.blocks) },
    ),
    async *rowsOf({ table }) {
      for await (const page of pagesOf(url, table)) yield page.map(lineOf).join('')
    },
    async check() {
      const written = differing(before, await sumsOf(url, shape))
      if (written.length)
        throw new Error(
          `Rows were written while the tenant was exported (${written.join(', ')}): deactivate it first, or try again.`,
        )
      return Object.fromEntries(Object.entries(before).map(([table, { rows }]) => [table, rows]))
    },
  }
}

/** How many objects of a database are not as the newest migrations make them. */
function drifted(here: Fingerprint, made: Fingerprint): number {
  return [...new Set([...here.keys(), ...made.keys()])].filter((object) => here.get(object) !== made.get(object)).length
}

/** A row as COPY reads it (text format). */
const lineOf = (row: (string | null)[]) =>
  `${row.map((value) => (value === null ? '\\N' : value.replace(/[\\\b\f\n\r\t\v]/g, (character) => ESCAPES[character] ?? character))).join('\t')}\n`
const ESCAPES: Record<string, string> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
}

const GROUPS = `do $$ declare name text; begin
  foreach name in array array['freehold_owner', 'freehold_app', 'freehold_reader'] loop
    if not exists (select from pg_roles r where r.rolname = name) then execute format('create role %I nologin', name); end if;
  end loop;
  execute format('grant freehold_owner to %I with inherit true, set true', session_user);
  execute format('grant create on database %I to freehold_owner', current_database()); end $$;`

const LEDGER_TABLE = `create schema freehold; create schema access;
  create table freehold.migrations (name text primary key, applied_at timestamptz not null default now(), checksum text);
  alter table freehold.migrations enable row level security`

const asOwner = (text: string) => `begin;\nset local role freehold_owner;\n${text};\ncommit;\n`
const lines = (statements: string[]) => statements.join(';\n')

/** Schema, rows, and what rests while rows come: keys and triggers. */
function partsOf({ tables, keys, sequences }: Shape, migrations: SqlFile[], ledger: Table): Part[] {
  const all = [...tables, ledger]
  const drop = keys.map(({ on, name }) => `alter table ${on} drop constraint ${name}`)
  const triggers = (what: string) => tables.map(({ name }) => `alter table ${name} ${what} trigger user`)
  return [
    { tag: 'roles', kind: 'before', text: `${GROUPS}\n` },
    { tag: 'ledger', kind: 'before', text: asOwner(LEDGER_TABLE) },
    ...migrations.map((migration) => ({ tag: migration.name, kind: 'before' as const, text: asOwner(asOne(migration)) })),
    {
      tag: 'rest',
      kind: 'before',
      text: asOwner(lines([...triggers('disable'), ...drop, `truncate ${all.map(({ name }) => name).join(', ')}`])),
    },
    ...all.map((table) => ({
      tag: table.name,
      kind: 'rows' as const,
      copy: `COPY ${table.name} (${table.columns.map(({ name }) => name).join(', ')}) FROM stdin;\n`,
      table,
    })),
    {
      tag: 'keys and triggers',
      kind: 'after',
      text: asOwner(
        lines([
          ...keys.map(({ on, name, def }) => `alter table ${on} add constraint ${name} ${def}`),
          ...triggers('enable'),
          ...sequences.map(({ name, last_value, is_called }) => `select setval('${name}', ${last_value}, ${is_called})`),
        ]),
      ),
    },
  ]
}
