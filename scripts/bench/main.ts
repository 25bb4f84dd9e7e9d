import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import type { Finding } from './finding.ts'
import { measures } from './measures/measures.ts'
import { requireProc } from './proc.ts'
import { chart } from './report/chart.ts'
import { circumstances } from './report/circumstances.ts'
import { json } from './report/json.ts'
import { type Missing, page } from './report/page.ts'
import { table } from './report/table.ts'
import { openStage } from './stage.ts'

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url))
const HELP = `What the Worker costs, against the least that the same work could cost, on the built bundle in workerd.

  npm run bench -- [options]

  --quick        less of everything: some three minutes, and coarser
  --only NAME    one measure: ${measures.map(({ name }) => name).join(', ')}; may be given again
  --help         show this

The report is a table on stdout. A run of everything also writes docs/bench.md, docs/bench.svg and docs/bench.json, after
each measure. A goal that is missed
fails nothing; where the measurements are too far apart, the report says that the machine was too busy to tell. Linux only: CPU and memory
are read from /proc.
`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(HELP)
  const unknown = values.only.find((name) => !measures.some((measure) => measure.name === name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there is no such measure. See --help.`)
  requireProc()

  const started = Date.now()
  const say = (line: string) => process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`)
  const stops: (() => Promise<void>)[] = []
  const end = async () => {
    for (const stop of stops.splice(0).reverse()) await stop().catch((error) => say(String(error)))
  }
  const opening = openStage({ quick: values.quick, say, onStop: (stop) => stops.push(stop) })
  // A stage that is still opening is closed once it is open.
  const interrupted = () => opening.then(end, end).then(() => process.exit(1))
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => void interrupted())
  try {
    const stage = await opening
    const findings: Finding[] = []
    const failed: string[] = []
    const left = measures.filter(({ name }) => !values.only.length || values.only.includes(name))
    for (let measure = left.shift(); measure; measure = left.shift()) {
      const { name } = measure
      say(`Measuring ${name} ...`)
      // One that fails does not take the half hour of the others with it.
      await measure.run(stage).then(
        (found) => findings.push(...found),
        (error: Error) => {
          say(`${name} failed: ${error.message}`)
          failed.push(name)
        },
      )
      // What is interrupted later has written what it had.
      if (!values.quick && !values.only.length) await write(findings, { failed, left: left.map((measure) => measure.name) })
    }
    process.stdout.write(table(findings))
    if (failed.length) throw new Error(`Not measured, because they failed: ${failed.join(', ')}.`)
  } finally {
    await end()
  }
}

async function write(findings: Finding[], missing: Missing): Promise<void> {
  const about = await circumstances()
  await writeFile(`${DOCS}bench.json`, json(findings, about))
  await writeFile(`${DOCS}bench.svg`, chart(findings))
  await writeFile(`${DOCS}bench.md`, page(findings, about, missing))
  // Its tables and its JSON as the linter wants them.
  await promisify(execFile)('biome', ['format', '--write', DOCS])
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
