import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { beforeAll, expect, test } from 'vitest'
import { startPostgres } from '../../scripts/local-neon/postgres.ts'
import { temporaryFolder } from '../../scripts/local-neon/temporary-folder.ts'

let home = ''
const dataDir = () => join(home, 'private', 'data')

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
  await mkdir(join(home, 'private'), { mode: 0o700 })
  const first = await startPostgres({ dataDir: dataDir(), durable: false })
  expect(await query(first.url, 'select current_user as me')).toEqual([{ me: 'cloud_admin' }])
  await query(first.url, 'create table kept as select 1 as one')
  await first.stop()
  const second = await startPostgres({ dataDir: dataDir(), durable: false })
  expect(await query(second.url, 'select * from kept')).toEqual([{ one: 1 }])
  expect((await stat(join(dataDir(), 'cloud_admin.password'))).mode & 0o777).toBe(0o600)
  await second.stop()
})

test('it lets nobody in without the password, and nobody but its superuser into the common databases', async () => {
  const { url, stop } = await startPostgres({ dataDir: dataDir(), durable: false })
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
  await expect(startPostgres({ dataDir: dataDir(), port })).rejects.toThrow(`Port ${port} is taken`)
  taken.close()
  await writeFile(join(home, 'file'), '')
  for (const dataDir of [join(home, 'file', 'data'), '/proc/data', join(home, 'file')]) {
    await expect(startPostgres({ dataDir })).rejects.toThrow(/^The folder .* cannot be made: E[A-Z]+$/)
  }
})

/** Another process that starts Postgres here, and how it says so. */
async function elsewhere(then: string): Promise<{ child: ChildProcess; url: string }> {
  const script = join(home, `start-${then.length}.ts`)
  const module = new URL('../../scripts/local-neon/postgres.ts', import.meta.url).href
  await writeFile(
    script,
    `import { startPostgres } from '${module}'
    const { url } = await startPostgres({ dataDir: ${JSON.stringify(dataDir())}, durable: false })
    console.log(url)
    ${then}`,
  )
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [line] = await once(child.stdout, 'data')
  return { child, url: String(line).trim() }
}

const connects = (url: string) =>
  query(url, 'select 1').then(
    () => true,
    () => false,
  )

test('it ends when its parent does, by itself or by an exception', async () => {
  for (const then of ['process.exit(0)', 'throw new Error("on purpose")']) {
    const { child, url } = await elsewhere(`setTimeout(() => { ${then} }, 50)`)
    if (child.exitCode === null) await once(child, 'exit')
    await expect.poll(() => connects(url)).toBe(false)
  }
})

test('one whose parent was killed gives way to the next, which finds its data', async () => {
  const { child, url } = await elsewhere('setInterval(() => {}, 1000)')
  await query(url, 'create table orphaned as select 1 as one')
  await expect(startPostgres({ dataDir: dataDir() })).rejects.toThrow(`is in use by process ${child.pid}`)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const next = await startPostgres({ dataDir: dataDir(), durable: false })
  expect(await query(next.url, 'select * from orphaned')).toEqual([{ one: 1 }])
  expect(await connects(url)).toBe(false)
  await next.stop()
})

test('one that was left running where no kernel stopped it is stopped by the next', async () => {
  const left = await startPostgres({ dataDir: dataDir(), durable: false })
  await rm(join(dataDir(), 'owner'))
  const lines: string[] = []
  const next = await startPostgres({ dataDir: dataDir(), durable: false, log: (line) => lines.push(line) })
  expect(lines[0]).toMatch(/^stopping the Postgres that was left behind/)
  expect(await connects(left.url)).toBe(false)
  expect(await connects(next.url)).toBe(true)
  await next.stop()
})
