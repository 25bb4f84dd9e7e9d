/** The tables of every table.ts below src, through drizzle-kit: snapshots, and the statements between two of them. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api'
import { getTableConfig, isPgSchema, PgTable } from 'drizzle-orm/pg-core'
import { Failure } from '../freehold/failure.ts'
import type { Database } from './definitions.ts'

export type Column = { name: string; type: string; notNull: boolean; default?: unknown; generated?: unknown }
type ForeignKey = { tableFrom: string; tableTo: string; columnsFrom: string[]; columnsTo: string[] }
export type Table = {
  name: string
  columns: Record<string, Column>
  indexes: Record<string, { columns: { expression: string }[] }>
  foreignKeys: Record<string, ForeignKey>
  compositePrimaryKeys: Record<string, { columns: string[] }>
  uniqueConstraints: Record<string, { columns: string[] }>
}
/** A snapshot of drizzle-kit, as far as it is used here. */
export type Snapshot = { id: string; tables: Record<string, Table> }

/** The files that declare tables, found by name, so that a new room's need not be listed. */
export const tableFiles = (root: string): string[] =>
  readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name === 'table.ts')
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()

/** The current tables of a database. `previous` is the id of the previous snapshot. */
export async function snapshotOf(root: string, database: Database, previous?: string): Promise<Snapshot> {
  const modules = await Promise.all(
    tableFiles(root).map((file) =>
      import(pathToFileURL(file).href).catch((error: Error) => {
        throw new Failure(`${file.slice(root.length + 1)} cannot be loaded: ${error.message}`)
      }),
    ),
  )
  const exported = modules.flatMap((module) => Object.entries(module as Record<string, unknown>))
  const isOf = (schema: string | undefined) => (schema === 'platform') === (database === 'master')
  const ours = exported.filter(([, value]) =>
    // The migrator creates the two schemas that every database has.
    isPgSchema(value)
      ? value.schemaName === 'platform' && database === 'master'
      : value instanceof PgTable && isOf(getTableConfig(value).schema),
  )
  return generateDrizzleJson(Object.fromEntries(ours), previous) as unknown as Snapshot
}

export const EMPTY = generateDrizzleJson({}) as unknown as Snapshot

/**
 * The statements from one snapshot to another. `after` must not both add and lack things: drizzle-kit would ask interactively
 * about renames.
 */
export const statementsBetween = async (before: Snapshot, after: Snapshot): Promise<string[]> =>
  (await generateMigration(...([before, after] as unknown as Parameters<typeof generateMigration>))).map((statement) =>
    statement.trim().replace(/;$/, '').replace(/\t/g, '  '),
  )
