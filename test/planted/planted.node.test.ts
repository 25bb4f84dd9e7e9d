/**
 * Threat: a test that cannot fail. Each fault of the list is planted by itself, and the test that must notice it is run. First all of those
 * are run without a fault: one that fails anyway notices nothing.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { temporaryFolder } from '../../scripts/local-neon/temporary-folder.ts'
import { ROOT } from '../house/sources.ts'
import { FAULTS, type Fault } from './faults.ts'

// Each is a Postgres, a workerd and a Vitest; and a fault may be noticed by a test that runs out of its own time.
vi.setConfig({ maxConcurrency: 2, testTimeout: 300_000 })

type Ran = { file: string; name: string; status: string; messages: string[] }

/** Runs tests in a process of their own, with a fault or without, and gives those that ran. */
async function run(files: string[], tests: string[], fault?: string): Promise<Ran[]> {
  const { path, remove } = await temporaryFolder('freehold-planted')
  const report = join(path, 'report.json')
  const pattern = tests.map((test) => test.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
  const how = ['--config=test/vitest.config.ts', '--project=worker', '--reporter=json', `--outputFile=${report}`]
  const { CI: _, PLANTED_FAULT: __, ...env } = process.env
  try {
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const child = spawn(process.execPath, [vitest, 'run', ...how, `--testNamePattern=${pattern}`, ...files], {
      cwd: ROOT,
      env: { ...env, ...(fault && { PLANTED_FAULT: fault }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (said += part))
    await new Promise((done) => child.on('close', done))
    const { testResults } = JSON.parse(await readFile(report, 'utf8').catch(() => '{"testResults":[]}'))
    const ran: Ran[] = testResults.flatMap(({ name: file, assertionResults }: any) =>
      assertionResults
        .filter(({ status }: any) => status === 'passed' || status === 'failed')
        .map(({ fullName, status, failureMessages }: any) => ({ file, name: fullName, status, messages: failureMessages })),
    )
    const broken = testResults.map(({ message }: any) => message).join('\n')
    if (!ran.length) throw new Error(`No test of ${files} was run: ${broken || said}`)
    return ran
  } finally {
    await remove()
  }
}

const NAMED = FAULTS.map((fault): [string, Fault] => [fault.name, fault])
let sound: Ran[]
beforeAll(async () => {
  const files = new Set(FAULTS.map(({ noticed: [file] }) => file))
  sound = await run([...files], [...new Set(FAULTS.map(({ noticed: [, test] }) => test))])
}, 300_000)

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
