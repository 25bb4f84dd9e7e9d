/** Threat: a library with a known fault is shipped, and nobody can tell that it is. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { assetsOf } from '../../scripts/bundle/assets.ts'
import { filesIn, importsOf, ROOT, read } from '../house/sources.ts'

type Component = { name: string; version: string; hashes?: unknown[] }

const { scripts, dependencies, devDependencies } = JSON.parse(read('package.json'))
const bill = () => {
  const [command = '', ...args] = scripts.sbom.split(' ')
  return JSON.parse(execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }))
}

describe('the bill of materials', () => {
  it('names every library that the Worker imports, in its exact version, and no tool of development', { timeout: 60_000 }, () => {
    const { bomFormat, components } = bill()
    const shipped: Component[] = components
    expect(bomFormat).toBe('CycloneDX')
    const installed: Record<string, string> = { ...dependencies, ...devDependencies }
    const imported = filesIn('src').flatMap((file) =>
      importsOf(file).flatMap((name) => /^((@[\w-]+\/)?[a-z][\w-]*)(?!:)(\/|$)/.exec(name)?.[1] ?? []),
    )
    const libraries = [...new Set(imported)].filter((name) => name in installed)
    expect(libraries.length).toBeGreaterThan(8)
    expect(Object.fromEntries(shipped.map(({ name, version }) => [name, version]))).toMatchObject(
      Object.fromEntries(libraries.map((name) => [name, installed[name]])),
    )
    expect(shipped.filter(({ hashes }) => !hashes?.length)).toEqual([])
    // Shipped through others; and drivers that a library could use, and tools, are not.
    expect(shipped.map(({ name }) => name)).toEqual(expect.arrayContaining(['openapi3-ts', 'yaml']))
    expect(
      shipped.filter(({ name }) =>
        /^(pg$|pg-(cloudflare|connection|pool|protocol)|vitest|typescript|wrangler|@types)/.test(name),
      ),
    ).toEqual([])
  })

  it('lists what the Worker serves as assets, too', { timeout: 60_000 }, () => {
    const assets = [...assetsOf(ROOT).values()].flatMap((file) => /^node_modules\/([^/]+)/.exec(file)?.[1] ?? [])
    expect(assets.length).toBeGreaterThan(0)
    const shipped: Component[] = bill().components
    expect(assets.filter((name) => !shipped.some((component) => component.name === name))).toEqual([])
  })
})
