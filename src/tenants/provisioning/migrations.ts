import { encodeHexLowerCase } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import { batch, brokenConstraint, dbError, UNHURRIED_MS, unhurried } from '../../kernel/db.ts'

/** One SQL file. Its statements are separated by drizzle's breakpoint comment. */
export type SqlFile = { name: string; text: string }

/** A migration: its file, or its checksum and how the file is read, which is done only when it is applied. */
export type Migration = SqlFile | { name: string; checksum: string; read: () => Promise<string> }

const LOCK = 20_261_122

/**
 * How long a migration waits for a table that a request or a session holds, and how often. Whoever comes to the table meanwhile waits
 * behind the migration: so it waits for less time than anybody notices, lets them pass, and comes again. For less than Postgres'
 * `deadlock_timeout` of a second, so that of a migration and a request that wait for each other the migration gives way; in the end
 * for longer, because only then an autovacuum is stopped that is in the way.
 */
const LOCK_TRIES = 15
const LOCK_PAUSE_MS = 1_000
const impatient = (tries: number) => sql`select set_config('lock_timeout', ${tries > 10 ? '2s' : '700ms'}, true)`

/** A database that no try takes further: somebody has to mend it, or to use another release. */
export class CannotMigrate extends Error {}

/** A migration as one statement: hundreds of statements that are sent one by one take twice as long. */
export function asOne({ name, text }: SqlFile): string {
  const statements = text
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim().replace(/;$/, ''))
    .filter((statement) => statement.replace(/^--.*$/gm, '').trim() !== '')
  const whole = statements.join(';\n')
  if (/\$(migration|statements)\$/.test(whole))
    throw new Error(`Migration ${name} contains a dollar quote that the migrator puts around it.`)
  return `do $migration$ begin execute $statements$${whole}$statements$; end $migration$`
}

/**
 * Migrates a database to the newest schema. Each migration is one transaction together with its ledger row, so it is applied
 * completely or not at all. Of two concurrent callers the second waits, finds the row and skips it. The login must be a member of
 * freehold_owner, which will own every object. What a migration changes is in the audit under `trace_id`. Returns the name of the newest migration. `reached` is told the name of each
 * before it is applied. Fails with CannotMigrate, and changes nothing, if the ledger lacks the baseline, has another checksum for one of
 * these migrations, or has one that is not among them while some are missing; and when others hold what a migration changes for half a
 * minute.
 */
export async function migrate(
  url: string,
  migrations: Migration[],
  trace_id: string | null = null,
  reached: (name: string) => void = () => undefined,
): Promise<string> {
  const asOwner = sql`set local role freehold_owner`
  const opening = (tries: number) => [
    unhurried,
    asOwner,
    sql`select pg_advisory_xact_lock(${LOCK})`,
    impatient(tries),
    sql`create schema if not exists freehold`,
    sql`create schema if not exists access`,
    sql`create table if not exists freehold.migrations (name text primary key, applied_at timestamptz not null default now(), checksum text)`,
    sql`alter table freehold.migrations enable row level security`,
    // A ledger from before the baseline has no checksums.
    sql`select name, to_jsonb(m) ->> 'checksum' as checksum from freehold.migrations m`,
  ]
  // Who comes while another works waits until that one is done.
  const opened = await whenUnlocked('The ledger', (tries) => batch(url, opening(tries), null, UNHURRIED_MS))
  const applied = new Map(opened.at(-1)?.map(({ name, checksum }) => [String(name), checksum]))
  const baseline = migrations.find(({ name }) => name.endsWith('/0000_baseline'))
  if (baseline && applied.size && !applied.has(baseline.name)) throw new BeforeBaseline(url, baseline.name)
  const known = new Set(migrations.map(({ name }) => name))
  const families = new Set(migrations.map(({ name }) => name.split('/')[0]))
  const stranger = [...applied.keys()].find((name) => families.has(name.split('/')[0]) && !known.has(name))
  if (stranger !== undefined && migrations.some(({ name }) => !applied.has(name)))
    throw new CannotMigrate(
      `The ledger of this database has the migration ${stranger}, which this release does not have: nothing is applied. Use the release that it is of.`,
    )
  for (const migration of migrations) {
    const checksum = await checksumOf(migration)
    if (applied.has(migration.name)) {
      if (applied.get(migration.name) !== checksum)
        throw new CannotMigrate(
          `Migration ${migration.name} was edited after it was applied to this database. Restore its file; a change is a migration of its own.`,
        )
      continue
    }
    const text = 'text' in migration ? migration.text : await migration.read()
    const statements = (tries: number) => [
      unhurried,
      asOwner,
      sql`select pg_advisory_xact_lock(${LOCK})`,
      impatient(tries),
      sql`insert into freehold.migrations (name, checksum) values (${migration.name}, ${checksum})`,
      sql.raw(asOne({ name: migration.name, text })),
    ]
    reached(migration.name)
    await whenUnlocked(`Migration ${migration.name}`, (tries) => batch(url, statements(tries), trace_id, UNHURRIED_MS)).catch(
      (error) => {
        if (brokenConstraint(error) === 'migrations_pkey') return
        throw error instanceof CannotMigrate ? error : new Error(`Migration ${migration.name} failed.`, { cause: error })
      },
    )
  }
  const newest = migrations.at(-1)
  if (!newest) throw new Error('There is no migration.')
  return newest.name
}

/** Runs a transaction, again and again while others hold a lock that it needs. Each try is rolled back as a whole. */
async function whenUnlocked<T>(what: string, apply: (tries: number) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await apply(tries)
    } catch (error) {
      if (dbError(error)?.code !== '55P03') throw error
      if (tries === LOCK_TRIES)
        throw new CannotMigrate(
          `${what} waited ${LOCK_TRIES} times for a lock that others hold: a long transaction, a backup, an open session. End it, then resume.`,
          { cause: error },
        )
      await new Promise((done) => setTimeout(done, LOCK_PAUSE_MS))
    }
  }
}

/**
 * Why a ledger is not one that these migrations continue; null: it is. `before`: from before the baseline. `later`: it has a migration that is
 * not among these. `other`: a migration has another text.
 */
export async function ledgerFault(
  ledger: { name: string; checksum: string | null }[],
  migrations: Migration[],
): Promise<{ kind: 'before' | 'later' | 'other'; name: string } | null> {
  const known = new Map(await Promise.all(migrations.map(async (one) => [one.name, await checksumOf(one)] as const)))
  const [baseline = ''] = known.keys()
  if (ledger.length && !ledger.some(({ name }) => name === baseline)) return { kind: 'before', name: baseline }
  const later = ledger.find(({ name }) => !known.has(name))
  if (later) return { kind: 'later', name: later.name }
  const other = ledger.find(({ name, checksum }) => known.get(name) !== checksum)
  return other ? { kind: 'other', name: other.name } : null
}

/** The database was created by an unreleased version; no migration leads from its schema to the current one. */
export class BeforeBaseline extends CannotMigrate {
  constructor(url: string, baseline: string) {
    super(
      `The database ${new URL(url).pathname.slice(1)} was made before ${baseline}, by a version that was never released: it cannot be migrated.`,
    )
  }
}

/** What a ledger keeps of a migration: the SHA-256 of its file. */
export async function checksumOf(migration: Migration): Promise<string> {
  if ('checksum' in migration) return migration.checksum
  return encodeHexLowerCase(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(migration.text))))
}
