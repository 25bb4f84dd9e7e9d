import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { beforeAll, expect, test } from 'vitest'
import { startPostgres } from '../../scripts/local-neon/postgres.ts'
import { temporaryFolder } from '../../scripts/local-neon/temporary-folder.ts'

let home = ''

beforeAll(async () => {
  const { path, remove } = await temporaryFolder('postgres')
  home = path
  return remove
})

async function query(url: string, text: string) {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query(text)
  await client.end()
  return rows
}

test('it keeps its data, in a folder that only its owner can read, under a private one', async () => {
  const dataDir = join(home, 'private', 'data')
  await mkdir(join(home, 'private'), { mode: 0o700 })
  const first = await startPostgres({ dataDir, durable: false })
  expect(await query(first.url, 'select current_user as me')).toEqual([{ me: 'cloud_admin' }])
  await query(first.url, 'create table kept as select 1 as one')
  await first.stop()
  const second = await startPostgres({ dataDir, durable: false })
  expect(await query(second.url, 'select * from kept')).toEqual([{ one: 1 }])
  expect((await stat(join(dataDir, 'cloud_admin.password'))).mode & 0o777).toBe(0o600)
  await second.stop()
})

test('it lets nobody in without the password, and nobody but its superuser into the common databases', async () => {
  const { url, stop } = await startPostgres({ dataDir: join(home, 'private', 'data'), durable: false })
  const stranger = Object.assign(new URL(url), { password: 'guess' }).href
  await expect(query(stranger, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  await query(url, "create role guest login password 'guest-pass-1'")
  const guest = Object.assign(new URL(url), { username: 'guest', password: 'guest-pass-1' }).href
  await expect(query(guest, 'select 1')).rejects.toMatchObject({ code: '42501' })
  await expect(query(guest.replace('/postgres', '/template1'), 'select 1')).rejects.toMatchObject({ code: '42501' })
  await stop()
})

test('a taken port and a folder that cannot be written are told in a sentence', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const address = taken.address()
  const port = typeof address === 'object' && address ? address.port : 0
  await expect(startPostgres({ dataDir: join(home, 'private', 'data'), port })).rejects.toThrow(`Port ${port} is taken`)
  taken.close()
  await writeFile(join(home, 'file'), '')
  await expect(startPostgres({ dataDir: join(home, 'file', 'data') })).rejects.toThrow(/^The folder .* cannot be made/)
})

/** Another process that starts Postgres here, and how it says so. */
async function elsewhere(dataDir: string, then: string): Promise<{ child: ChildProcess; postgres: number; url: string }> {
  const script = join(home, `start-${then.length}.ts`)
  const module = new URL('../../scripts/local-neon/postgres.ts', import.meta.url).href
  await writeFile(
    script,
    `import { startPostgres } from '${module}'
    const { url } = await startPostgres({ dataDir: ${JSON.stringify(dataDir)}, durable: false })
    console.log(url)
    ${then}`,
  )
  await chmod(script, 0o755)
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data')
  const url = String(line).trim()
  const [row] = await query(url, 'select pg_backend_pid() as pid')
  return { child, postgres: row.pid, url }
}

const connects = (url: string) =>
  query(url, 'select 1').then(
    () => true,
    () => false,
  )

test('it ends when its parent does, by itself or by an exception', async () => {
  for (const then of ['process.exit(0)', 'setTimeout(() => { throw new Error("on purpose") }, 200); console.error = () => {}']) {
    const { child, url } = await elsewhere(join(home, 'ending'), `setTimeout(() => { ${then} }, 300)`)
    if (child.exitCode === null) await once(child, 'exit')
    await expect.poll(() => connects(url)).toBe(false)
  }
})

test('one whose parent was killed gives way to the next, which finds its data', async () => {
  const dataDir = join(home, 'orphan')
  const { child, url } = await elsewhere(dataDir, 'setInterval(() => {}, 1000)')
  await query(url, 'create table kept as select 1 as one')
  await expect(startPostgres({ dataDir })).rejects.toThrow(`is in use by process ${child.pid}`)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const next = await startPostgres({ dataDir, durable: false })
  expect(await query(next.url, 'select * from kept')).toEqual([{ one: 1 }])
  expect(await connects(url)).toBe(false)
  await next.stop()
})
