/**
 * Assembles what is deployed beside the Worker, in .wrangler/assets. wrangler runs this before it bundles (wrangler.toml, [build]), and
 * Vitest before it starts Workers (test/vitest.config.ts). Several may run at once: a file that is as it should be is left alone, and
 * another one is replaced as a whole.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TEXTS } from '../../src/docs/texts.ts'
import { spanish } from '../../src/i18n/spanish/spanish.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const ASSETS = '.wrangler/assets'

/** Files of packages, which /docs serves under their own names (src/docs/routes.ts). */
const SERVED = ['node_modules/swagger-ui-dist/swagger-ui.css', 'node_modules/swagger-ui-dist/swagger-ui-bundle.js']
/** Files of ours, which the Worker alone reads, each under its path (src/assets/assets.ts). */
const READ = ['src/passwords/commonest-packed.txt', 'drizzle/tenant/meta/fingerprint.json']

/** Words that people read, each with its path: what the Worker has as code is more than their text. */
export const WORDS: Record<string, object> = { 'words/spanish.json': spanish, 'words/operations.json': TEXTS }

/** The path of each asset that is a file, and that of the file. */
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
  const files = [...assets].map(([asset, file]): [string, Buffer] => [asset, readFileSync(join(root, file))])
  const words = Object.entries(WORDS).map(([asset, value]): [string, Buffer] => [asset, Buffer.from(JSON.stringify(value))])
  for (const [asset, text] of [...files, ...words]) {
    const at = join(folder, asset)
    if (statSync(at, { throwIfNoEntry: false })?.size === text.length && readFileSync(at).equals(text)) continue
    mkdirSync(dirname(at), { recursive: true })
    // Not beside the assets, which are all deployed.
    const draft = join(root, `.wrangler/asset-${process.pid}`)
    writeFileSync(draft, text)
    renameSync(draft, at)
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const at = join(entry.parentPath, entry.name)
    const asset = at.slice(folder.length + 1)
    if (entry.isFile() && !assets.has(asset) && !(asset in WORDS)) rmSync(at, { force: true })
  }
}

if (import.meta.main) assemble()
