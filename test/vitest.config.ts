import { fileURLToPath } from 'node:url'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { assemble } from '../scripts/bundle/assets.ts'
import { LongestFirst } from './order.ts'
import { planted } from './planted/plant.ts'
import { SLOW, SLOW_IN_WORKER } from './slow.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

// Half of the time of a program that is started for one question is compiling; it is done once for all of them.
process.env.NODE_COMPILE_CACHE ??= `${root}.wrangler/compiled`

// The plugin runs no build of wrangler.toml. This file is loaded again for each project.
const held = globalThis as { freehold_assembled?: Promise<void> }
held.freehold_assembled ??= assemble()
await held.freehold_assembled

const inNode = (name: string, include: string[], exclude: string[]): TestProjectInlineConfiguration => ({
  test: { name, root, include, exclude: ['node_modules/**', ...exclude], testTimeout: 120_000, hookTimeout: 120_000 },
})

/** Tests that run in workerd beside the Worker, in front of real Postgres and a local Neon of their own. */
export const inWorker = (name: string, include: string[], exclude: string[]): TestProjectInlineConfiguration => ({
  plugins: [
    ...planted(process.env.PLANTED_FAULT),
    cloudflareTest(({ inject }) => ({
      remoteBindings: false,
      wrangler: { configPath: `${root}wrangler.toml` },
      miniflare: { cf: false, bindings: inject('settings') },
    })),
  ],
  test: {
    name,
    root,
    include,
    exclude: ['node_modules/**', ...exclude],
    globalSetup: ['./test/support/node/stack.ts'],
    setupFiles: ['./test/support/hashes.ts', './test/support/production.ts', './test/support/retire.ts'],
    // No claim is about time: whoever waits this long waits for something that does not come, however busy the machine is.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})

/** Faults are switched on for all who use a Neon, and what is killed or waits for a lease must not wait for others: no file beside another. */
const oneByOne = ({ test, ...project }: TestProjectInlineConfiguration): TestProjectInlineConfiguration => ({
  ...project,
  test: { ...test, fileParallelism: false },
})

/** What asks the Worker from outside, about everything that it answers. */
const OUTSIDE = ['test/house/every-route.node.test.ts']

/** As in production, where an isolate serves many tenants one after another; and half the time is not spent on starting them. */
const inOneIsolate = ({ test, ...project }: TestProjectInlineConfiguration): TestProjectInlineConfiguration => ({
  ...project,
  test: { ...test, isolate: false },
})

/** From outside once more, behind a proxy that compresses answers and weakens their tags. */
const behindCompression = ({ test, ...project }: TestProjectInlineConfiguration): TestProjectInlineConfiguration => ({
  ...project,
  test: { ...test, env: { BEHIND_COMPRESSION: 'true' } },
})

export default defineConfig({
  test: {
    silent: 'passed-only',
    reporters: process.env.CI
      ? ['default', ['json', { outputFile: process.env.TEST_REPORT ?? `${root}.wrangler/tests.json` }]]
      : ['default'],
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      inNode('node', ['test/**/*.node.test.ts'], SLOW),
      inOneIsolate(inWorker('worker', ['test/**/*.test.ts'], ['test/**/*.node.test.ts', 'test/faults/**', ...SLOW_IN_WORKER])),
      oneByOne(inWorker('faults', ['test/faults/**/*.test.ts', ...SLOW_IN_WORKER], [])),
      oneByOne(inNode('slow', SLOW, [])),
      behindCompression(inNode('compressed', OUTSIDE, [])),
    ],
  },
})
