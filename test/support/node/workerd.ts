/**
 * The Worker as it is deployed, in workerd, on a port of its own. Nothing is in front of it: `wrangler dev` passes each request through
 * two programs more, and takes ten times as long for thousands of them.
 */
import { join } from 'node:path'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { bundle, modulesIn, type WorkerOptions, workerOptions } from '../../../scripts/release/worker.ts'
import { madeOnce, ROOT } from './made-once.ts'

const NAME = 'freehold'
const SECOND = 'second'
/** As many as the tests like. */
const PLENTY = { limit: 1_000_000, period: 60 as const }
type Run = {
  /** The folder of a bundle. */
  modules: string
  options: WorkerOptions
  env: Record<string, string>
  /** A folder in which KV outlasts the Worker; without it nothing does. */
  state?: string
  /** Where it listens; without it, on a port that is free. */
  port?: number
  /** A second Worker with the same settings, KV and Durable Objects, as an isolate elsewhere. */
  twice?: boolean
  /** Is told each line of the log. */
  heard?: (line: string) => void
}

/** What a bundle is made of. */
const BUNDLED = ['src/**/*', 'wrangler.toml', 'tsconfig.json', 'package-lock.json', 'scripts/bundle/*']

/** The folder of the Worker's bundle. */
export const bundled = () => madeOnce('bundled', BUNDLED, (folder) => bundle(ROOT, folder))

/** Bundles the Worker, unless that was done, and runs it with the bindings of wrangler.toml and these settings. */
export const startInWorkerd = async (env: Record<string, string>, more: Pick<Run, 'state' | 'twice' | 'port'> = {}) =>
  runBundle(await bundled(), env, more)

/** Runs a bundle with the bindings of wrangler.toml and these settings. */
export const runBundle = (outdir: string, env: Record<string, string>, more: Pick<Run, 'state' | 'twice' | 'port'> = {}) =>
  runInWorkerd({ modules: outdir, options: workerOptions(ROOT), env, ...more })

/** Runs a bundle. `schedule` runs the job of every minute, and resolves when it is done. */
export async function runInWorkerd({ modules, options, env, state, twice = false, port = 0, heard }: Run) {
  const { bindings, ratelimits, ...others } = options
  const texts = (await modulesIn(modules)).filter((file) => file !== 'index.js')
  const limiters = Object.entries(ratelimits).map(([name, limiter]) => [name, { ...limiter, simple: PLENTY }])
  const worker = {
    ...others,
    name: NAME,
    modulesRoot: modules,
    modules: [
      { type: 'ESModule', path: join(modules, 'index.js') },
      ...texts.map((file) => ({ type: 'Text', path: join(modules, file) })),
    ],
    bindings: { ...bindings, ...env },
    ratelimits: Object.fromEntries(limiters),
    unsafeDirectSockets: [{ host: '127.0.0.1', port }],
  }
  const all = {
    handleStructuredLogs: ({ message }: { message: string }) => heard?.(message),
    unsafeTriggerHandlers: true,
    ...(state !== undefined && { resourcePersistencePath: state }),
    workers: twice ? [worker, second(worker)] : [worker],
  } as unknown as Parameters<typeof convertV4MiniflareOptions>[0]
  const miniflare = new Miniflare(convertV4MiniflareOptions(all))
  const stop = () => miniflare.dispose()
  try {
    const front = await miniflare.ready
    const schedule = async () => {
      const answer = await fetch(new URL('/cdn-cgi/local/scheduled?cron=*+*+*+*+*', front))
      if (!answer.ok) throw new Error(`The scheduled job was answered ${answer.status}: ${await answer.text()}`)
    }
    const portOf = async (name: string) => Number((await miniflare.unsafeGetDirectURL(name)).port)
    return { port: await portOf(NAME), other: twice ? await portOf(SECOND) : 0, schedule, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Its Workflows are its own; the objects are those of the first. */
const second = <T extends { workflows: object; durableObjects?: object }>(worker: T) => ({
  ...worker,
  name: SECOND,
  workflows: Object.fromEntries(
    Object.entries(worker.workflows).map(([name, workflow]) => [name, { ...workflow, name: `${workflow.name}-second` }]),
  ),
  durableObjects: Object.fromEntries(
    Object.entries(worker.durableObjects ?? {}).map(([name, object]) => [name, { ...object, scriptName: NAME }]),
  ),
})
