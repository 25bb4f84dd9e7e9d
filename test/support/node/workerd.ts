/**
 * The Worker as it is deployed, in workerd, on a port of its own. Nothing is in front of it: `wrangler dev` passes each request through
 * two programs more, and takes ten times as long for thousands of them.
 */
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { unstable_getMiniflareWorkerOptions as optionsOf } from 'wrangler'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const NAME = 'freehold'
/** As many as the tests like. */
const PLENTY = { limit: 1_000_000, period: 60 as const }

/** What is used of what wrangler makes of wrangler.toml. */
type Options = Record<string, unknown> & { bindings: object; ratelimits: Record<string, object> }

/** Bundles the Worker into a folder and runs it with the bindings of wrangler.toml and these settings. */
export async function startInWorkerd(outdir: string, env: Record<string, string>) {
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run', '--env=', '--outdir', outdir], {
    cwd: ROOT,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: join(outdir, 'logs'), NO_COLOR: '1' },
  })
  const texts = (await readdir(outdir)).filter((file) => /\.(sql|txt)$/.test(file))
  const { bindings, ratelimits, ...options } = optionsOf(join(ROOT, 'wrangler.toml')).workerOptions as Options
  const limiters = Object.entries(ratelimits).map(([name, limiter]) => [name, { ...limiter, simple: PLENTY }])
  const worker = {
    ...Object.fromEntries(
      ['compatibilityDate', 'compatibilityFlags', 'kvNamespaces', 'workflows', 'assets'].map((name) => [name, options[name]]),
    ),
    name: NAME,
    modulesRoot: outdir,
    modules: [
      { type: 'ESModule', path: join(outdir, 'index.js') },
      ...texts.map((file) => ({ type: 'Text', path: join(outdir, file) })),
    ],
    bindings: { ...bindings, ...env },
    ratelimits: Object.fromEntries(limiters),
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
  }
  const all = { handleStructuredLogs: () => {}, workers: [worker] } as unknown as Parameters<typeof convertV4MiniflareOptions>[0]
  const miniflare = new Miniflare(convertV4MiniflareOptions(all))
  const stop = () => miniflare.dispose()
  try {
    await miniflare.ready
    return { port: Number((await miniflare.unsafeGetDirectURL(NAME)).port), stop }
  } catch (error) {
    await stop()
    throw error
  }
}
