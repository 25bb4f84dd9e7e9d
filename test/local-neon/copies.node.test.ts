/** Threat: Postgres copies no database that somebody is connected to, and a branch fails that Neon would have made. */
import { Client, escapeIdentifier } from 'pg'
import { expect, test } from 'vitest'
import { at, sqlOf, started } from './started.ts'

const { ask, newProject, settled, state, start } = started()

/** A project whose database has a table `notes`, with its name in the cluster. */
async function newParent() {
  const project = await newProject()
  const sql = sqlOf(project.uri)
  await sql`create table notes (n int)`
  const [row] = await sql`select current_database() as name`
  return { ...project, sql, real: String(row?.name) }
}

const branchOff = async (path: string) => (await ask('POST', `${path}/branches`, { endpoints: [{ type: 'read_write' }] })).body

const stateOf = async (path: string, id: string) => (await ask('GET', `${path}/branches/${id}`)).body.branch.current_state

/** A connection to a database of the cluster beside the local Neon. */
async function connectTo(name: string) {
  const client = new Client({
    connectionString: Object.assign(new URL(state.postgresUrl), { pathname: `/${name}` }).href,
  })
  client.on('error', () => undefined)
  const ended = new Promise((done) => client.once('end', done))
  await client.connect()
  return { client, ended }
}

test('branches are made while others come and go in the parent, and none of them notices', async () => {
  const { path, sql } = await newParent()
  let made = false
  let written = 0
  const write = async () => {
    for (; !made; written++) await Promise.all([sql`insert into notes values (1)`, sql`select pg_sleep(0.01)`])
  }
  const writers = [write(), write(), write()]
  const ids = []
  for (let i = 0; i < 5; i++) ids.push((await branchOff(path)).branch.id)
  made = true
  await Promise.all(writers)
  for (const id of ids) expect(await stateOf(path, id)).toBe('ready')
  expect(await sql`select count(*)::int as n from notes`).toEqual([{ n: written }])
})

test('copies of one database at once take turns', async () => {
  const { branch, sql, uri } = await newParent()
  await ask('POST', `${branch}/databases`, { database: { name: 'beside', owner_name: 'neondb_owner' } })
  const beside = sqlOf(at(uri, 'beside'))
  const names = ['turn_a', 'turn_b', 'turn_c', 'turn_d']
  await Promise.all(names.map((name) => beside.query(`create database ${name} template neondb`)))
  const there = await sql`select datname as name from pg_database where datname like 'turn_%' order by 1`
  expect(there.map(({ name }) => name)).toEqual(names)
})

test('a statement that runs in the parent is finished first', async () => {
  const { path, sql, real } = await newParent()
  const { client } = await connectTo(real)
  // Neon's driver asks when its promise is waited for.
  const slow = sql`select 'slow' as it, pg_sleep(1.5)`.then((rows) => rows)
  const direct = client.query("select 'direct' as it, pg_sleep(1.5)")
  await new Promise((done) => setTimeout(done, 100))
  const { branch } = await branchOff(path)
  expect(await stateOf(path, branch.id)).toBe('ready')
  expect(await slow).toMatchObject([{ it: 'slow' }])
  expect((await direct).rows).toMatchObject([{ it: 'direct' }])
})

test('who is idle in the parent, beside the local Neon, is sent away, and may come back', async () => {
  const { path, real } = await newParent()
  const idle = await connectTo(real)
  const { branch } = await branchOff(path)
  expect(await stateOf(path, branch.id)).toBe('ready')
  await idle.ended
  const again = await connectTo(real)
  await again.client.end()
})

test('a parent that a stop left closed is open after the next start', async () => {
  const { path, sql, real, id } = await newParent()
  await state.stop()
  await start({ operationMs: 3_600_000 })
  const { branch } = await branchOff(path)
  const { client } = await connectTo('postgres')
  await client.query(`alter database ${escapeIdentifier(real)} allow_connections false`)
  await client.end()
  await state.stop()
  await start({ operationMs: 0 })
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }])
  await settled(id)
  expect(await stateOf(path, branch.id)).toBe('ready')
})
