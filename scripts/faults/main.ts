/**
 * `npm run test:faults`: what takes long by nature. Two runs of vitest side by side, each of which does one file after another: on two
 * cores they take little more than the longer one alone. Options and paths are passed to both.
 */
import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const REPORT = `${ROOT}.wrangler/tests.json`
/** The projects of each run, the longer one first. */
const RUNS = [['faults'], ['slow', 'compressed']]

const reportOf = (run: number) => `${ROOT}.wrangler/tests-${run}.json`

/** Runs projects, with their names before each line. Returns the exit status. */
function run(projects: string[], place: number): Promise<number> {
  const wanted = projects.flatMap((name) => ['--project', name])
  const given = ['run', '--config', 'test/vitest.config.ts', '--passWithNoTests', ...wanted, ...process.argv.slice(2)]
  const env = { ...process.env, TEST_REPORT: reportOf(place) }
  const child = spawn(`${ROOT}node_modules/.bin/vitest`, given, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ] as const)
    createInterface({ input: from }).on('line', (line) => to.write(`${projects.join('+')} | ${line}\n`))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal))
  return new Promise((done, fail) => child.once('error', fail).once('close', (code) => done(code ?? 1)))
}

type Sums = { numPassedTests: number; numFailedTests: number }

const codes = await Promise.all(RUNS.map(run))
if (process.env.CI) {
  const reports = await Promise.all(
    RUNS.map(async (_, place) => JSON.parse(await readFile(reportOf(place), 'utf8').catch(() => '{}')) as Partial<Sums>),
  )
  const sum = (name: keyof Sums) => reports.reduce((total, report) => total + (report[name] ?? 0), 0)
  const sums: Sums = { numPassedTests: sum('numPassedTests'), numFailedTests: sum('numFailedTests') }
  await writeFile(REPORT, JSON.stringify(sums))
}
process.exitCode = Math.max(...codes)
