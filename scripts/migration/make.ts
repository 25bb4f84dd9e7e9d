/** Makes the next migration of each database from the difference between the migrations and the tables and definitions. */
import type { Client } from 'pg'
import { Failure } from '../freehold/failure.ts'
import { type Catalogue, differences, readCatalogue, readFingerprint } from './catalogue.ts'
import { changeTables, type Wishes } from './changes.ts'
import type { Database, Definition } from './definitions.ts'
import { grantsBetween, plan, repairsOf } from './difference.ts'
import { headOf } from './head.ts'
import { type Retired, readMigrations, readRetired, readSnapshot, writeBundle, writeMigration } from './ledger.ts'
import { commentOn, isRetired, lostWith } from './retired.ts'
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
    if (!made.length) {
      if (!writeBundle(root, await readFingerprint(migrated.client)))
        throw new Failure('Nothing changed: the migrations make what tables and definitions say.')
      tell('No migration: what tenants are compared with is written anew.')
      return []
    }
    const left = differences(await readCatalogue(migrated.client), after).filter(
      (key) => ![...made, ...others(root, made)].some(({ retired }) => isRetired(key, retired.objects)),
    )
    if (left.length)
      throw new Failure(
        `This difference is beyond what can be made by itself: ${left.slice(0, 5).join('; ')}.\nMake it in two steps, or write this migration by hand.`,
      )
    const paths = made.map(({ database, ...migration }) => writeMigration(root, database, { name, ...migration }))
    writeBundle(root, await readFingerprint(migrated.client))
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

/** By the schema of the object, or of the table that it is on; not by any other name that reads `platform`. */
const isOf = (database: Database) => (key: string) =>
  /(?:^|\s)(?:platform\.\w|schema platform\b)/.test(key) === (database === 'master')
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
  const after = only(all, database)
  const retired = readRetired(root, database).objects
  const due = same_release ? [] : retired
  const snapshot = readSnapshot(root, database)
  const wishes = {
    rename: options.rename.filter(isOf(database)),
    lose: options.lose.filter(isOf(database)),
    filled: options.filled.filter(isOf(database)),
  }
  const tables = await changeTables(
    snapshot,
    await snapshotOf(root, database, snapshot.id),
    { ...wishes, lose: [...wishes.lose, ...(same_release ? lostWith(retired) : [])] },
    due,
  )
  // Names in bodies are resolved when they run, and some of them are created later in this migration.
  const run = (list: string[]) =>
    inTransaction(client, async () => {
      await client.query('set local check_function_bodies = off')
      for (const statement of list)
        await client.query(statement).catch((error) => {
          throw new Failure(`The migration would fail: ${error.message}${HINTS[error.code] ?? ''}\n${statement}`)
        })
    })
  await run(tables.renames)
  const before = only(await readCatalogue(client), database)
  const own = definitions.filter((definition) => definition.database === database)
  const objects = plan(before, after, own, due)
  const fresh = Object.keys(tables.snapshot.tables).filter((name) => !snapshot.tables[name])
  const renamed = wishes.rename.map((wish) => `${wish.split('.')[0]}.${wish.split('=')[1]}`)
  const secured = fresh.filter((name) => !renamed.includes(name)).map((name) => `alter table ${name} enable row level security`)
  const isSchema = (statement: string) => statement.startsWith('CREATE SCHEMA')
  // An object that was retired and has a definition again.
  const revived = retired.filter((key) => after.entries.has(key))
  const retires = [...tables.retires, ...objects.retires]
  const statements = [
    ...objects.drops,
    ...tables.statements.filter(isSchema),
    ...objects.types,
    ...tables.statements.filter((statement) => !isSchema(statement)),
    ...secured,
    ...objects.creates,
    ...retires
      .filter((key) => !retired.includes(key))
      .flatMap((key) => commentOn(key, before, "'Retired: the release before uses it, the next migration drops it.'")),
    ...revived.flatMap((key) => commentOn(key, before, 'null')),
  ]
  await run(statements)
  const kept = [...retires, ...(same_release ? retired : [])].filter((key) => !revived.includes(key))
  const repairs = repairsOf(only(await readCatalogue(client), database), after, (key) => isRetired(key, kept))
  await run(repairs)
  const grants = grantsBetween(only(await readCatalogue(client), database), after)
  await run(grants)
  const everything = [...tables.renames, ...statements, ...repairs, ...grants]
  if (!everything.length) return null
  const taken = everything.find((statement) => /\$(migration|statements)\$/.test(statement))
  if (taken)
    throw new Failure(`A body is quoted with $migration$ or $statements$, which the migrator needs:\n${taken.slice(0, 200)}`)
  const head = headOf(
    database,
    tables.notes,
    [...tables.renames, ...tables.statements, ...repairs],
    objects.notes,
    retires,
    same_release,
  )
  const whole = objects.creates.length ? ['set local check_function_bodies = off', ...everything] : everything
  return {
    database,
    text: `${head}\n\n${whole.map(ended).join('\n--> statement-breakpoint\n')}\n`,
    snapshot: tables.snapshot,
    retired: { objects: [...new Set(kept)] },
  }
}

/** A statement with its semicolon, which a comment at its end must not hide. */
const ended = (statement: string) => `${statement}${/--[^\n]*$/.test(statement) ? '\n' : ''};`

/** What to do about errors of Postgres that say too little. */
const HINTS: Record<string, string> = {
  '55P04': ' A new value of a type can be used from the next migration on: make two.',
}
