/**
 * Assembles what is deployed beside the Worker, in .wrangler/assets. wrangler runs this before it bundles (wrangler.toml, [build]), and
 * Vitest before it starts Workers (test/vitest.config.ts). Several may run at once: a file that is as it should be is left alone, and
 * another one is replaced as a whole. Threat: a file that is not the one whose SHA-256 the Worker holds, as where a checkout made CRLF of
 * its line ends, is deployed, and the Worker answers 503 when it needs it. So it is refused here, before anything is deployed.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DOCUMENTS, SCRIPT } from '../../src/docs/assets.ts'
import { start } from '../../src/docs/start.ts'
import { spanish } from '../../src/i18n/spanish/spanish.ts'
import { PAGE_FILES } from '../../src/pages/files.ts'
import { script } from '../../src/pages/script.ts'
import { RULES } from '../../src/pages/style.ts'
import { es } from '../../src/pages/words/es.ts'
import { COMMONEST } from '../../src/passwords/commonest-sum.ts'
import { documents } from './document.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const ASSETS = '.wrangler/assets'

/** Files of packages, which /docs serves under their own names (src/docs/routes.ts). */
const SERVED = ['node_modules/swagger-ui-dist/swagger-ui.css', 'node_modules/swagger-ui-dist/swagger-ui-bundle.js']
/** Files of ours, which the Worker alone reads, each under its path (src/assets/assets.ts). */
const READ = [COMMONEST.path, 'drizzle/tenant/meta/fingerprint.json']
/** Where the checksums of migrations are, and of what they make. */
const BUNDLED = 'src/tenants/provisioning/bundled.ts'

const SPANISH = 'words/spanish.json'
/** The paths of what is made of code: words that people read, and the OpenAPI documents. They have no checksum. */
export const MADE: string[] = [SPANISH, ...Object.values(DOCUMENTS), SCRIPT, ...Object.values(PAGE_FILES)]

/** The path of each asset that is a file, and that of the file. */
export function assetsOf(root: string): Map<string, string> {
  const migrations = readdirSync(join(root, 'drizzle/tenant')).filter((file) => file.endsWith('.sql'))
  return new Map([
    ...SERVED.map((file): [string, string] => [basename(file), file]),
    ...[...READ, ...migrations.map((file) => `drizzle/tenant/${file}`)].map((file): [string, string] => [file, file]),
  ])
}

/** The SHA-256 that the Worker holds of each file that it reads. */
function checksumsOf(root: string): Map<string, string> {
  const bundled = readFileSync(join(root, BUNDLED), 'utf8')
  const listed = bundled.matchAll(/\blisted\('([^']+)', '([0-9a-f]{64})'\)/g)
  const read = bundled.matchAll(/\bassetText\('([^']+)', '([0-9a-f]{64})'\)/g)
  return new Map([
    [COMMONEST.path, COMMONEST.checksum],
    ...[...listed].map(([, name, sum = '']): [string, string] => [`drizzle/${name}.sql`, sum]),
    ...[...read].map(([, path = '', sum = '']): [string, string] => [path, sum]),
  ])
}

/** Fails where a file is not the one that the Worker knows. */
export function requireKnown(file: string, text: Buffer, known: string | undefined): void {
  if (known === undefined) throw new Error(`${file} is unknown to the Worker: ${BUNDLED} has no SHA-256 of it.`)
  const sum = createHash('sha256').update(text).digest('hex')
  if (sum === known) return
  const why = text.includes('\r\n')
    ? 'Its lines end in CRLF: check the repository out with LF (git config core.autocrlf input, then git checkout anew).'
    : 'It was changed without its checksum: restore it, or run npm run migration (or npm run passwords).'
  throw new Error(`${file} has the SHA-256 ${sum}, and the Worker takes ${known} alone. ${why}`)
}

/** Makes the folder of the assets what it should be. Fails where a file is not the one that the Worker knows. */
export async function assemble(root = ROOT): Promise<void> {
  const folder = join(root, ASSETS)
  const assets = assetsOf(root)
  const files = [...assets].map(([asset, file]): [string, Buffer] => [asset, readFileSync(join(root, file))])
  const known = checksumsOf(root)
  for (const [asset, text] of files) if (!SERVED.includes(assets.get(asset) ?? '')) requireKnown(asset, text, known.get(asset))
  mkdirSync(folder, { recursive: true })
  const { all, tenant } = await documents()
  const texts = {
    [SPANISH]: JSON.stringify(spanish),
    [DOCUMENTS.all]: JSON.stringify(all),
    [DOCUMENTS.tenant]: JSON.stringify(tenant),
    [SCRIPT]: start,
    [PAGE_FILES.rules]: RULES,
    [PAGE_FILES.script]: script,
    [PAGE_FILES.spanish]: JSON.stringify(es),
  }
  const made = Object.entries(texts).map(([asset, text]): [string, Buffer] => [asset, Buffer.from(text)])
  for (const [asset, text] of [...files, ...made]) {
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
    if (entry.isFile() && !assets.has(asset) && !MADE.includes(asset)) rmSync(at, { force: true })
  }
}

if (import.meta.main)
  await assemble().catch(({ message }: Error) => {
    process.stderr.write(`error: ${message}\n`)
    process.exitCode = 1
  })
