/**
 * The migrations as files: drizzle/{tenant,master}/NNNN_name.sql, in the journal, with the snapshot of the tables after the
 * newest.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Fingerprint, pack } from '../../src/tenants/migration/fingerprint.ts'
import { Failure } from '../freehold/failure.ts'
import type { Database } from './definitions.ts'
import { EMPTY, type Snapshot } from './tables.ts'

export type Migration = { name: string; text: string }

type Journal = {
  version: string
  dialect: string
  entries: { idx: number; version: string; when: number; tag: string; breakpoints: boolean }[]
}

/** Objects that the previous release still uses and that have no definition any more: the next migration drops them. */
export type Retired = { objects: string[] }

const folderOf = (root: string, database: Database) => join(root, 'drizzle', database)
const filesOf = (root: string, database: Database) =>
  existsSync(folderOf(root, database))
    ? readdirSync(folderOf(root, database))
        .filter((file) => file.endsWith('.sql'))
        .sort()
    : []

/** The migrations of a database, in order. Fails when files and journal do not name the same ones. */
export function readMigrations(root: string, database: Database): Migration[] {
  const files = filesOf(root, database)
  const tags = readJournal(root, database).entries.map(({ tag }) => tag)
  const known = files.map((file) => file.slice(0, -'.sql'.length))
  const odd = [...known.filter((tag) => !tags.includes(tag)), ...tags.filter((tag) => !known.includes(tag))]
  if (odd.length || known.join() !== tags.join() || known.some((tag, i) => Number(tag.slice(0, 4)) !== i))
    throw new Failure(
      `drizzle/${database}/meta/_journal.json and the files beside it do not name the same migrations in the same order${odd[0] ? `: ${odd[0]}` : ''}. Restore both with git and run this again.`,
    )
  return known.map((tag) => ({
    name: `${database}/${tag}`,
    text: readFileSync(join(folderOf(root, database), `${tag}.sql`), 'utf8'),
  }))
}

function readJson<T>(root: string, path: string, otherwise: T): T {
  const file = join(root, path)
  if (!existsSync(file)) return otherwise
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T
  } catch {
    throw new Failure(`${path} is not JSON. Restore it with git and run this again.`)
  }
}

const meta = (database: Database, file: string) => `drizzle/${database}/meta/${file}`

function readJournal(root: string, database: Database): Journal {
  const journal = readJson<Journal>(root, meta(database, '_journal.json'), { version: '7', dialect: 'postgresql', entries: [] })
  if (!Array.isArray(journal?.entries))
    throw new Failure(`${meta(database, '_journal.json')} is not a journal. Restore it with git and run this again.`)
  return journal
}

export const readRetired = (root: string, database: Database) =>
  readJson<Retired>(root, meta(database, 'retired.json'), { objects: [] })

/** The tables after the newest migration. */
export function readSnapshot(root: string, database: Database): Snapshot {
  const snapshot = readJson<Snapshot>(root, meta(database, 'snapshot.json'), EMPTY)
  if (!snapshot?.tables || (snapshot === EMPTY && readJournal(root, database).entries.length))
    throw new Failure(`${meta(database, 'snapshot.json')} is missing or no snapshot. Restore it with git and run this again.`)
  return snapshot
}

/** Writes a migration and its metadata; the journal last, which makes the migration part of the ledger. Returns its path. */
export function writeMigration(
  root: string,
  database: Database,
  migration: { name: string; text: string; snapshot: Snapshot; retired: Retired },
): string {
  const journal = readJournal(root, database)
  const idx = journal.entries.length
  const tag = `${String(idx).padStart(4, '0')}_${migration.name}`
  journal.entries.push({ idx, version: '7', when: Date.now(), tag, breakpoints: true })
  const path = `drizzle/${database}/${tag}.sql`
  write(join(root, path), migration.text)
  writeJson(root, meta(database, 'snapshot.json'), migration.snapshot)
  writeJson(root, meta(database, 'retired.json'), migration.retired)
  writeJson(root, meta(database, '_journal.json'), journal)
  return path
}

/** The TypeScript module that bundles the migrations into the Worker, which cannot read files. */
export function bundleOf(root: string): string {
  const lists = (['tenant'] as const).map((database) => {
    const tags = readMigrations(root, database).map(({ name }) => name)
    const imports = tags.map((name, i) => `import ${database}${i} from '${UP}drizzle/${name}.sql'`)
    const entries = tags.map((name, i) => `  { name: '${name}', text: ${database}${i} },`)
    return { imports, entries }
  })
  return [
    ...lists.flatMap(({ imports }) => imports),
    "import type { Migration } from './migrations.ts'",
    '',
    '// Written by `npm run migration`.',
    '/** The migrations of a tenant’s database, in order, as they are bundled into the Worker. */',
    'export const tenantMigrations: Migration[] = [',
    '  // In the order of their numbers.',
    ...lists.flatMap(({ entries }) => entries),
    ']',
    '',
  ].join('\n')
}

export const BUNDLE = 'src/tenants/provisioning/bundled.ts'
export const FINGERPRINT_FILE = 'src/tenants/provisioning/bundled-fingerprint.ts'
const UP = '../'.repeat(BUNDLE.split('/').length - 1)

export const writeBundle = (root: string) => write(join(root, BUNDLE), bundleOf(root))

/** The TypeScript module that tells the Worker what the migrations make of a tenant's database. */
export const bundledFingerprint = (fingerprint: Fingerprint): string =>
  [
    '// Written by `npm run migration`.',
    '/** What all migrations make of a tenant’s database: each object with its hash. */',
    '// biome-ignore format: one line for objects of one kind and place.',
    'export const bundledFingerprint: Record<string, string> = {',
    ...Object.entries(pack(fingerprint)).map(([line, objects]) => `  '${line}': '${objects}',`),
    '}',
    '',
  ].join('\n')

/** Writes it, and returns whether it is another than before. */
export function writeFingerprint(root: string, fingerprint: Fingerprint): boolean {
  const [path, text] = [join(root, FINGERPRINT_FILE), bundledFingerprint(fingerprint)]
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return false
  write(path, text)
  return true
}

const writeJson = (root: string, path: string, value: unknown) => write(join(root, path), `${JSON.stringify(value, null, 2)}\n`)

/** Writes a file atomically. */
function write(path: string, text: string) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}
