/** Makes the next migration of each database from the difference between the migrations and the tables and definitions. */
import type { Client } from 'pg'
import { Failure } from '../freehold/failure.ts'
import { type Catalogue, differences, readCatalogue } from './catalogue.ts'
import { changeTables, type Wishes } from './changes.ts'
import type { Database, Definition } from './definitions.ts'
import { grantsBetween, plan } from './difference.ts'
import { type Retired, readMigrations, readRetired, readSnapshot, writeBundle, writeMigration } from './ledger.ts'
import { applyDefinitions, applyMigrations, inTransaction, scratch } from './scratch.ts'
import { type Snapshot, snapshotOf } from './tables.ts'

export type Options = Wishes & {
  root: string
  name: string
  /** A superuser's connection string of a Postgres in which temporary databases may be created. */
  url: string
  /** This migration ships in the same release as the previous one, so that what that one retired is still in use. */
  same_release: boolean
  tell: (line: string) => void
}

type Made = { database: Database; text: string; snapshot: Snapshot; retired: Retired }

/** Returns the paths of the migrations that it wrote. When it fails, with one sentence, nothing was written. */
export async function makeMigration(options: Options): Promise<string[]> {
  const { root, name, url, tell } = options
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(name))
    throw new Failure(`${name || 'A migration'} needs a name of lower-case letters, digits and _, such as add_notes.`)
  for (const database of ['tenant', 'master'] as const) readMigrations(root, database)
  const [migrated, defined] = [await scratch(url), await scratch(url)]
  try {
    tell('Applying all migrations to one database, and all tables and definitions to another.')
    await applyMigrations(migrated.client, root)
    const definitions = await applyDefinitions(defined.client, root)
    const after = await readCatalogue(defined.client)
    const made: Made[] = []
    for (const database of ['tenant', 'master'] as const) {
      const change = await makeOne(migrated.client, after, definitions, database, options)
      if (change) made.push(change)
    }
    if (!made.length) throw new Failure('Nothing changed: the migrations make what tables and definitions say.')
    const left = differences(await readCatalogue(migrated.client), after).filter(
      (key) => ![...made, ...others(root, made)].some(({ retired }) => isRetired(key, retired.objects)),
    )
    if (left.length)
      throw new Failure(
        `This difference is beyond what can be made by itself: ${left.slice(0, 5).join('; ')}.\nMake it in two steps, or write this migration by hand.`,
      )
    const paths = made.map(({ database, ...migration }) => writeMigration(root, database, { name, ...migration }))
    writeBundle(root)
    return paths
  } finally {
    await Promise.all([migrated.remove(), defined.remove()])
  }
}

/** The retired objects of the databases that do not change. */
const others = (root: string, made: Made[]) =>
  (['tenant', 'master'] as const)
    .filter((database) => !made.some((one) => one.database === database))
    .map((database) => ({ retired: readRetired(root, database) }))

/** Whether a difference is expected: a retired object, or part of a retired table or column. */
export const isRetired = (key: string, retired: string[]): boolean =>
  retired.some((object) => {
    const [kind, name = ''] = object.split(' ')
    const [, table, column] = /^(\w+\.\w+)(?:\.(\w+))?$/.exec(name) ?? []
    if (key === object) return true
    if (kind === 'table')
      return key.startsWith(`column ${name}.`) || key.endsWith(` on ${name}`) || key.includes(` on ${name} to `)
    if (kind === 'column') return key.startsWith('grant ') && key.includes(`(${column}) on ${table} to `)
    return key.startsWith('grant ') && key.includes(` on ${object}(`)
  })

const isOf = (database: Database) => (key: string) => /\bplatform(\.| |$)/.test(key) === (database === 'master')
const only = ({ entries, grants }: Catalogue, database: Database): Catalogue => ({
  entries: new Map([...entries].filter(([key]) => isOf(database)(key))),
  grants: new Map([...grants].filter(([key]) => isOf(database)(key))),
})

/** Makes one database's migration and applies it to the scratch database of all migrations; null when nothing changes. */
async function makeOne(
  client: Client,
  all: Catalogue,
  definitions: Definition[],
  database: Database,
  options: Options,
): Promise<Made | null> {
  const { root, same_release } = options
  const before = only(await readCatalogue(client), database)
  const after = only(all, database)
  const retired = readRetired(root, database).objects
  const due = same_release ? [] : retired
  const snapshot = readSnapshot(root, database)
  const wishes = { rename: options.rename.filter(isOf(database)), lose: options.lose.filter(isOf(database)) }
  const tables = await changeTables(
    snapshot,
    await snapshotOf(root, database, snapshot.id),
    { ...wishes, lose: [...wishes.lose, ...(same_release ? losable(retired) : [])] },
    due,
  )
  const own = definitions.filter((definition) => definition.database === database)
  const objects = plan(before, after, own, due)
  const fresh = Object.keys(tables.snapshot.tables).filter((name) => !snapshot.tables[name])
  const renamed = wishes.rename.map((wish) => `${wish.split('.')[0]}.${wish.split('=')[1]}`)
  const secured = fresh.filter((name) => !renamed.includes(name)).map((name) => `alter table ${name} enable row level security`)
  const isSchema = (statement: string) => statement.startsWith('CREATE SCHEMA')
  const statements = [
    ...objects.drops,
    ...tables.statements.filter(isSchema),
    ...objects.types,
    ...tables.statements.filter((statement) => !isSchema(statement)),
    ...secured,
    ...objects.creates,
    ...[...tables.retires, ...objects.retires]
      .filter((key) => !retired.includes(key) && !/^(index|constraint) /.test(key))
      .map((key) => markRetired(key, before)),
  ]
  // Names in bodies are resolved when they run, and some of them are created later in this migration.
  const run = (list: string[]) =>
    inTransaction(client, async () => {
      await client.query('set local check_function_bodies = off')
      for (const statement of list)
        await client.query(statement).catch((error) => {
          throw new Failure(`The migration would fail: ${error.message}\n${statement}`)
        })
    })
  await run(statements)
  const grants = grantsBetween(only(await readCatalogue(client), database), after)
  await run(grants)
  if (!statements.length && !grants.length) return null
  const head = describe(database, tables.notes, tables.statements, objects.notes, [...tables.retires, ...objects.retires])
  const whole = objects.creates.length
    ? ['set local check_function_bodies = off', ...statements, ...grants]
    : [...statements, ...grants]
  return {
    database,
    text: `${head}\n\n${whole.map((statement) => `${statement};`).join('\n--> statement-breakpoint\n')}\n`,
    snapshot: tables.snapshot,
    retired: {
      objects: [...tables.retires, ...objects.retires, ...(same_release ? retired : [])].filter(
        (key, i, list) => list.indexOf(key) === i,
      ),
    },
  }
}

/** The comment that tells an operator why the object is still in the database. */
const markRetired = (key: string, { entries }: Catalogue) =>
  `comment on ${key.startsWith('column ') ? key : entries.get(key)?.drop.replace(/^drop /, '')} is 'Retired: the release before uses it, the next migration drops it.'`

const losable = (retired: string[]) => retired.filter((key) => /^(table|column) /.test(key)).map((key) => key.split(' ')[1] ?? '')

/** The comment at the top of a migration: what it changes. */
function describe(
  database: Database,
  notes: string[],
  tables: string[],
  { made, replaced, remade, dropped }: { made: string[]; replaced: string[]; remade: string[]; dropped: string[] },
  retires: string[],
): string {
  const line = (what: string, keys: string[]) =>
    keys.length > 12 ? [`--   ${what} ${keys.length} objects`] : keys.map((key) => `--   ${what} ${key}`)
  const altered = new Map<string, string>()
  for (const statement of tables) {
    const [, verb = '', quoted = ''] = /^(create|alter|drop) table\s+("?\w+"?\."?\w+"?)/i.exec(statement) ?? []
    const name = quoted.replaceAll('"', '')
    // The constraints of a new table are part of its making.
    if (verb && altered.get(name) !== 'create') altered.set(name, verb.toLowerCase())
  }
  return [
    `-- Made by \`npm run migration\` for ${database === 'tenant' ? 'every tenant’s database' : 'the master'}. Do not edit it once it has landed.`,
    '-- Tables:',
    ...(altered.size || notes.length
      ? [...[...altered].map(([name, verb]) => `--   ${verb}s table ${name}`), ...notes.map((note) => `--   ${note}`)]
      : ['--   unchanged']),
    '-- Definitions:',
    ...(made.length + replaced.length + remade.length + dropped.length
      ? [...line('creates', made), ...line('replaces', replaced), ...line('drops and creates', remade), ...line('drops', dropped)]
      : ['--   unchanged']),
    ...(retires.length
      ? ['-- Kept for the release before this one, and dropped by the next migration:', ...line('keeps', retires)]
      : []),
  ].join('\n')
}
