import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { findBinaries } from './cluster/binaries.ts'
import { initCluster } from './cluster/init.ts'
import type { Log } from './cluster/log.ts'
import { claimFolder, stopOrphan } from './cluster/owner.ts'
import { prepareRoles } from './cluster/roles.ts'
import { runAs } from './cluster/run-as.ts'

export interface PostgresOptions {
  /** The folder of the cluster; created if it does not exist. */
  dataDir: string
  /** 0, the default, takes a free port. */
  port?: number
  /** False trades safety against a crash of the machine for speed. For tests. */
  durable?: boolean
  log?: Log
}

export interface Postgres {
  /** The superuser's connection string. */
  url: string
  port: number
  stop(): Promise<void>
}

const STOP_MS = 5_000

/** Starts a real Postgres on 127.0.0.1 with its data in `dataDir`. It ends with this process. */
export async function startPostgres({ dataDir, port = 0, durable = true, log = () => {} }: PostgresOptions): Promise<Postgres> {
  const home = resolve(dataDir)
  await makeFolder(home).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`The folder ${home} cannot be made: ${error.code ?? error.message}`)
  })
  const release = await claimFolder(home)
  try {
    const cluster = join(home, 'postgres')
    await stopOrphan(cluster, log)
    const binaries = await findBinaries()
    const user = await runAs()
    const password = await initCluster({ home, cluster, initdb: binaries.initdb, user, log })
    const chosen = await freePort(port)
    const command = user.wrap([binaries.postgres, '-D', cluster, '-p', String(chosen), ...settings(durable)])
    const server = await launch(command, user.ids, log)
    const url = `postgresql://cloud_admin:${password}@127.0.0.1:${chosen}/postgres`
    await prepareRoles(url)
    const stop = async () => {
      await end(server)
      await release()
    }
    return { url, port: chosen, stop }
  } catch (error) {
    await release()
    throw error
  }
}

/** As `mkdir -p`. Node's own `recursive` never returns where the kernel answers ENOENT for an existing folder (/proc). */
async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return
  if (!(await isFolder(dirname(path)))) await makeFolder(dirname(path))
  await mkdir(path)
}

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

/** Settings for a laptop: commits survive a crash of Postgres, but the last moments may be lost when the machine crashes. */
function settings(durable: boolean) {
  const chosen: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '300',
    shared_buffers: '64MB',
    jit: 'off',
    timezone: 'UTC',
    password_encryption: 'scram-sha-256',
    log_min_messages: 'log',
    log_checkpoints: 'off',
    // Copying the template is most of the cost of creating a database; the kernel copies faster than Postgres.
    ...(process.platform === 'linux' ? { file_copy_method: 'clone' } : {}),
    // Nor is it vacuumed: with hundreds of databases that would start a process several times a second, and none lives that long.
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off', autovacuum: 'off' }),
  }
  return Object.entries(chosen).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

async function freePort(wanted: number): Promise<number> {
  const probe = createServer()
  return new Promise((done, fail) => {
    probe.once('error', (error: NodeJS.ErrnoException) =>
      fail(
        new Error(error.code === 'EADDRINUSE' ? `Port ${wanted} is taken` : `Port ${wanted} cannot be used: ${error.message}`),
      ),
    )
    probe.listen(wanted, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => done(typeof address === 'object' && address ? address.port : wanted))
    })
  })
}

/** Resolves when the server accepts connections. It has a process group of its own, so that Ctrl-C reaches its parent first. */
function launch([file = '', ...args]: string[], ids: { uid?: number; gid?: number }, log: Log): Promise<ChildProcess> {
  const server = spawn(file, args, { ...ids, detached: true, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' })
  const endWithParent = () => server.kill('SIGINT')
  process.once('exit', endWithParent)
  const said: string[] = []
  return new Promise((done, fail) => {
    server.once('error', (error) => fail(new Error(`Postgres could not be started: ${error.message}`)))
    server.once('exit', () => {
      process.off('exit', endWithParent)
      fail(new Error(`Postgres did not start: ${said.slice(-3).join(' ')}`))
    })
    server.stderr.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter(Boolean)) {
        said.push(line)
        if (said.length > 20) said.shift()
        log(line)
      }
      if (text.includes('ready to accept connections')) done(server)
    })
  })
}

async function end(server: ChildProcess) {
  if (server.exitCode !== null || server.signalCode !== null) return
  const gone = new Promise((done) => server.once('exit', done))
  server.kill('SIGINT')
  const impatience = setTimeout(() => server.kill('SIGKILL'), STOP_MS)
  await gone
  clearTimeout(impatience)
}
