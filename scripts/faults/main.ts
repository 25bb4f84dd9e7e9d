/**
 * `npm run test:faults`: what takes long by nature. Three runs of vitest, two at a time, each of which does one file after another in front of
 * its own Postgres and Neon: these are in memory, and three at once would not fit. Options are passed to all; with paths `faults` is one run.
 */
import { spawn } from 'node:child_process'
import { glob, readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const REPORT = `${ROOT}.wrangler/tests.json`
/** What tenants that exist go through, and what looks at all of them: files of `faults` for a run of their own, where there are few. */
const OF_LIFE = /\/(doctor|move|restore|rotate|renaming|undo)/
const given = process.argv.slice(2)
const faults = given.some((option) => option.startsWith('test/')) ? [] : await filesOf('test/faults/*.test.ts')
type Run = { name: string; projects: string[]; files: string[] }
const RUNS: Run[] = [
  { name: 'faults', projects: ['faults'], files: faults.filter((file) => !OF_LIFE.test(file)) },
  { name: 'slow+compressed', projects: ['slow', 'compressed'], files: [] },
  ...(faults.length ? [{ name: 'life', projects: ['faults'], files: faults.filter((file) => OF_LIFE.test(file)) }] : []),
]
const AT_ONCE = 2

async function filesOf(pattern: string): Promise<string[]> {
  const found: string[] = []
  for await (const file of glob(pattern, { cwd: ROOT })) found.push(file)
  return found
}

const reportOf = (name: string) => `${ROOT}.wrangler/tests-${name}.json`

/** Runs projects, with the run's name before each line. Returns the exit status. */
function run({ name, projects, files }: Run): Promise<number> {
  const wanted = projects.flatMap((project) => ['--project', project])
  const all = ['run', '--config', 'test/vitest.config.ts', '--passWithNoTests', ...wanted, ...files, ...given]
  const env = { ...process.env, TEST_REPORT: reportOf(name) }
  const child = spawn(`${ROOT}node_modules/.bin/vitest`, all, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ] as const)
    createInterface({ input: from }).on('line', (line) => to.write(`${name} | ${line}\n`))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal))
  return new Promise((done, fail) => child.once('error', fail).once('close', (code) => done(code ?? 1)))
}

/** What is used of vitest's report in JSON. */
type Report = { numPassedTests: number; numFailedTests: number; testResults: { name: string; status: string }[] }

const waiting = [...RUNS]
const codes: number[] = []
async function drive() {
  for (let next = waiting.shift(); next; next = waiting.shift()) codes.push(await run(next))
}
await Promise.all(Array.from({ length: AT_ONCE }, drive))
if (process.env.CI) {
  const reports = await Promise.all(
    RUNS.map(async ({ name }) => JSON.parse(await readFile(reportOf(name), 'utf8').catch(() => '{}')) as Partial<Report>),
  )
  const sum = (name: 'numPassedTests' | 'numFailedTests') => reports.reduce((total, report) => total + (report[name] ?? 0), 0)
  const all: Report = {
    numPassedTests: sum('numPassedTests'),
    numFailedTests: sum('numFailedTests'),
    testResults: reports.flatMap(({ testResults = [] }) => testResults.map(({ name, status }) => ({ name, status }))),
  }
  await writeFile(REPORT, JSON.stringify(all))
}
process.exitCode = Math.max(...codes)
