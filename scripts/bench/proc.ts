import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'

/** What the kernel says about processes, in /proc. */

const TICK_MS = 10
const PAGE_BYTES = 4096

/** Fails where there is no /proc, as outside Linux: better no number than a wrong one. */
export function requireProc(folder = '/proc'): void {
  if (!existsSync(`${folder}/self/stat`))
    throw new Error('The bench reads CPU and memory from /proc, which this machine does not have.')
}

/** The fields of /proc/<pid>/stat, from the third on: the name before them may hold anything. Empty when there is no such process. */
async function statOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

const field = (stat: string[], number: number) => Number(stat[number - 3] ?? 0)

/**
 * CPU of a process with all of its threads, as the scheduler counts it, in nanoseconds; in ticks of 10 ms where the kernel keeps no
 * such count. A thread that ended is missing: workerd's and Postgres' stay.
 */
export async function cpuMs(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const counts = await Promise.all(threads.map((id) => readFile(`/proc/${pid}/task/${id}/schedstat`, 'utf8').catch(() => null)))
  if (counts.length && counts.every((text) => text !== null))
    return counts.reduce((sum, text) => sum + Number(text?.split(' ')[0]) / 1e6, 0)
  const stat = await statOf(pid)
  return (field(stat, 14) + field(stat, 15)) * TICK_MS
}

export const residentMb = async (pid: number) => (field(await statOf(pid), 24) * PAGE_BYTES) / 2 ** 20

/** What of it is mapped from files. */
export async function programMb(pid: number): Promise<number> {
  const [, kb] = /^RssFile:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')) ?? []
  return Number(kb ?? 0) / 1024
}

export const parentOf = async (pid: number) => field(await statOf(pid), 4)

/** The processes that a process started and that have not ended; only those of a name, if one is given. */
export async function childrenOf(parent: number, name?: string): Promise<number[]> {
  const ids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))
  const stats = await Promise.all(ids.map((id) => readFile(`/proc/${id}/stat`, 'utf8').catch(() => '')))
  return ids
    .filter((_, i) => {
      const [, called, started] = /^\d+ \((.*)\) \S (\d+)/s.exec(stats[i] ?? '') ?? []
      return Number(started) === parent && (name === undefined || called === name)
    })
    .map(Number)
}

/** CPU of a process and of all its children, those that ended among them. */
export async function familyCpuMs(parent: number): Promise<number> {
  for (;;) {
    const before = await endedMs(parent)
    const running = await Promise.all([parent, ...(await childrenOf(parent))].map(cpuMs))
    // A child that ended in between was counted twice, or not at all.
    if ((await endedMs(parent)) === before) return running.reduce((sum, ms) => sum + ms, before)
  }
}

async function endedMs(pid: number): Promise<number> {
  const stat = await statOf(pid)
  return (field(stat, 16) + field(stat, 17)) * TICK_MS
}
