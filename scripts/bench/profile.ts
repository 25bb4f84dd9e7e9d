import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ask, load, type Target } from './load.ts'
import type { Stage } from './stage.ts'
import { bundle, startWorkerd } from './workerd.ts'

export type Share = { where: string; percent: number }

type Frame = { functionName: string; url: string; lineNumber: number }
type CpuProfile = { nodes: { id: number; callFrame: Frame }[]; samples: number[]; timeDeltas: number[] }

const WARM = 400

/**
 * Where the CPU time of one kind of request goes, by package and by file of ours. In a separate workerd, because profiling slows
 * it down.
 */
export async function profileOf(stage: Stage, target: Target, requests: number): Promise<Share[]> {
  const legible = join(stage.outdir, '../legible')
  await mkdir(legible, { recursive: true })
  await bundle(legible, true)
  const workerd = await startWorkerd(legible, { main: stage.stack.env }, true)
  try {
    const at = { ...target, port: workerd.ports.main ?? 0 }
    await ask({ ...at, path: '/bench/subject', body: { subdomain: stage.tenant.subdomain, token: await stage.signIn() } })
    await load(WARM, 8, () => at)
    const call = await inspect(workerd.inspector)
    await call('Profiler.enable')
    await call('Profiler.setSamplingInterval', { interval: 200 })
    await call('Profiler.start')
    await load(requests, 8, () => at)
    const { profile } = (await call('Profiler.stop')) as { profile: CpuProfile }
    await call.close()
    return shares(profile, await readFile(join(legible, 'entry.js'), 'utf8'))
  } finally {
    await workerd.stop()
  }
}

/** A connection that speaks the debugger's protocol with the first Worker that the inspector offers. */
async function inspect(inspector: URL | null) {
  const offered = (await (await fetch(`http://${inspector?.host}/json`)).json()) as { webSocketDebuggerUrl: string }[]
  const socket = new WebSocket(offered[0]?.webSocketDebuggerUrl ?? '')
  await new Promise((done, fail) => {
    socket.addEventListener('open', done, { once: true })
    socket.addEventListener('error', () => fail(new Error('workerd cannot be inspected.')), { once: true })
  })
  const waiting = new Map<number, (result: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    if (id !== undefined) waiting.get(id)?.(result)
  })
  let last = 0
  const call = (method: string, params: object = {}) =>
    new Promise<unknown>((done) => {
      waiting.set(++last, done)
      socket.send(JSON.stringify({ id: last, method, params }))
    })
  const close = () =>
    new Promise<void>((done) => {
      socket.addEventListener('close', () => done(), { once: true })
      socket.close()
    })
  return Object.assign(call, { close })
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

/** The module of each line of a bundle, from the comments that esbuild puts before each: a package's name, or a file of ours. */
function modulesOf(source: string): string[] {
  let module = 'the bundle itself'
  return source.split('\n').map((line) => {
    const [, path] = /^\/\/ (\S+\.(?:[cm]?[jt]s|sql))$/.exec(line) ?? []
    if (path) module = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path.replace(/^(\.\.\/)*/, '')
    return module
  })
}
