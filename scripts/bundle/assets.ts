/**
 * Assembles what is deployed beside the Worker, in .wrangler/assets. wrangler runs this before it bundles (wrangler.toml, [build]), and
 * Vitest before it starts Workers (test/vitest.config.ts). Several may run at once: a file that is as it should be is left alone, and
 * another one is replaced as a whole.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const ASSETS = '.wrangler/assets'

/** Files of packages, which /docs serves under their own names (src/docs/routes.ts). */
const SERVED = ['node_modules/swagger-ui-dist/swagger-ui.css', 'node_modules/swagger-ui-dist/swagger-ui-bundle.js']
/** Files of ours, which the Worker alone reads, each under its path (src/assets/assets.ts). */
const READ = ['src/passwords/commonest-packed.txt', 'drizzle/tenant/meta/fingerprint.json']

/** The path of each asset, and of the file that it is. */
export function assetsOf(root: string): Map<string, string> {
  const migrations = readdirSync(join(root, 'drizzle/tenant')).filter((file) => file.endsWith('.sql'))
  return new Map([
    ...SERVED.map((file): [string, string] => [basename(file), file]),
    ...[...READ, ...migrations.map((file) => `drizzle/tenant/${file}`)].map((file): [string, string] => [file, file]),
  ])
}

/** Makes the folder of the assets what it should be. */
export function assemble(root = ROOT): void {
  const folder = join(root, ASSETS)
  const assets = assetsOf(root)
  mkdirSync(folder, { recursive: true })
  for (const [asset, file] of assets) {
    const [at, text] = [join(folder, asset), readFileSync(join(root, file))]
    if (statSync(at, { throwIfNoEntry: false })?.size === text.length && readFileSync(at).equals(text)) continue
    mkdirSync(dirname(at), { recursive: true })
    // Not beside the assets, which are all deployed.
    const draft = join(root, `.wrangler/asset-${process.pid}`)
    writeFileSync(draft, text)
    renameSync(draft, at)
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const at = join(entry.parentPath, entry.name)
    if (entry.isFile() && !assets.has(at.slice(folder.length + 1))) rmSync(at, { force: true })
  }
}

if (import.meta.main) assemble()
