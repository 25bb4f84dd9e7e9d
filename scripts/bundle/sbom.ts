/**
 * Prints the bill of materials of what is shipped, as CycloneDX: `npm run sbom`. It is npm's own, made from the lock file and
 * reduced to the dependencies and what they depend on. `npm sbom --omit dev` keeps drivers that a library merely could use, and
 * leaves out what a tool depends on in another version.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

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

const root = bill.metadata.component['bom-ref']
const needed = new Map(
  Object.entries(locked.packages).map(([path, { version, dependencies = {} }]) => [
    path ? `${path.replace(/^.*node_modules\//, '')}@${version}` : root,
    dependencies,
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
