import { execFile } from 'node:child_process'
import { cp, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { unstable_getMiniflareWorkerOptions as optionsOf } from 'wrangler'
import { ASSETS } from '../bundle/assets.ts'
import { pack } from './archive.ts'
import { checkOut, type Origin } from './checkout.ts'
import { type Kept, keep } from './kept.ts'

/** What workerd must be told of a Worker, beside its modules and settings: what wrangler makes of its wrangler.toml. */
export type WorkerOptions = {
  compatibilityDate: string
  compatibilityFlags: string[]
  kvNamespaces: object
  workflows: object
  durableObjects: object
  bindings: object
  ratelimits: Record<string, object>
  r2Buckets?: object
  images?: object
  assets?: object
}
export type KeptWorker = Origin & { options: WorkerOptions }

/** Bundles the Worker of a tree into a folder, as a deployment does, and assembles its assets. */
export async function bundle(root: string, outdir: string): Promise<void> {
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run', '--env=', '--outdir', outdir], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: join(outdir, 'logs'), NO_COLOR: '1' },
  })
}

/** The files of a bundle that workerd loads: the script; of earlier releases texts, too. */
export const modulesIn = async (outdir: string) => (await readdir(outdir)).filter((file) => /\.(js|sql|txt)$/.test(file))

/** What wrangler makes of the wrangler.toml of a tree. */
export function workerOptions(root: string): WorkerOptions {
  const { workerOptions } = optionsOf(join(root, 'wrangler.toml')) as unknown as { workerOptions: Required<WorkerOptions> }
  const { compatibilityDate, compatibilityFlags, kvNamespaces, workflows, durableObjects, bindings, ratelimits } = workerOptions
  const { assets, r2Buckets, images } = workerOptions
  return {
    ...{ compatibilityDate, compatibilityFlags, kvNamespaces, workflows, durableObjects, bindings, ratelimits },
    ...{ assets, r2Buckets, images },
  }
}

/** Keeps the Worker of a commit: its modules, its assets in a folder beside them, and what workerd is told of it. `folder` is for the work. */
export async function keepWorker(ref: string, folder: string, say: (line: string) => void): Promise<Kept> {
  const tree = join(folder, 'tree')
  const origin = await checkOut(ref, tree, say)
  say('Bundling its Worker.')
  const outdir = join(folder, 'bundle')
  await bundle(tree, outdir)
  const modules = join(folder, 'modules')
  await mkdir(modules)
  for (const file of await modulesIn(outdir)) await cp(join(outdir, file), join(modules, file))
  await cp(join(tree, ASSETS), join(modules, 'assets'), { recursive: true })
  say('Compressing it.')
  const { assets: _, ...options } = workerOptions(tree)
  return keep('worker', { ...origin, options }, (file) => pack(modules, file))
}
