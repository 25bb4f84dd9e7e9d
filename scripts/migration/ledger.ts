/**
 * The migrations as files: drizzle/{tenant,master}/NNNN_name.sql, in the journal, with the snapshot of the tables after the
 * newest.
 */
import { createHash } from 'node:crypto'
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

const sumOf = (text: string) => createHash('sha256').update(text).digest('hex')

/** The TypeScript module that lists the migrations for the Worker, which reads them as assets. */
export function bundleOf(root: string): string {
  const entries = readMigrations(root, 'tenant').map(({ name, text }) => `  listed('${name}', '${sumOf(text)}'),`)
  const fingerprint = readFileSync(join(root, FINGERPRINT_FILE), 'utf8')
  return [
    "import { assetText } from '../../assets/assets.ts'",
    "import type { Migration } from './migrations.ts'",
    '',
    '// Written by `npm run migration`.',
    'const listed = (name: string, checksum: string): Migration => ({',
    '  name,',
    '  checksum,',
    `  read: () => assetText(\`drizzle/\${name}.sql\`, checksum),`,
    '})',
    '',
    '/** What all migrations make of a tenant’s database, as `unpack` reads it (migration/fingerprint.ts). */',
    'export const tenantFingerprint = (): Promise<string> =>',
    `  assetText('${FINGERPRINT_FILE}', '${sumOf(fingerprint)}')`,
    '',
    '/** The migrations of a tenant’s database, in order. */',
    'export const tenantMigrations: Migration[] = [',
    '  // In the order of their numbers.',
    ...entries,
    ']',
    '',
  ].join('\n')
}

export const BUNDLE = 'src/tenants/provisioning/bundled.ts'
export const FINGERPRINT_FILE = 'drizzle/tenant/meta/fingerprint.json'

/** What all migrations make of a tenant's database, as its file has it. */
export const fingerprintText = (fingerprint: Fingerprint): string => `${JSON.stringify(pack(fingerprint), null, 2)}\n`

/** Writes what the Worker has of the migrations, and of what they make. Returns whether something of it is another than before. */
export function writeBundle(root: string, fingerprint: Fingerprint): boolean {
  const is_other = renew(join(root, FINGERPRINT_FILE), fingerprintText(fingerprint))
  return renew(join(root, BUNDLE), bundleOf(root)) || is_other
}

function renew(path: string, text: string): boolean {
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
