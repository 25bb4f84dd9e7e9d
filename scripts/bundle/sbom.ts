/**
 * Prints the bill of materials of the Worker, as CycloneDX: `npm run sbom`. It is npm's own, made from the lock file and reduced to
 * what src imports or is served beside it (assets.ts), and what that depends on. `npm sbom --omit dev` has the dependencies of the npm package,
 * which is the client.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { assetsOf } from './assets.ts'

type Component = { 'bom-ref': string; name: string; version: string }
type Bill = { components: Component[]; dependencies: { ref: string; dependsOn: string[] }[]; metadata: { component: Component } }

const text = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
})
const bill: Bill = JSON.parse(text)
const locked: { packages: Record<string, { version: string; dependencies?: Record<string, string> }> } = JSON.parse(
  readFileSync('package-lock.json', 'utf8'),
)
const components = new Map([...bill.components, bill.metadata.component].map((each) => [each['bom-ref'], each]))
const edges = new Map(bill.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]))

/** The packages that the Worker's code imports, and those whose files it serves. */
function shippedBy(sources: string[], assets: string[]): string[] {
  const imported = sources.flatMap((text) => [...text.matchAll(/^(?:import|export)\b[^'"]*from '((?:@[\w-]+\/)?[a-z][\w-]*)/gm)])
  const served = assets.flatMap((file) => [...file.matchAll(/^node_modules\/((?:@[\w-]+\/)?[\w-]+)/g)])
  return [...new Set([...imported, ...served].map(([, name = '']) => name))].sort()
}

/** What stands in place of packages in the bundle (wrangler.toml, alias) imports parts of others. */
const IN_PLACE = readFileSync('wrangler.toml', 'utf8').matchAll(/^"[^"]+" = "\.\/(scripts\/bundle\/[^"]+)"$/gm)
const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => /\.tsx?$/.test(file))
const sources = [...files.map((file) => join('src', file)), ...[...IN_PLACE].map(([, file = '']) => file)].map((file) =>
  readFileSync(file, 'utf8'),
)

const root = bill.metadata.component['bom-ref']
const shipped_by_worker = Object.fromEntries(shippedBy(sources, [...assetsOf('.').values()]).map((name) => [name, '']))
const needed = new Map(
  Object.entries(locked.packages).map(([path, { version, dependencies = {} }]) => [
    path ? `${path.replace(/^.*node_modules\//, '')}@${version}` : root,
    path ? dependencies : shipped_by_worker,
  ]),
)

/** What a component needs: neither its tools of development nor what it could be used with. */
const needsOf = (ref: string) =>
  (edges.get(ref) ?? []).filter((each) => (components.get(each)?.name ?? '') in (needed.get(ref) ?? {}))

const shipped = new Set([root])
for (const ref of shipped) for (const need of needsOf(ref)) shipped.add(need)
bill.components = bill.components.filter((component) => shipped.has(component['bom-ref']))
bill.dependencies = [...shipped].map((ref) => ({ ref, dependsOn: needsOf(ref) }))
process.stdout.write(`${JSON.stringify(bill, null, 2)}\n`)
