import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const READY_MS = 60_000
const QUIET = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  DO_NOT_TRACK: '1',
  NO_COLOR: '1',
}

/** Fails with one sentence when a port of this machine cannot be listened on. */
export async function checkPort(port: number): Promise<void> {
  const probe = createServer()
  await new Promise<void>((done, fail) => {
    probe.once('error', (error: NodeJS.ErrnoException) =>
      fail(
        new Error(
          `Port ${port} ${error.code === 'EADDRINUSE' ? 'is taken' : `cannot be used (${error.code})`}. Choose another with --port.`,
        ),
      ),
    )
    probe.listen(port, '127.0.0.1', done)
  })
  await new Promise((done) => probe.close(done))
}

/**
 * Stops the Worker of a start that was killed: it would hold the port. Fails when that start is alive, because then the folder is
 * in use.
 */
export async function endOrphan(dataDir: string, port: number): Promise<void> {
  const known = await readFile(join(dataDir, 'worker.pid'), 'utf8').catch(() => null)
  if (!known) return
  const [parent = 0, group = 0] = known.split(' ').map(Number)
  if (await runs(parent, 'scripts/dev/main.ts'))
    throw new Error(`The data folder ${dataDir} is in use by process ${parent}. Choose another with --data.`)
  if (await runs(group, dataDir)) {
    signal(group, 'SIGKILL')
    // The kernel closes its port a moment later.
    for (
      let tries = 0;
      tries < 40 &&
      (await checkPort(port).then(
        () => false,
        () => true,
      ));
      tries++
    )
      await pause(100)
  }
  await rm(join(dataDir, 'worker.pid'), { force: true })
}

const runs = async (pid: number, word: string) => (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(word)

/**
 * Runs the Worker in workerd through wrangler, with these settings; its state is in the data folder. Resolves when it answers.
 */
export async function startWorker(options: {
  dataDir: string
  port: number
  env: Record<string, string>
  log: (line: string) => void
}) {
  const { dataDir, port, env, log } = options
  const file = join(dataDir, 'worker.env')
  await writeFile(
    file,
    Object.entries(env)
      .map(([name, value]) => `${name}="${value}"\n`)
      .join(''),
    { mode: 0o600 },
  )
  const args = [
    'dev',
    '--ip',
    '127.0.0.1',
    '--port',
    String(port),
    '--inspector-port',
    '0',
    '--show-interactive-dev-session=false',
    '--log-level',
    'log',
  ]
  const child = spawn(
    process.execPath,
    [join(ROOT, 'node_modules/wrangler/bin/wrangler.js'), ...args, '--persist-to', join(dataDir, 'worker'), '--env-file', file],
    {
      cwd: ROOT,
      env: { ...process.env, ...QUIET, WRANGLER_LOG_PATH: join(dataDir, 'logs') },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own process group: a terminal's Ctrl-C reaches this program, which then ends the Worker before the database.
      detached: true,
    },
  )
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => log(chunk.toString().trimEnd()))
  await writeFile(join(dataDir, 'worker.pid'), `${process.pid} ${child.pid}`)
  const stop = async () => {
    await end(child)
    await rm(join(dataDir, 'worker.pid'), { force: true })
  }
  try {
    await answers(child, port)
  } catch (error) {
    await stop()
    throw error
  }
  return { stop, exited: new Promise<void>((done) => child.once('exit', () => done())) }
}

async function answers(child: ChildProcess, port: number): Promise<void> {
  for (const until = Date.now() + READY_MS; Date.now() < until; await pause(50)) {
    if (child.exitCode !== null) throw new Error('The Worker did not start; its last output is above.')
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null)
    if (answer?.ok) return
  }
  throw new Error(`The Worker did not answer within ${READY_MS / 1000} s.`)
}

/** Ends the whole group: wrangler, and the workerd that it started. */
async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return
  const gone =
    child.exitCode === null && child.signalCode === null ? new Promise((done) => child.once('exit', done)) : Promise.resolve()
  signal(child.pid, 'SIGTERM')
  await Promise.race([gone, pause(4_000)])
  signal(child.pid, 'SIGKILL')
}

function signal(group: number, name: NodeJS.Signals) {
  try {
    process.kill(-group, name)
  } catch {
    // The group has ended.
  }
}
