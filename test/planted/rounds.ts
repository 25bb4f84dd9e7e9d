/**
 * Runs tests of the Worker, a round for each message of the process that forked this one, with a fault or without. Each round has a stack,
 * a workerd and modules of its own; Vitest and what it has read of the modules stay, because starting them takes longer than the tests.
 */
import { fileURLToPath } from 'node:url'
import { createVitest, type TestCase, type TestModule } from 'vitest/node'
import setUp from '../support/node/stack.ts'
import { changeOf } from './plant.ts'

export type Round = { files: string[]; tests: string[]; fault: string | null }
export type Ran = { file: string; name: string; status: string }
/** `said`: what kept tests from running. */
export type Outcome = { ran: Ran[]; said: string }

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const vitest = await createVitest('test', {
  root: at('../..'),
  config: at('vitest.config.ts'),
  watch: false,
  run: true,
  reporters: [{}],
})
await vitest.standalone()

/** The name of a test with those of the groups that it is in, as reports have it. */
function nameOf(test: TestCase): string {
  const names = [test.name]
  for (let above = test.parent; above.type === 'suite'; above = above.parent) names.unshift(above.name)
  return names.join(' ')
}

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

function plant(fault: string | null) {
  for (const name of [process.env.PLANTED_FAULT, fault]) if (name) vitest.invalidateFile(changeOf(name).module)
  if (fault) process.env.PLANTED_FAULT = fault
  else delete process.env.PLANTED_FAULT
}

async function play({ files, tests, fault }: Round): Promise<Outcome> {
  const project = vitest.getProjectByName(fault ? 'planted' : 'sound')
  plant(fault)
  const stop = await setUp(project)
  try {
    vitest.setGlobalTestNamePattern(tests.map(escaped).join('|'))
    const wanted = (await vitest.globTestSpecifications()).filter(
      (one) => one.project === project && files.some((file) => one.moduleId.endsWith(`/${file}`)),
    )
    // Vitest also tells of modules that earlier rounds ran.
    const isMine = (one: TestModule) => wanted.some(({ moduleId }) => one.project === project && one.moduleId === moduleId)
    const { testModules: all, unhandledErrors } = await vitest.runTestSpecifications(wanted)
    const testModules = all.filter(isMine)
    const ran = testModules.flatMap((module) =>
      [...module.children.allTests()].map((test) => ({
        file: module.moduleId,
        name: nameOf(test),
        status: test.result().state as string,
      })),
    )
    const errors = [...testModules.flatMap((module) => module.errors()), ...unhandledErrors] as { message?: string }[]
    return {
      ran: ran.filter(({ status }) => status === 'passed' || status === 'failed'),
      said: errors.map(({ message }) => message).join('\n'),
    }
  } finally {
    await stop()
  }
}

process.on('message', (round: Round) => {
  play(round)
    .catch((error: Error): Outcome => ({ ran: [], said: error.stack ?? error.message }))
    .then((outcome) => process.send?.(outcome))
})
process.on('disconnect', () => process.exit())
