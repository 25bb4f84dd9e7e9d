/** For rounds.ts: the tests of the Worker, in front of a stack that it starts anew for each round. */
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { inWorker } from '../vitest.config.ts'
import { plantedInTurn } from './plant.ts'

const tests = (name: string, isolate: boolean): TestProjectInlineConfiguration => {
  const { plugins = [], test } = inWorker(name, ['test/**/*.test.ts'], ['test/**/*.node.test.ts', 'test/faults/**'])
  return { plugins: [plantedInTurn(), ...plugins], test: { ...test, isolate, globalSetup: [] } }
}

export default defineConfig({
  // A fault is in modules that nobody has loaded yet; without one, files share an isolate, as in `npm test`.
  test: { silent: true, maxWorkers: 1, projects: [tests('planted', true), tests('sound', false)] },
})
