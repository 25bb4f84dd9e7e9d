import { sql } from 'drizzle-orm'
import { batch, brokenConstraint } from '../kernel/db.ts'

/** One SQL file. Its statements are parted by drizzle's breakpoint comment. */
export type Migration = { name: string; text: string }

const LOCK = 20_261_122

/** All of a migration as one statement: hundreds of them, each sent and answered alone, take twice as long. */
function asOne({ name, text }: Migration): string {
  const statements = text
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim().replace(/;$/, ''))
    .filter((statement) => statement.replace(/^--.*$/gm, '').trim() !== '')
  const whole = statements.join(';\n')
  if (/\$(migration|statements)\$/.test(whole)) throw new Error(`Migration ${name} holds a mark that is put around it.`)
  return `do $migration$ begin execute $statements$${whole}$statements$; end $migration$`
}

/**
 * Brings a database to the newest schema: one migration is one transaction that holds its ledger row, so it happened whole or not
 * at all. Of two who migrate at once, the second waits, finds the row and goes on. The login must be a member of freehold_owner,
 * to whom every object will belong. Returns the name of the newest migration.
 */
export async function migrate(url: string, migrations: Migration[]): Promise<string> {
  const asOwner = sql`set local role freehold_owner`
  const opened = await batch(url, [
    asOwner,
    sql`select pg_advisory_xact_lock(${LOCK})`,
    sql`create schema if not exists freehold`,
    sql`create schema if not exists access`,
    sql`create table if not exists freehold.migrations (name text primary key, applied_at timestamptz not null default now())`,
    sql`select name from freehold.migrations`,
  ])
  const names = new Set(opened.at(-1)?.map((row) => row.name))
  for (const migration of migrations) {
    if (names.has(migration.name)) continue
    await batch(url, [
      asOwner,
      sql`select pg_advisory_xact_lock(${LOCK})`,
      sql`insert into freehold.migrations (name) values (${migration.name})`,
      sql.raw(asOne(migration)),
    ]).catch((error) => {
      if (brokenConstraint(error) !== 'migrations_pkey') throw new Error(`Migration ${migration.name} failed.`, { cause: error })
    })
  }
  const newest = migrations.at(-1)
  if (!newest) throw new Error('There is no migration.')
  return newest.name
}
