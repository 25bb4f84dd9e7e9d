import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { Failure } from '../freehold/failure.ts'
import { pack } from './archive.ts'
import { checkOut, type Origin } from './checkout.ts'
import { type Kept, keep } from './kept.ts'
import { type Facts, type Lived, live } from './living.ts'

export type KeptData = Origin & { made_at: string; lived: Lived }

/** What the next start makes anew, or what is only of a start that has ended. */
const MADE_ANEW = [
  'logs',
  'owner',
  'worker.env',
  'worker.pid',
  '.writable',
  'worker/v3/observability',
  'postgres/postmaster.opts',
]

/**
 * Keeps a data folder of `npm start` of a commit, with tenants, people and what they have. `folder` is for the work. Fails when that commit's
 * `npm start` does, with its words.
 */
export async function keepData(ref: string, folder: string, say: (line: string) => void): Promise<Kept> {
  const tree = join(folder, 'tree')
  const origin = await checkOut(ref, tree, say)
  const data = join(folder, 'data')
  say('Starting it: npm start.')
  const started = await start(tree, data)
  let lived: Lived
  try {
    say('Filling its data folder.')
    lived = await live(started.facts)
    await shortenLog(started.facts.postgres_url)
  } finally {
    await started.stop()
  }
  for (const name of MADE_ANEW) await rm(join(data, name), { recursive: true, force: true })
  say('Compressing the data folder.')
  return keep('data', { ...origin, made_at: new Date().toISOString(), lived }, (file) => pack(data, file))
}

async function start(tree: string, data: string): Promise<{ facts: Facts; stop: () => Promise<void> }> {
  const { BASE_URL: _, ...env } = process.env
  const args = ['scripts/dev/main.ts', '--json', '--data', data, '--port', String(await freePort())]
  const child = spawn(process.execPath, args, { cwd: tree, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  let out = ''
  let err = ''
  child.stderr.on('data', (part) => {
    err += part
  })
  await Promise.race([
    closed,
    new Promise<void>((done) => {
      child.stdout.on('data', (part) => {
        out += part
        if (out.includes('\n')) done()
      })
    }),
  ])
  if (!out.includes('\n')) throw new Failure(`npm start of that commit failed: ${err.trim()}`)
  return { facts: JSON.parse(out), stop: () => stop(child, closed, () => err) }
}

/** Ends a start as Ctrl-C does: Postgres then writes a checkpoint, after which no log is needed. */
async function stop(child: ChildProcess, closed: Promise<unknown[]>, said: () => string) {
  child.kill('SIGINT')
  const [code] = await closed
  if (code !== 0) throw new Failure(`npm start of that commit did not end well (${code}): ${said().trim()}`)
}

/** Segments that are there already and will be written next: at most as many as min_wal_size holds. */
const SPARE_SEGMENTS = 6

/**
 * Leaves one segment of the write-ahead log, of zeros but for the checkpoint of the end. The server reuses old segments without emptying them, and
 * 16 MiB of old log are more than all databases when they are compressed.
 */
async function shortenLog(postgres_url: string) {
  const client = new Client({ connectionString: postgres_url })
  await client.connect()
  try {
    await client.query('alter system set wal_recycle = off')
    await client.query('select pg_reload_conf()')
    await client.query('select pg_sleep(1)')
    for (let i = 0; i < SPARE_SEGMENTS; i++) {
      await client.query('checkpoint')
      await client.query('select pg_switch_wal()')
    }
    // The server goes by what it has read, until it is started again.
    await client.query('alter system reset wal_recycle')
  } finally {
    await client.end()
  }
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
  const { port } = probe.address() as { port: number }
  await new Promise((done) => probe.close(done))
  return port
}
