import { createInterface } from 'node:readline/promises'
import { Option } from 'commander'
import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import { ApiProblem, WrongUsage } from './failure.ts'
import type { Globals } from './options.ts'
import { paint, plain, print, printJson, tell } from './output.ts'
import { table } from './table.ts'

const CHECKS = ['registry', 'kv', 'neon', 'work'] as const
const PAGE = 100
/** After too many requests: a user has 600 a minute. */
const PAUSE_MS = 5_000
const PAUSES = 24

const Finding = z.looseObject({
  check: z.string(),
  code: z.string(),
  subject: z.string(),
  detail: z.string(),
  fix: z.enum(['safe', 'ask']).nullable(),
  fix_detail: z.string().nullable(),
})
type Finding = z.infer<typeof Finding>
const Findings = z.object({ data: z.array(Finding), checked: z.number(), next_cursor: z.string().nullable() })
const Fixed = z.object({ code: z.string(), subject: z.string(), done: z.string() })

type Wanted = Globals & { check?: (typeof CHECKS)[number][]; fix?: boolean; yes?: boolean }
type Outcome = { code: string; subject: string; done?: string; error?: string }

const HELP = `
Without --fix nothing is changed. What loses nothing is asked for once, and what destroys data for each: its name must be typed. Exit status:
0 when nothing is found, or all of it was fixed; 1 otherwise. docs/guides/doctor.md explains each code.`

/** The command that compares master, KV and Neon. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('compare master, KV and Neon: what is on one side only, stale, stuck or behind')
    .example()
    .example('--fix')
    .addOption(new Option('--check <names...>', 'only these checks; default: all').choices(CHECKS))
    .option('--fix', 'fix what is found, after asking')
    .option('--yes', 'with --fix: do not ask, also before data is destroyed')
    .addHelpText('after', `${HELP}\n${CREDENTIAL_SETTINGS}`)
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Wanted>()
      if (options.yes && !options.fix) throw new WrongUsage('--yes fixes nothing by itself: give --fix, too.')
      return withApi(options, (api) => examine(api, options))
    })
}

async function examine(api: Api, options: Wanted): Promise<void> {
  const findings: Finding[] = []
  for (const check of CHECKS.filter((name) => options.check?.includes(name) ?? true)) findings.push(...(await lookAt(api, check)))
  if (!options.json) show(findings)
  const outcomes = options.fix ? await fixAll(api, findings, options) : []
  const left = findings.length - outcomes.filter(({ done }) => done !== undefined).length
  if (options.json) printJson({ findings, fixes: outcomes, left })
  else if (findings.some(({ fix }) => fix) && !options.fix) tell('\nTo fix what can be fixed: freehold doctor --fix')
  if (left) process.exitCode = 1
}

/** All findings of a check, page by page, with its progress on stderr. */
async function lookAt(api: Api, check: string): Promise<Finding[]> {
  const screen = process.stderr
  const found: Finding[] = []
  let checked = 0
  let cursor: string | null = null
  do {
    const at: string = cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''
    const page: z.infer<typeof Findings> = await patiently(() =>
      api.call(Findings, 'GET', `/doctor?check=${check}&limit=${PAGE}${at}`),
    )
    found.push(...page.data)
    checked += page.checked
    cursor = page.next_cursor
    if (screen.isTTY) screen.write(`\r\x1b[K${check}: ${checked} checked, ${found.length} found`)
  } while (cursor)
  screen.write(`${screen.isTTY ? '\r\x1b[K' : ''}${check}: ${checked} checked, ${found.length} found\n`)
  return found
}

/** Makes a call again that came too soon. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (let pauses = 0; ; pauses++)
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.problem.code !== 'rate_limited' || pauses === PAUSES) throw error
      await new Promise((done) => setTimeout(done, PAUSE_MS))
    }
}

function show(findings: Finding[]): void {
  if (!findings.length) print('Nothing is found.')
  for (const check of CHECKS) {
    const rows = findings.filter((found) => found.check === check)
    if (!rows.length) continue
    print(`\n${paint(process.stdout, 'bold', check)}`)
    print(
      table(
        ['CODE', 'SUBJECT', 'FIX', 'WHAT'],
        rows.map(({ code, subject, fix, detail }) => [code, subject, fix ?? '-', detail]),
      ),
    )
  }
}

async function fixAll(api: Api, findings: Finding[], { yes }: Wanted): Promise<Outcome[]> {
  const fixable = findings.filter(({ fix }) => fix)
  if (!fixable.length) return []
  const isAsked = process.stdin.isTTY && process.stderr.isTTY
  if (!yes && !isAsked) {
    tell('\nNothing is fixed: there is no terminal to ask on. Give --yes to fix without asking, also what destroys data.')
    return []
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const ask = async (text: string) => (yes ? null : (await lines.question(text)).trim())
    const safe = fixable.filter(({ fix }) => fix === 'safe')
    const answer = safe.length ? await ask(`\nFix the ${safe.length} that lose nothing? [y/N] `) : 'n'
    const outcomes: Outcome[] = []
    if (answer === null || /^y(es)?$/i.test(answer))
      for (const found of safe) outcomes.push(await send(api, found, '/doctor/fix'))
    for (const found of fixable.filter(({ fix }) => fix === 'ask')) {
      const name = found.subject.slice(found.subject.indexOf('/') + 1)
      const typed = await ask(`\n${plain(`${found.fix_detail}: ${found.subject}`)}? Type ${plain(name)} to do it: `)
      if (typed === null || typed === name) outcomes.push(await send(api, found, '/doctor/remove', name))
      else tell('Left as it is.')
    }
    return outcomes
  } finally {
    lines.close()
  }
}

/** Has one finding fixed. A refusal is told, and the next one comes. */
async function send(api: Api, { code, subject }: Finding, path: string, confirm?: string): Promise<Outcome> {
  try {
    const { done } = await patiently(() => api.call(Fixed, 'POST', path, { body: { code, subject, confirm } }))
    tell(`${plain(code)} ${plain(subject)}: ${plain(done)}`)
    return { code, subject, done }
  } catch (error) {
    if (!(error instanceof ApiProblem)) throw error
    const words = error.problem.detail ?? error.problem.title
    tell(`${paint(process.stderr, 'red', 'not fixed:')} ${plain(code)} ${plain(subject)}: ${plain(words)}`)
    return { code, subject, error: words }
  }
}
