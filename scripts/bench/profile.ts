import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from './inspector.ts'
import { ask, load, type Target } from './load.ts'
import { modulesOf } from './modules.ts'
import type { Stage } from './stage.ts'
import { legibleBundle, startWorkerd } from './workerd.ts'

export type Share = { where: string; percent: number }

type Frame = { functionName: string; url: string; lineNumber: number }
type CpuProfile = { nodes: { id: number; callFrame: Frame }[]; samples: number[]; timeDeltas: number[] }

const WARM = 400

/**
 * Where the CPU time of one kind of request goes, by package and by file of ours. In a separate workerd, because profiling slows
 * it down.
 */
export async function profileOf(stage: Stage, target: Target, requests: number): Promise<Share[]> {
  const legible = await legibleBundle(stage.outdir)
  const workerd = await startWorkerd(legible, { main: stage.stack.env }, true)
  try {
    const at = { ...target, port: workerd.ports.main ?? 0 }
    await ask({ ...at, path: '/bench/subject', body: { subdomain: stage.tenant.subdomain, token: await stage.signIn() } })
    await load(WARM, 8, () => at)
    const inspector = await inspect(workerd.inspector)
    await inspector.call('Profiler.enable')
    await inspector.call('Profiler.setSamplingInterval', { interval: 200 })
    await inspector.call('Profiler.start')
    await load(requests, 8, () => at)
    const { profile } = await inspector.call<{ profile: CpuProfile }>('Profiler.stop')
    await inspector.close()
    return shares(profile, await readFile(join(legible, 'entry.js'), 'utf8'))
  } finally {
    await workerd.stop()
  }
}

/** The functions' own times, summed by module. */
function shares(profile: CpuProfile, source: string): Share[] {
  const modules = modulesOf(source)
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, whereIs(callFrame, modules)]))
  const spent = new Map<string, number>()
  profile.samples.forEach((id, i) => {
    const where = names.get(id) ?? ''
    if (where !== '(idle)') spent.set(where, (spent.get(where) ?? 0) + (profile.timeDeltas[i] ?? 0))
  })
  const total = [...spent.values()].reduce((sum, value) => sum + value, 0)
  return [...spent]
    .map(([where, value]) => ({ where, percent: (value / total) * 100 }))
    .filter(({ percent }) => percent >= 1)
    .sort((a, b) => b.percent - a.percent)
}

function whereIs({ functionName, url, lineNumber }: Frame, modules: string[]): string {
  if (!url) return functionName.startsWith('(') ? functionName : `native ${functionName}`
  return modules[lineNumber] ?? url
}
