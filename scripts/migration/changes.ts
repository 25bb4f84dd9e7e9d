/**
 * Changes of tables: explicit renames (--rename), accepted losses of data (--lose), and retired objects that stay for one more
 * release.
 */
import { Failure } from '../freehold/failure.ts'
import { type Column, type Snapshot, statementsBetween } from './tables.ts'

export type Wishes = {
  rename: string[]
  lose: string[]
  /** Columns of which every row has a value, so that they can become not null. */
  filled: string[]
}

export type TableChange = {
  /** To run before anything else, so that everything else knows the new names. */
  renames: string[]
  statements: string[]
  /** The tables afterwards, including what is retired. */
  snapshot: Snapshot
  retires: string[]
  notes: string[]
}

/** Changes of type that lose no value. */
const WIDER = new Set(['integer > bigint', 'smallint > integer', 'smallint > bigint', 'varchar > text', 'json > jsonb'])

/**
 * The statements that turn the tables of the migrations into those of every table.ts. `due`: what the previous migration retired,
 * to be dropped now.
 */
export async function changeTables(before: Snapshot, after: Snapshot, wishes: Wishes, due: string[]): Promise<TableChange> {
  const notes: string[] = []
  const renamed = structuredClone(before)
  const renames = wishes.rename.map((wish) => rename(renamed, after, wish, notes))
  const gone = missing(renamed, after)
  const dropped = gone.filter((key) => due.includes(key))
  const retires = gone.filter((key) => !dropped.includes(key))
  const lost = [...retires.map((key) => key.split(' ')[1] ?? ''), ...narrowed(renamed, after)]
  const unsaid = lost.filter((name) => !wishes.lose.includes(name))
  if (unsaid.length)
    throw new Failure(
      unsaid
        .map(
          (name) =>
            `${name}: ${retires.some((key) => key.endsWith(` ${name}`)) ? 'it is in no table.ts any more, and what it holds would be lost' : 'its type changes, and values that do not fit would be lost'}.`,
        )
        .join('\n') +
        `\nIf that is meant, pass ${unsaid.map((name) => `--lose ${name}`).join(' ')}. If it has another name now, pass --rename ${unsaid[0]}=new_name.`,
    )
  for (const name of wishes.lose.filter((name) => !lost.includes(name)))
    throw new Failure(`--lose ${name}: nothing of that name would be lost.`)
  const kept = structuredClone(after)
  const beside = retires.flatMap((key) => keep(key, renamed, kept, true))
  // Drops come last and on their own: given both additions and removals, drizzle-kit asks interactively whether they are renames.
  const wide = structuredClone(kept)
  for (const key of dropped) keep(key, renamed, wide, false)
  refuseUnfillable(renamed, wide, wishes.filled)
  const changes = await statementsBetween(renamed, wide)
  const drops = await statementsBetween(wide, kept)
  for (const key of retires) {
    const column = columnOf(renamed, key)
    // The new release does not write this column.
    if (column?.notNull && column.default === undefined && !column.generated)
      changes.push(`alter table ${tableOf(key)} alter column "${column.name}" drop not null`)
  }
  for (const key of retires) {
    const column = columnOf(kept, key)
    if (column && column.default === undefined) column.notNull = false
  }
  return {
    renames,
    statements: [...changes, ...drops],
    snapshot: kept,
    retires: [...retires, ...beside],
    notes: [...notes, ...dropped.filter((key) => key.startsWith('column ')).map((key) => `drops ${key}`)],
  }
}

const tableOf = (key: string) => (key.split(' ')[1] ?? '').split('.').slice(0, 2).join('.')

function columnOf(snapshot: Snapshot, key: string): Column | undefined {
  const [kind, name = ''] = key.split(' ')
  return kind === 'column' ? snapshot.tables[tableOf(key)]?.columns[name.split('.')[2] ?? ''] : undefined
}

/** Tables and columns of one snapshot that the other lacks, as `table freehold.notes` and `column freehold.notes.title`. */
const missing = (before: Snapshot, after: Snapshot): string[] =>
  Object.entries(before.tables).flatMap(([name, table]) => {
    const now = after.tables[name]
    if (!now) return [`table ${name}`]
    return Object.keys(table.columns)
      .filter((column) => !now.columns[column])
      .map((column) => `column ${name}.${column}`)
  })

const narrowed = (before: Snapshot, after: Snapshot): string[] =>
  Object.entries(before.tables).flatMap(([name, table]) =>
    Object.values(table.columns).flatMap((column) => {
      const type = after.tables[name]?.columns[column.name]?.type
      return type && type !== column.type && !WIDER.has(`${column.type.replace(/\(.*/, '')} > ${type}`)
        ? [`${name}.${column.name}`]
        : []
    }),
  )

/**
 * Copies a table or a column into a snapshot that lacks it, with the column's indexes and foreign keys, on which the previous
 * release relies. Returns the keys of those indexes and foreign keys.
 */
function keep(key: string, before: Snapshot, after: Snapshot, is_used: boolean): string[] {
  const name = tableOf(key)
  const [old, now] = [before.tables[name], after.tables[name]]
  const column = columnOf(before, key)
  if (!old) return []
  if (!now || !column) {
    after.tables[name] = structuredClone(old)
    return []
  }
  now.columns[column.name] = structuredClone(column)
  const indexes = Object.entries(old.indexes).filter(([, { columns }]) =>
    columns.some(({ expression }) => expression === column.name),
  )
  const keys = Object.entries(old.foreignKeys).filter(([, { columnsFrom }]) => columnsFrom.includes(column.name))
  if (!is_used) return []
  for (const [index, definition] of indexes) now.indexes[index] = structuredClone(definition)
  for (const [constraint, definition] of keys) now.foreignKeys[constraint] = structuredClone(definition)
  return [
    ...indexes.map(([index]) => `index ${name.split('.')[0]}.${index} on ${name}`),
    ...keys.map(([constraint]) => `constraint ${constraint} on ${name}`),
  ]
}

/** Fails on a column that becomes not null where rows exist that may lack a value. */
function refuseUnfillable(before: Snapshot, after: Snapshot, filled: string[]) {
  for (const [name, table] of Object.entries(after.tables))
    for (const column of Object.values(table.columns)) {
      const old = before.tables[name]
      const known = old?.columns[column.name]
      const path = `${name}.${column.name}`
      if (!old || !column.notNull || known?.notNull || column.generated) continue
      if (!known && column.default === undefined)
        throw new Failure(
          `${path} must have a value and has no default, so rows that exist cannot get it. Give it a default, or let it be null.`,
        )
      if (known && !filled.includes(path))
        throw new Failure(
          `${path} becomes not null, and rows that exist may lack a value. Fill it first; when every tenant has, pass --filled ${path}.`,
        )
    }
}

/** Renames a table or a column in a snapshot, wherever it is named. Returns the statement. */
function rename(snapshot: Snapshot, after: Snapshot, wish: string, notes: string[]): string {
  const [, path = '', name = ''] = /^([\w.]+)=(\w+)$/.exec(wish) ?? []
  const [schema, table, column] = path.split('.')
  const old = snapshot.tables[`${schema}.${table}`]
  if (!old || (column !== undefined && !old.columns[column]))
    throw new Failure(
      `--rename ${wish}: there is no ${path || 'such table or column'}. Write schema.table=new_name or schema.table.column=new_name.`,
    )
  const renamedTo = column === undefined ? after.tables[`${schema}.${name}`] : after.tables[`${schema}.${table}`]?.columns[name]
  if (!renamedTo)
    throw new Failure(
      `--rename ${wish}: no table.ts declares ${column === undefined ? `${schema}.${name}` : `${schema}.${table}.${name}`}.`,
    )
  notes.push(`renames ${path} to ${name}: the release before this one fails where it uses the old name`)
  const text = JSON.stringify(snapshot)
  const [from, to] =
    column === undefined
      ? [`"${schema}"."${table}"`, `"${schema}"."${name}"`]
      : [`"${schema}"."${table}"."${column}"`, `"${schema}"."${table}"."${name}"`]
  const quoted = (value: string) => JSON.stringify(value).slice(1, -1)
  const replaced = JSON.parse(text.replaceAll(quoted(from), quoted(to))) as Snapshot
  Object.assign(snapshot, replaced)
  const moved = snapshot.tables[`${schema}.${table}`]
  if (!moved) throw new Failure(`--rename ${wish}: this cannot be renamed.`)
  if (column === undefined) {
    delete snapshot.tables[`${schema}.${table}`]
    snapshot.tables[`${schema}.${name}`] = { ...moved, name }
    for (const other of Object.values(snapshot.tables))
      for (const key of Object.values(other.foreignKeys)) {
        if (key.tableTo === table) key.tableTo = name
        if (key.tableFrom === table) key.tableFrom = name
      }
    return `alter table ${schema}.${table} rename to ${name}`
  }
  const definition = moved.columns[column]
  if (definition)
    moved.columns = Object.fromEntries(
      Object.entries(moved.columns).map(([key, value]) => (key === column ? [name, { ...definition, name }] : [key, value])),
    )
  for (const index of Object.values(moved.indexes))
    for (const part of index.columns) if (part.expression === column) part.expression = name
  for (const other of Object.values(snapshot.tables))
    for (const key of Object.values(other.foreignKeys)) {
      if (other === moved) key.columnsFrom = key.columnsFrom.map((value) => (value === column ? name : value))
      if (key.tableTo === table) key.columnsTo = key.columnsTo.map((value) => (value === column ? name : value))
    }
  for (const key of Object.values(moved.compositePrimaryKeys))
    key.columns = key.columns.map((value) => (value === column ? name : value))
  for (const key of Object.values(moved.uniqueConstraints))
    key.columns = key.columns.map((value) => (value === column ? name : value))
  return `alter table ${schema}.${table} rename column ${column} to ${name}`
}
