/** Temporary databases for a comparison: one from all migrations, one from the current tables and definitions. */
import { Client, DatabaseError } from 'pg'
import type { Fingerprint } from '../../src/tenants/migration/fingerprint.ts'
import { Failure } from '../freehold/failure.ts'
import { type Catalogue, readCatalogue, readFingerprint } from './catalogue.ts'
import { type Definition, inOrder, readDefinitions } from './definitions.ts'
import { readMigrations } from './ledger.ts'
import { splitStatements } from './statements.ts'
import { EMPTY, snapshotOf, statementsBetween } from './tables.ts'

export type Scratch = { client: Client; remove: () => Promise<void> }

let made = 0

/** Creates an empty database with the schemas and roles that a migration expects. `url` is a superuser's. */
export async function scratch(url: string): Promise<Scratch> {
  const name = `freehold_scratch_${process.pid}_${++made}`
  const server = new Client({ connectionString: url })
  await server.connect()
  for (const role of ['freehold_owner', 'freehold_app', 'freehold_reader'])
    await server.query(
      `do $$ begin create role ${role} nologin; exception when duplicate_object then null; when unique_violation then null; end $$`,
    )
  await server.query(`create database ${name} owner freehold_owner`)
  const client = new Client({ connectionString: Object.assign(new URL(url), { pathname: `/${name}` }).href })
  await client.connect()
  await client.query('set role freehold_owner')
  await client.query('create schema freehold; create schema access; create table freehold.migrations (name text primary key)')
  const remove = async () => {
    await client.end()
    await server.query(`drop database ${name} with (force)`)
    await server.end()
  }
  return { client, remove }
}

/** Applies migrations in order, each in a transaction. */
export async function applyMigrations(client: Client, root: string): Promise<void> {
  for (const database of ['tenant', 'master'] as const)
    for (const { name, text } of readMigrations(root, database))
      await inTransaction(client, async () => {
        for (const statement of splitStatements(text))
          await client.query(statement.text).catch((error) => {
            throw new Failure(`drizzle/${name}.sql:${statement.line} failed: ${error.message}`)
          })
      })
}

/**
 * Creates everything in the tables and definitions below `root`, for both databases: a master has a tenant's schema beside its
 * own.
 */
export async function applyDefinitions(client: Client, root: string): Promise<Definition[]> {
  const definitions = readDefinitions(root)
  for (const database of ['tenant', 'master'] as const) {
    const own = definitions.filter((definition) => definition.database === database)
    const tables = await statementsBetween(EMPTY, await snapshotOf(root, database))
    await inTransaction(client, async () => {
      await client.query('set local check_function_bodies = off')
      const make = (kinds: Definition['kind'][]) =>
        runAll(
          client,
          own.filter(({ kind }) => kinds.includes(kind)),
        )
      for (const statement of tables.filter((text) => text.startsWith('CREATE SCHEMA'))) await client.query(statement)
      await make(['type', 'sequence'])
      for (const statement of tables.filter((text) => !text.startsWith('CREATE SCHEMA')))
        await client.query(statement).catch((error) => {
          throw new Failure(`A table.ts declares what Postgres refuses: ${error.message}\n${statement}`)
        })
      await client.query(SECURE_TABLES)
      await runAll(client, inOrder(own.filter(({ kind }) => kind === 'function')))
      await client.query(SECURE_FUNCTIONS)
      await make(['call'])
      await make(['trigger', 'policy'])
      await make(['grant'])
    })
    await checkBodies(client, own)
  }
  return definitions
}

// Applied to every table and function, because forgetting it once would open one to everybody.
const SECURE_TABLES = `do $$ declare t regclass; begin
  for t in select c.oid from pg_class c where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('freehold', 'access', 'platform') and c.oid <> 'freehold.migrations'::regclass
  loop execute format('alter table %s enable row level security', t); end loop; end $$`
const SECURE_FUNCTIONS = `do $$ declare f record; begin
  for f in select p.oid::regprocedure as name, case p.prokind when 'p' then 'procedure' else 'function' end as kind from pg_proc p where p.pronamespace::regnamespace::text in ('access', 'platform')
  loop execute format('revoke execute on %s %s from public', f.kind, f.name); end loop; end $$`

async function runAll(client: Client, definitions: Definition[]) {
  for (const { text, place } of definitions)
    await client.query(text).catch((error) => {
      throw notParsed(error, place, text)
    })
}

/** Checks string bodies, once everything that they may name exists. */
async function checkBodies(client: Client, definitions: Definition[]) {
  for (const { text, place } of definitions.filter(({ kind }) => kind === 'function'))
    await client.query(text.replace(/^create (or replace )?/, 'create or replace ')).catch((error) => {
      throw notParsed(error, place, text)
    })
}

function notParsed(error: unknown, place: string, text: string): unknown {
  if (!(error instanceof DatabaseError)) return error
  const [file, line] = place.split(':')
  const at = Number(line) + text.slice(0, Number(error.position ?? error.internalPosition ?? 0)).split('\n').length - 1
  return new Failure(
    `${file}:${at}: this definition is refused: ${error.message}${error.where ? ` (${error.where.split('\n')[0]})` : ''}`,
  )
}

export async function inTransaction(client: Client, work: () => Promise<void>): Promise<void> {
  await client.query('begin')
  try {
    await work()
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

type Side = Catalogue & { fingerprint: Fingerprint }

/** The catalogues of both sides: of the migrations, and of the tables and definitions; each with what tenants are compared with. */
export async function compare(url: string, root: string): Promise<{ migrated: Side; defined: Side }> {
  const [one, other] = [await scratch(url), await scratch(url)]
  try {
    await Promise.all([applyMigrations(one.client, root), applyDefinitions(other.client, root)])
    const side = async ({ client }: Scratch) => ({
      ...(await readCatalogue(client)),
      fingerprint: await readFingerprint(client),
    })
    return { migrated: await side(one), defined: await side(other) }
  } finally {
    await Promise.all([one.remove(), other.remove()])
  }
}
