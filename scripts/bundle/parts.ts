/** What the Worker's bundle is made of, as it is deployed to production. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KIB = 1024

type Meta = { outputs: Record<string, { bytes: number; inputs: Record<string, { bytesInOutput: number }> }> }

/** The size that wrangler prints, and of each part, the largest first: all in KiB, gzipped. */
export type Bundle = { kib: number; parts: { name: string; kib: number }[] }

/**
 * Bundles into a folder, as `npm run bundle -- --env production` does. What wrangler prints is the size of the minified script, gzipped; a
 * package or a folder of ours counts by its share of the script.
 */
export async function bundleParts(outdir: string): Promise<Bundle> {
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  const args = ['deploy', '--dry-run', '--env', 'production', '--outdir', outdir, '--metafile', join(outdir, 'meta.json')]
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: join(outdir, 'logs'), NO_COLOR: '1' }
  const { stdout } = await promisify(execFile)(process.execPath, [wrangler, ...args], { cwd: ROOT, env })
  const kib = Number(/gzip: ([\d.]+) KiB/.exec(stdout)?.[1])
  const sizes = new Map<string, number>()
  const add = (name: string, bytes: number) => sizes.set(name, (sizes.get(name) ?? 0) + bytes / KIB)

  const script = await readFile(join(outdir, 'index.js'))
  const share = gzipSync(script).length / script.length
  const meta: Meta = JSON.parse(await readFile(join(outdir, 'meta.json'), 'utf8'))
  const made = Object.values(meta.outputs).find(({ inputs }) => Object.keys(inputs).length > 1)
  for (const [file, { bytesInOutput }] of Object.entries(made?.inputs ?? {})) add(partOf(file), bytesInOutput * share)
  const parts = [...sizes].map(([name, size]) => ({ name, kib: size })).sort((a, b) => b.kib - a.kib)
  return { kib, parts }
}

/** The package or the folder of ours that a file belongs to. */
const partOf = (file: string) =>
  /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? /^(src\/tenants\/\w+|src\/\w+)/.exec(file)?.[1] ?? 'the rest'
