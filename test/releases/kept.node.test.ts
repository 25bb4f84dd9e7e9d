/**
 * Threat: somebody forgets `npm run release:keep` after a release. Then the Worker that test/releases/worker.node.test.ts runs is of an earlier
 * one, whose functions may be dropped by now: the test fails for what nobody deploys, or is loosened until it holds nothing.
 */
import { readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { SAME_RELEASE } from '../../scripts/migration/head.ts'
import type { KeptData } from '../../scripts/release/data.ts'
import { pathsOf } from '../../scripts/release/kept.ts'
import type { KeptWorker } from '../../scripts/release/worker.ts'
import { filesIn, read } from '../house/sources.ts'

const MOST_BYTES = 3 * 1024 * 1024

const aboutOf = <T>(name: 'worker' | 'data') => JSON.parse(readFileSync(pathsOf(name).about, 'utf8')) as T
const worker = aboutOf<KeptWorker>('worker')
const data = aboutOf<KeptData>('data')

/** The migrations of a database in order, those of one release together. */
const releasesOf = (database: 'tenant' | 'master') =>
  together(filesIn(`drizzle/${database}`, '.sql').map((file) => ({ name: nameOf(file), text: read(file) })))
const nameOf = (file: string) => file.replace('drizzle/', '').replace('.sql', '')

function together(migrations: { name: string; text: string }[]): string[][] {
  const releases: string[][] = []
  for (const { name, text } of migrations)
    if (text.includes(`\n${SAME_RELEASE}\n`) && releases.length) releases.at(-1)?.push(name)
    else releases.push([name])
  return releases
}

describe('what is kept of earlier releases', () => {
  it('says of which commits it is, and is small enough for a checkout', () => {
    for (const { commit } of [worker, data]) expect(commit).toMatch(/^[0-9a-f]{40}$/)
    const [w, d] = [statSync(pathsOf('worker').contents).size, statSync(pathsOf('data').contents).size]
    expect(Math.min(w, d)).toBeGreaterThan(100_000)
    expect(w + d).toBeLessThan(MOST_BYTES)
  })

  it.each(['tenant', 'master'] as const)(
    'is the Worker of the last release: it has the newest migration of the %s, or the one before (else: npm run release:keep)',
    (database) => {
      const known = releasesOf(database)
        .slice(-2)
        .map((release) => release.at(-1))
      expect(known).toContain(worker[database])
    },
  )

  it('is data that has to be migrated', () => {
    const all = releasesOf('tenant').flat()
    expect(all).toContain(data.tenant)
    expect(data.tenant).not.toBe(all.at(-1))
  })
})

it('migrations that ship together are one release', () => {
  const migration = (name: string, ...lines: string[]) => ({ name, text: ['-- Made by it.', ...lines, '-- Tables:'].join('\n') })
  expect(together([migration('0'), migration('1'), migration('2', SAME_RELEASE), migration('3')])).toEqual([
    ['0'],
    ['1', '2'],
    ['3'],
  ])
})
