/**
 * `npm run test:faults`: what takes long by nature. Two lanes side by side, each of which does one run of vitest after another, and a run one
 * file after another in front of its own Postgres and Neon. `faults` is two runs, so that the databases of one are gone when the next begins:
 * they are in memory. Options are passed to all; with paths `faults` is one run.
 */
import { spawn } from 'node:child_process'
import { glob, readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const REPORT = `${ROOT}.wrangler/tests.json`
/** What tenants that exist go through: files of `faults` for a run of their own. */
const OF_LIFE = /\/(move|restore|rotate|renaming|undo)/
const given = process.argv.slice(2)
const faults = given.some((option) => option.startsWith('test/')) ? [] : await filesOf('test/faults/*.test.ts')
type Run = { name: string; projects: string[]; files: string[] }
const LANES: Run[][] = [
  [
    { name: 'faults', projects: ['faults'], files: faults.filter((file) => !OF_LIFE.test(file)) },
    ...(faults.length ? [{ name: 'life', projects: ['faults'], files: faults.filter((file) => OF_LIFE.test(file)) }] : []),
  ],
  [{ name: 'slow+compressed', projects: ['slow', 'compressed'], files: [] }],
]

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

type Sums = { numPassedTests: number; numFailedTests: number }

/** Does the runs of a lane. Returns their exit statuses. */
async function drive(lane: Run[]): Promise<number[]> {
  const codes: number[] = []
  for (const each of lane) codes.push(await run(each))
  return codes
}

const codes = (await Promise.all(LANES.map(drive))).flat()
if (process.env.CI) {
  const reports = await Promise.all(
    LANES.flat().map(async ({ name }) => JSON.parse(await readFile(reportOf(name), 'utf8').catch(() => '{}')) as Partial<Sums>),
  )
  const sum = (name: keyof Sums) => reports.reduce((total, report) => total + (report[name] ?? 0), 0)
  const sums: Sums = { numPassedTests: sum('numPassedTests'), numFailedTests: sum('numFailedTests') }
  await writeFile(REPORT, JSON.stringify(sums))
}
process.exitCode = Math.max(...codes)
