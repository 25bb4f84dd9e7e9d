/**
 * A whole tenant as a file. Threat: a row that is left out, or arrives as another one, and nobody notices before the tenant is erased; a
 * file of two moments; one that everybody on the machine reads; an export that nobody knows of.
 */
import { spawnSync } from 'node:child_process'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@exported.test', password: 'Quiet-harbour-31' }
const has_restore = spawnSync('pg_restore', ['--version']).status === 0

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let url: string
let stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  folder = await folderWithMaster('freehold-export')
  stops = [folder.remove]
  const port = await freePort()
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  const operator = { ...OPERATOR, must_change_password: false }
  stack = await startStack({ ...quiet, given: { ...LOW_COST, BASE_URL: url, ...KEYS }, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
  stops.unshift(worker.stop)
  const env = {
    FREEHOLD_URL: url,
    FREEHOLD_EMAIL: OPERATOR.email,
    FREEHOLD_PASSWORD: OPERATOR.password,
    FREEHOLD_ADMIN_PASSWORD: ADMIN.password,
  }
  const about = ['--legal-name', 'Exported S.A.C.', '--tax-id', rucFor('exported'), '--admin-email', ADMIN.email]
  const made = await freehold(['tenants', 'create', 'exported', ...about], env)
  expect(made.code, made.stderr).toBe(0)
  await inDatabase('freehold_exported', ODD)
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address ? address.port : 0
}

/** People with whatever a text can hold. */
const ODD = `set role freehold_owner; insert into freehold.users (id, username, email, role, given_name, family_name, description, preferences)
  select gen_random_uuid(), 'odd' || n, 'odd' || n || '@exported.test', 'user', E'tab\\there', E'line\\nand\\r\\\\back\\\\N', 'ñ ü 漢 🙂 "quoted" ''single''', '{"a": [1, null, "x\\\\ty"]}'
  from generate_series(1, 3000) n`

const master = () => ({
  MASTER_DATABASE_URL: String(stack.env.MASTER_DATABASE_URL),
  ENCRYPTION_KEYS: String(stack.env.ENCRYPTION_KEYS),
  OWNER_KEYS: String(stack.env.OWNER_KEYS),
  NEON_SQL_URL: stack.neon.sqlUrl,
})
const take = (name: string, ...more: string[]) =>
  freehold(['tenants', 'export', 'exported', join(folder.path, name), ...more], master())
const at = (database: string) => Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${database}` }).href

/** As the superuser of the cluster, past everything. */
async function inDatabase(database: string, ...texts: string[]): Promise<Record<string, any>[]> {
  const client = new Client({ connectionString: at(database) })
  await client.connect()
  try {
    let rows: Record<string, any>[] = []
    for (const text of texts) rows = (await client.query(text)).rows
    return rows
  } finally {
    await client.end()
  }
}

/** All tables of a database, with how many rows each has and a hash of all of them. */
async function contents(database: string) {
  const tables = await inDatabase(
    database,
    `select c.oid::regclass::text as name from pg_class c where c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and c.relkind = 'r' order by 1`,
  )
  const parts = tables.map(
    ({ name }) =>
      `select '${name}' as name, count(*)::int as rows, md5(string_agg(to_jsonb(t)::text, '|' order by to_jsonb(t)::text)) as hash from ${name} t`,
  )
  return inDatabase(database, `set timezone = 'UTC'; set extra_float_digits = 1`, `${parts.join(' union all ')} order by 1`)
}
/** What is made of tables, constraints, triggers, functions, policies and grants. */
const made = (database: string) =>
  inDatabase(
    database,
    `select 'trigger' as kind, t.tgrelid::regclass || ' ' || t.tgname || ' ' || t.tgenabled::text as what from pg_trigger t where not t.tgisinternal and t.tgrelid::regclass::text ~ '^(freehold|access)'
     union all select 'constraint', k.conrelid::regclass || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid) from pg_constraint k where k.connamespace in ('freehold'::regnamespace, 'access'::regnamespace) and k.conrelid <> 0
     union all select 'function', p.oid::regprocedure || ' ' || md5(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '')) || ' ' || coalesce(p.proacl::text, '') from pg_proc p where p.pronamespace in ('freehold'::regnamespace, 'access'::regnamespace)
     union all select 'policy', p.polrelid::regclass || ' ' || p.polname || ' ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '') from pg_policy p
     union all select 'table', c.oid::regclass || ' ' || c.relrowsecurity || ' ' || pg_get_userbyid(c.relowner) || ' ' || coalesce(c.relacl::text, '') from pg_class c where c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and c.relkind in ('r', 'i', 'S')
     order by 1, 2`,
  )

describe('an export', () => {
  it.skipIf(!has_restore)(
    'is restored by pg_restore into an empty database as the tenant was, hashes included',
    { timeout: 120_000 },
    async () => {
      const done = await take('whole.dump', '--json')
      expect(done.code, done.stderr).toBe(0)
      const said = JSON.parse(done.stdout)
      expect(said).toMatchObject({ subdomain: 'exported', drifted: 0, listed: true })
      expect(said.rows['freehold.users']).toBe(3001)
      await inDatabase('postgres', 'create database restored_of_export')
      const file = join(folder.path, 'whole.dump')
      const ran = spawnSync('pg_restore', ['--exit-on-error', '--dbname', at('restored_of_export'), file], { encoding: 'utf8' })
      expect([ran.status, ran.stderr]).toEqual([0, ''])
      const [before, after] = [await contents('freehold_exported'), await contents('restored_of_export')]
      expect(before.length).toBeGreaterThan(20)
      expect(after).toEqual(before)
      expect(await made('restored_of_export')).toEqual(await made('freehold_exported'))
      // It is in use again as it was: a trigger writes the audit.
      const [audited] = await inDatabase(
        'restored_of_export',
        `set role freehold_owner; update freehold.users set given_name = 'Bo' where username = 'odd1'`,
        `select count(*)::int as n from freehold.audit_log where resource_type = 'user' and action = 'update'`,
      )
      expect(audited?.n).toBeGreaterThan(0)
    },
  )

  it('is in the audit of the platform, and only its owner reads the file', async () => {
    expect((await take('private.dump')).code).toBe(0)
    const { mode } = await stat(join(folder.path, 'private.dump'))
    expect(mode & 0o777).toBe(0o600)
    const file = await readFile(join(folder.path, 'private.dump'))
    expect(file.subarray(0, 5).toString()).toBe('PGDMP')
    const client = new URL(String(stack.env.MASTER_DATABASE_URL)).pathname.slice(1)
    const entries = await inDatabase(
      client,
      `select l.action from freehold.audit_log l where l.activity_type = 'TENANT_EXPORTED' and l.resource_type = 'tenant'`,
    )
    expect(entries.length).toBeGreaterThan(0)
  })

  it('during which somebody writes fails, says where, and leaves no file', async () => {
    const client = new Client({ connectionString: at('freehold_exported') })
    await client.connect()
    let is_over = false
    const writing = (async () => {
      for (let n = 0; !is_over; n++)
        await client.query(`update freehold.users set designation = $1 where username = 'odd7'`, [`clerk ${n}`])
    })()
    const failed = await take('moving.dump')
    is_over = true
    await writing
    await client.end()
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/Rows were written while the tenant was exported \(.*freehold\.users.*\): deactivate it first/)
    expect((await readdir(folder.path)).filter((name) => name.startsWith('moving'))).toEqual([])
  })

  it('of nobody, or to a file that exists, is refused', async () => {
    const nobody = await freehold(['tenants', 'export', 'nobody', join(folder.path, 'nobody.dump')], master())
    expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining('There is no tenant nobody with a database.') })
    const file = join(folder.path, 'there.dump')
    await writeFile(file, 'mine')
    expect((await take('there.dump')).stderr).toContain('exists: choose another name')
    expect(await readFile(file, 'utf8')).toBe('mine')
    // What another export is writing stays its own.
    const draft = join(folder.path, 'other.dump.partial')
    await writeFile(draft, 'theirs')
    expect((await take('other.dump')).stderr).toContain('other.dump.partial exists: another export writes it')
    expect([await readFile(draft, 'utf8'), (await readdir(folder.path)).includes('other.dump')]).toEqual(['theirs', false])
    expect((await take('no/such/folder.dump')).stderr).toContain('cannot be written: ENOENT')
  })
})
