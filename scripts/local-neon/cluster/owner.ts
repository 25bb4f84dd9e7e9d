import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Log } from './log.ts'

// Two servers in one folder destroy it. The folder therefore has an owner, and a Postgres whose owner was killed is stopped
// before another is started.

const run = promisify(execFile)
const PATIENCE_MS = 5_000

/** Claims the folder for this process. Fails when another running process owns it. Returns the function that releases it. */
export async function claimFolder(home: string): Promise<() => Promise<void>> {
  const file = join(home, 'owner')
  const [pid = '', started = ''] = (await readFile(file, 'utf8').catch(() => '')).split(' ')
  if (pid && alive(Number(pid)) && started === (await startOf(Number(pid)))) {
    throw new Error(`The folder ${home} is in use by process ${pid}`)
  }
  await writeFile(file, `${process.pid} ${await startOf(process.pid)}`).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`The folder ${home} is not writable: ${error.code ?? error.message}`)
  })
  return () => rm(file, { force: true })
}

/** Stops the Postgres that a killed process left running on this cluster. */
export async function stopOrphan(cluster: string, log: Log): Promise<void> {
  const pid = Number((await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0])
  if (!pid || !(await serves(pid, cluster))) return
  log(`stopping the Postgres that was left behind (process ${pid})`)
  signal(pid, 'SIGINT')
  for (let waited = 0; await serves(pid, cluster); waited += 20) {
    if (waited === PATIENCE_MS) signal(pid, 'SIGKILL')
    if (waited > 2 * PATIENCE_MS) throw new Error(`Another Postgres uses ${cluster} and does not stop (process ${pid})`)
    await sleep(20)
  }
}

/** Whether a process is the Postgres of this cluster. A zombie has no command line, so it does not count. */
async function serves(pid: number, cluster: string) {
  if (!alive(pid)) return false
  const command = await commandOf(pid)
  return command.includes('postgres') && command.includes(cluster)
}

function alive(pid: number) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function signal(pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself.
  }
}

async function commandOf(pid: number) {
  const [file, args] =
    process.platform === 'win32' ? ['tasklist', ['/fi', `pid eq ${pid}`]] : ['ps', ['-o', 'command=', '-p', `${pid}`]]
  const cmdline = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  return cmdline?.replaceAll('\0', ' ') ?? (await run(file, args).catch(() => ({ stdout: '' }))).stdout
}

/** When a process started, so that a process that got the same number later is not taken for it. Empty where /proc is missing. */
async function startOf(pid: number) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}
