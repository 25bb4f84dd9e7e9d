/**
 * `npm run test:faults`: what takes long by nature, as runs of vitest of some ten minutes, three at a time, because most of it waits. Each
 * does one file after another in front of its own Postgres and Neon, which are in memory and gone with it. `--part 2/4` does the second
 * quarter of them, and what each part does (ALWAYS in test/slow.ts). Other options are passed to all; with paths each project is one run.
 */
import { spawn } from 'node:child_process'
import { glob, readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ALWAYS, ALWAYS_IN_WORKER, SECONDS, SLOW, SLOW_IN_WORKER, SOME_SECONDS } from '../../test/slow.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const REPORT = `${ROOT}.wrangler/tests.json`
const AT_ONCE = 3
const RUN_SECONDS = 600
const PART = /^([1-9])\/([1-9])$/
const HELP = `What takes long by nature, in runs of some ten minutes, three at a time.

  npm run test:faults -- [options] [files]

  --part 2/6     the second of six parts, with what every part does; all of them without it
  --help         show this

Other options are Vitest's.`
const { part, given } = asked(process.argv.slice(2))
type Run = { name: string; project: string; files: string[]; seconds: number }
const whole = (project: string): Run => ({ name: project, project, files: [], seconds: RUN_SECONDS / 2 })
/** Runs of every part. */
const EACH: Run[] = [
  { ...whole('slow'), name: 'always', files: ALWAYS },
  { ...whole('faults'), name: 'always-in-worker', files: ALWAYS_IN_WORKER },
]
const is_given = given.some((option) => option.startsWith('test/'))
const ALL = is_given
  ? ['faults', 'slow', 'compressed'].map(whole)
  : [
      ...(await split('faults', ['test/faults/*.test.ts', ...SLOW_IN_WORKER])),
      ...(await split('slow', SLOW)),
      whole('compressed'),
    ]
ALL.sort((one, other) => other.seconds - one.seconds)
const RUNS = [...(is_given ? [] : EACH), ...ALL.filter((_, i) => i % part.of === part.index)]

/** Which part of the runs is wanted, and what Vitest is told. */
function asked(options: string[]) {
  if (options.includes('--help')) {
    console.log(HELP)
    process.exit(0)
  }
  const at = options.indexOf('--part')
  if (at < 0) return { part: { index: 0, of: 1 }, given: options }
  const [, index, of] = (PART.exec(options[at + 1] ?? '') ?? []).map(Number)
  if (!index || !of || index > of) {
    console.error('Give --part as in 2/4: the second of four.')
    process.exit(2)
  }
  return { part: { index: index - 1, of }, given: options.toSpliced(at, 2) }
}

/** The files of a project as runs that take about as long as each other: the longest file that is left goes to the shortest run. */
async function split(project: string, patterns: string[]): Promise<Run[]> {
  const files: string[] = []
  for await (const file of glob(patterns, { cwd: ROOT }))
    if (!ALWAYS.includes(file) && !ALWAYS_IN_WORKER.includes(file)) files.push(file)
  const timeOf = (file: string) => SECONDS[file] ?? SOME_SECONDS
  files.sort((one, other) => timeOf(other) - timeOf(one) || (one < other ? -1 : 1))
  const count = Math.ceil(files.reduce((sum, file) => sum + timeOf(file), 0) / RUN_SECONDS)
  const runs = Array.from({ length: count }, (_, i): Run => ({ name: `${project}-${i + 1}`, project, files: [], seconds: 0 }))
  for (const file of files) {
    const shortest = runs.reduce((least, run) => (run.seconds < least.seconds ? run : least))
    shortest.files.push(file)
    shortest.seconds += timeOf(file)
  }
  return runs
}

const reportOf = (name: string) => `${ROOT}.wrangler/tests-${name}.json`

/** Runs files of a project, with the run's name before each line. Returns the exit status. */
function run({ name, project, files }: Run): Promise<number> {
  const all = ['run', '--config', 'test/vitest.config.ts', '--passWithNoTests', '--project', project, ...files, ...given]
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
