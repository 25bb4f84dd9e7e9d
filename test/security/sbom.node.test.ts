/** Threat: a library with a known fault is shipped, and nobody can tell that it is. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { ROOT, read } from '../house/sources.ts'

type Component = { name: string; version: string; hashes?: unknown[] }

describe('the bill of materials', () => {
  it('names every library that is shipped, in its exact version, and no tool of development', { timeout: 60_000 }, () => {
    const { dependencies, scripts } = JSON.parse(read('package.json'))
    const [command = '', ...args] = scripts.sbom.split(' ')
    const bill = JSON.parse(execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }))
    const shipped: Component[] = bill.components
    expect(bill.bomFormat).toBe('CycloneDX')
    expect(dependencies).toEqual(
      Object.fromEntries(shipped.filter(({ name }) => name in dependencies).map(({ name, version }) => [name, version])),
    )
    expect(shipped.filter(({ hashes }) => !hashes?.length)).toEqual([])
    // Shipped through others; and drivers that a library could use, and tools, are not.
    expect(shipped.map(({ name }) => name)).toEqual(expect.arrayContaining(['openapi3-ts', 'yaml']))
    expect(shipped.filter(({ name }) => /^(pg|vitest|typescript|wrangler|@types)/.test(name))).toEqual([])
  })

  it('lists what the Worker serves as assets, too', () => {
    const assets = [...read('wrangler.toml').matchAll(/directory = "node_modules\/([^"]+)"/g)].map(([, name = '']) => name)
    expect(assets.length).toBeGreaterThan(0)
    const { dependencies } = JSON.parse(read('package.json'))
    expect(assets.filter((name) => !(name in dependencies))).toEqual([])
  })
})
