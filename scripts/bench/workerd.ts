import { spawn } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { workerOptions } from '../release/worker.ts'
import { childrenOf, cpuMs, programMb, residentMb } from './proc.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const ENTRY = join(ROOT, 'scripts/bench/worker/entry.js')
const QUIET = { WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true', DO_NOT_TRACK: '1', NO_COLOR: '1', FORCE_COLOR: '0' }

/** A workerd process with one port for each Worker in it, and the CPU and memory that it has used. */
export type Workerd = {
  /** Port of each Worker, by its name. */
  ports: Record<string, number>
  /** The address of the debugger, if requested. */
  inspector: URL | null
  cpuMs(): Promise<number>
  residentMb(): Promise<number>
  /** The part of it that is mapped from files: workerd itself. */
  programMb(): Promise<number>
  stop(): Promise<void>
}

/** Bundles the measured Worker into a folder: as a deployment does, or unminified. */
export async function bundle(outdir: string, legible = false): Promise<void> {
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  const args = [wrangler, 'deploy', ENTRY, '--dry-run', '--env=', '--outdir', outdir, ...(legible ? ['--no-minify'] : [])]
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...QUIET, WRANGLER_LOG_PATH: join(outdir, 'logs') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const words: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => words.push(chunk.toString()))
  const code = await new Promise((done) => child.once('close', done))
  if (code !== 0) throw new Error(`The Worker could not be bundled:\n${words.join('')}`)
}

/** The bundle beside another one, unminified, so that functions and variables have their names. Made once. */
export async function legibleBundle(outdir: string): Promise<string> {
  const folder = join(outdir, '../legible')
  if (await mkdir(folder, { recursive: true })) await bundle(folder, true)
  return folder
}

/**
 * Runs the bundle in workerd, once for each set of settings, each with a KV of its own. Requests reach the Worker with no proxy
 * in front.
 */
export async function startWorkerd(
  outdir: string,
  workers: Record<string, Record<string, string>>,
  inspected = false,
): Promise<Workerd> {
  const before = await childrenOf(process.pid, 'workerd')
  const { assets } = workerOptions(ROOT)
  const modules = [{ type: 'ESModule' as const, path: join(outdir, 'entry.js') }]
  const options = {
    // The Worker writes a line for every request: its cost is measured, the line is not kept.
    handleStructuredLogs: () => {},
    ...(inspected && { inspectorPort: 0 }),
    workers: Object.entries(workers).map(([name, bindings]) => ({
      name,
      modulesRoot: outdir,
      modules,
      compatibilityDate: '2026-08-04',
      compatibilityFlags: ['global_fetch_strictly_public'],
      bindings,
      assets,
      kvNamespaces: { TENANTS: `tenants-${name}` },
      ratelimits: {
        ATTEMPTS: { namespace_id: `${name}-1`, simple: { limit: 1_000_000, period: 60 } },
        FAILURES: { namespace_id: `${name}-3`, simple: { limit: 1_000_000, period: 60 } },
        REFUSALS: { namespace_id: `${name}-2`, simple: { limit: 1_000_000, period: 60 } },
        PRINCIPALS: { namespace_id: `${name}-4`, simple: { limit: 1_000_000, period: 60 } },
      },
      workflows: {
        PROVISIONING: { name: `provisioning-${name}`, className: 'Provisioning' },
        MIGRATION: { name: `migration-${name}`, className: 'Migration' },
        MOVE: { name: `move-${name}`, className: 'Move' },
        RESTORE: { name: `restore-${name}`, className: 'Restore' },
        EMPTY: { name: `empty-${name}`, className: 'Empty' },
      },
      durableObjects: {
        BELLS: { className: 'Bells', useSQLite: true },
        NEON_TURNS: { className: 'NeonTurns', useSQLite: true },
      },
      unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    })),
  }
  // The type has no assets as wrangler makes them.
  const miniflare = new Miniflare(
    convertV4MiniflareOptions(options as unknown as Parameters<typeof convertV4MiniflareOptions>[0]),
  )
  try {
    await miniflare.ready
    const ports: Record<string, number> = {}
    for (const name of Object.keys(workers)) ports[name] = Number((await miniflare.unsafeGetDirectURL(name)).port)
    const [pid] = (await childrenOf(process.pid, 'workerd')).filter((child) => !before.includes(child))
    if (!pid) throw new Error('No workerd was found under this process.')
    return {
      ports,
      inspector: inspected ? await miniflare.getInspectorURL() : null,
      cpuMs: () => cpuMs(pid),
      residentMb: () => residentMb(pid),
      programMb: () => programMb(pid),
      stop: () => miniflare.dispose(),
    }
  } catch (error) {
    await miniflare.dispose()
    throw error
  }
}

/** The version of an installed package. */
export const versionOf = async (name: string): Promise<string> =>
  JSON.parse(await readFile(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version
