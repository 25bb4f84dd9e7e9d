/**
 * Threat: a test that cannot fail. Each fault of the list is planted by itself, and the test that must notice it is run. First all of those
 * are run without a fault: one that fails anyway notices nothing.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ROOT } from '../house/sources.ts'
import { FAULTS, type Fault } from './faults.ts'
import type { Outcome, Ran, Round } from './rounds.ts'

// Each has a Postgres and a workerd; and a fault may be noticed by a test that runs out of its own time.
const AT_ONCE = 2
vi.setConfig({ maxConcurrency: AT_ONCE, testTimeout: 300_000 })

const processes: ChildProcess[] = []
/** Those that have nothing to do. */
const free: ChildProcess[] = []

function start(): ChildProcess {
  const { CI: _, PLANTED_FAULT: __, ...env } = process.env
  const child = fork(join(ROOT, 'test/planted/rounds.ts'), {
    cwd: ROOT,
    env,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  processes.push(child)
  return child
}

/** Runs tests in a process that has nothing else to do, with a fault or without, and gives those that ran. */
async function run(files: string[], tests: string[], fault: string | null): Promise<Ran[]> {
  const child = free.pop() ?? start()
  child.send({ files, tests, fault } satisfies Round)
  const [outcome] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => [{ ran: [], said: `The process has ended with ${code}.` }]),
  ])) as [Outcome]
  if (child.connected) free.push(child)
  if (!outcome.ran.length) throw new Error(`No test of ${files} was run: ${outcome.said}`)
  return outcome.ran
}

afterAll(() => {
  for (const child of processes) if (child.connected) child.disconnect()
})

const NAMED = FAULTS.map((fault): [string, Fault] => [fault.name, fault])
let sound: Ran[]
beforeAll(async () => {
  const files = [...new Set(FAULTS.map(({ noticed: [file] }) => file))]
  const tests = [...new Set(FAULTS.map(({ noticed: [, test] }) => test))]
  const half = Math.ceil(files.length / AT_ONCE)
  const parts = Array.from({ length: AT_ONCE }, (_, i) => files.slice(i * half, (i + 1) * half)).filter((part) => part.length)
  sound = (await Promise.all(parts.map((part) => run(part, tests, null)))).flat()
}, 600_000)

describe('noticed is', () => {
  it.concurrent.each(NAMED)('%s', async (name, { noticed: [file, test] }) => {
    const isIt = (ran: Ran) => ran.file.endsWith(file) && ran.name.includes(test)
    expect([...new Set(sound.filter(isIt).map(({ status }) => status))], 'without the fault').toEqual(['passed'])
    const planted = await run([file], [test], name)
    expect(
      planted.filter(isIt).map(({ status }) => status),
      'with the fault',
    ).toContain('failed')
  })
})
