import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import { addDrift, Drifted } from './drift.ts'
import { Failure } from './failure.ts'
import { following } from './following.ts'
import { type Globals, whole } from './options.ts'
import { paint, plain, print, printJson, tell } from './output.ts'
import { minute, pairs, table } from './table.ts'
import { addUndo } from './undoing.ts'

const Plan = z.object({
  target: z.string(),
  tenants: z.number(),
  waves: z.array(z.object({ wave: z.string(), tenants: z.number() })),
})
const Run = z.looseObject({
  id: z.string(),
  target: z.string(),
  state: z.enum(['running', 'stopped', 'done']),
  reason: z.string().nullable(),
  wave: z.string(),
  rest_from: z.string(),
  tenants: z.object({ pending: z.number(), running: z.number(), done: z.number(), failed: z.number(), undone: z.number() }),
  drifted: z.number(),
  created_at: z.string(),
  finished_at: z.string().nullable(),
})
type Run = z.infer<typeof Run>
const RunList = z.object({ data: z.array(Run), next_cursor: z.string().nullable() })
const Drift = z.object({ count: z.number(), objects: z.array(Drifted) })
const Report = z.object({
  data: z.array(
    z.looseObject({
      subdomain: z.string(),
      wave: z.string(),
      state: z.string(),
      from: z.string().nullable(),
      to: z.string(),
      ms: z.number().nullable(),
      step: z.string().nullable(),
      error: z.string().nullable(),
      drift: Drift.nullable(),
    }),
  ),
  next_cursor: z.string().nullable(),
})

type Shown = { tenants?: boolean }
type Watching = { json?: boolean; wait?: boolean }
type Wanted = { now?: boolean; concurrency?: number; stopPercent?: number }

const IDLE_MS = 2_000
const BAR = 30

/** The commands that take tenants to the newest schema. */
export function addMigrate(program: Command): void {
  const migrate = program
    .command('migrate')
    .description('take all tenants to the newest schema: plan, run, status, resume, undo, drift')
    .addHelpText('afterAll', CREDENTIAL_SETTINGS)

  migrate
    .command('plan')
    .description('show how many tenants are behind, by wave')
    .example()
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, (api) => plan(api, options))
    })

  migrate
    .command('run')
    .description(
      'migrate the tenants that are behind: a canary, 1 %, 10 %, those that are awake, the rest at night or when touched',
    )
    .example()
    .example('--now --concurrency 5')
    .option('--now', 'migrate those that are not awake at once, too')
    .option('--concurrency <n>', 'tenants at once; default: MIGRATION_CONCURRENCY of the Worker', whole(1, 100))
    .option('--stop-percent <n>', 'stop when more than this share failed; default: 5', whole(0, 100))
    .option('--no-wait', 'do not wait until all are migrated that are not left for the night')
    .addHelpText('after', '\nThe master comes first: run `freehold setup` of this release before.')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals & Watching & Wanted>()
      const { now, concurrency, stopPercent: stop_percent } = options
      const body = { rest: now ? 'now' : 'tonight', concurrency, stop_percent }
      return withApi(options, async (api) => watch(api, await api.call(Run, 'POST', '/migrations', { body }), options))
    })

  migrate
    .command('status')
    .description('show a run and what failed in it')
    .example('--tenants')
    .argument('[run]', 'its id; default: the newest')
    .option('--tenants', 'show every tenant of it: from, to, how long it took, and why it failed')
    .action((id: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Shown>()
      return withApi(options, async (api) => show(api, await found(api, id), options))
    })

  migrate
    .command('resume')
    .description('try again what failed in a run')
    .example()
    .argument('[run]', 'its id; default: the newest')
    .option('--no-wait', 'do not wait until all are migrated that are not left for the night')
    .action((id: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Watching>()
      return withApi(options, async (api) => {
        const run = await found(api, id)
        return watch(api, await api.call(Run, 'POST', `/migrations/${run.id}/resume`), options)
      })
    })

  addUndo(migrate)
  addDrift(migrate)
}

async function plan(api: Api, { json }: Globals): Promise<void> {
  const { target, tenants, waves } = await api.call(Plan, 'GET', '/migrations/plan')
  if (json) return printJson({ target, tenants, waves })
  if (!tenants) return print(`All tenants have the newest schema, ${plain(target)}.`)
  print(`${tenants} ${tenants === 1 ? 'tenant is' : 'tenants are'} behind ${plain(target)} or their preset.\n`)
  print(
    table(
      ['WAVE', 'TENANTS'],
      waves.map((wave) => [wave.wave, String(wave.tenants)]),
    ),
  )
}

/** A run by its id, or the newest. */
async function found(api: Api, id: string | undefined): Promise<Run> {
  if (id !== undefined) return api.call(Run, 'GET', `/migrations/${encodeURIComponent(id)}`)
  const { data } = await api.call(RunList, 'GET', '/migrations?limit=1')
  if (!data[0]) throw new Failure('There was no run yet: `freehold migrate run` begins one.')
  return data[0]
}

/** Whether nothing of a run happens before the night. */
const waits = ({ state, wave, tenants, rest_from }: Run) =>
  state === 'running' && wave !== 'rest' && !tenants.running && tenants.pending > 0 && Date.parse(rest_from) > Date.now()

async function watch(api: Api, begun: Run, options: Globals & Watching): Promise<void> {
  let run = begun
  const draw = progress()
  if (options.wait !== false && run.state === 'running') {
    draw(run)
    let idleSince: number | null = null
    for await (run of following(api, Run, `/migrations/${run.id}`)) {
      draw(run)
      // A run that has nothing to do may be about to open its next wave: only one that still waits a moment later does.
      idleSince = waits(run) ? (idleSince ?? Date.now()) : null
      if (run.state !== 'running' || (idleSince !== null && Date.now() - idleSince > IDLE_MS)) break
    }
  }
  draw(run)
  await show(api, run, options)
}

async function show(api: Api, run: Run, { json, tenants }: Globals & Shown): Promise<void> {
  const all = tenants ? await report(api, run, '') : []
  const failed = run.tenants.failed ? await report(api, run, 'state=failed') : []
  const drifted = run.drifted ? await report(api, run, 'drifted=true') : []
  if (json) printJson({ ...run, failures: failed, drifts: drifted, ...(tenants && { report: all }) })
  else {
    const { done, pending, running, undone } = run.tenants
    print(
      pairs([
        ['run', run.id],
        ['to', run.target],
        ['state', run.reason ? `${run.state}: ${run.reason}` : run.state],
        ['wave', run.wave],
        [
          'tenants',
          `${done} done, ${run.tenants.failed} failed, ${running} running, ${pending} pending${undone ? `, ${undone} undone` : ''}`,
        ],
      ]),
    )
    if (all.length)
      print(
        `\n${table(
          ['TENANT', 'STATE', 'FROM', 'TO', 'MS', 'WHY'],
          all.map((row) => [row.subdomain, row.state, row.from ?? '-', row.to, String(row.ms ?? '-'), row.error ?? '-']),
        )}`,
      )
    if (failed.length)
      print(
        `\n${table(
          ['FAILED', 'FROM', 'STEP', 'WHY'],
          failed.map((row) => [row.subdomain, row.from ?? '-', row.step ?? '-', row.error ?? '-']),
        )}`,
      )
    if (drifted.length)
      print(
        `\n${table(
          ['DRIFTED', 'OBJECTS', 'FIRST'],
          drifted.map(({ subdomain, drift }) => [subdomain, String(drift?.count), first(drift?.objects)]),
        )}`,
      )
    if (waits(run)) tell(`\nThe rest is migrated from ${plain(minute(run.rest_from))} (UTC) on, or when it is touched.`)
    if (failed.length || run.state === 'stopped') tell('\nMend what it says, then: freehold migrate resume')
  }
  if (run.state === 'stopped' || failed.length) process.exitCode = 1
}

/** The report on the tenants of a run, all of its pages. */
async function report(api: Api, { id }: Run, which: string): Promise<z.infer<typeof Report>['data']> {
  const rows: z.infer<typeof Report>['data'] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = [which, 'limit=100', cursor && `cursor=${encodeURIComponent(cursor)}`].filter(Boolean).join('&')
    const page: z.infer<typeof Report> = await api.call(Report, 'GET', `/migrations/${id}/tenants?${query}`)
    rows.push(...page.data)
    cursor = page.next_cursor
  }
  return rows
}

const first = ([drifted]: z.infer<typeof Drifted>[] = []) => (drifted ? `${drifted.object} ${drifted.state}` : '-')

/** Shows how far a run is: on a terminal a bar that is redrawn, else a line each time that a tenant is done. */
function progress(): (run: Run) => void {
  const screen = process.stderr
  let last = ''
  return ({ tenants: { done, failed, running, pending, undone }, wave }) => {
    const over = done + failed + undone
    const all = over + running + pending
    const full = all ? Math.round((over / all) * BAR) : BAR
    const bar = paint(screen, failed ? 'red' : 'green', '#'.repeat(full)) + '.'.repeat(BAR - full)
    const line = `${bar} ${over} of ${all}, ${plain(wave)}${failed ? `, ${failed} failed` : ''}`
    if (line === last) return
    last = line
    if (screen.isTTY) screen.write(`\r\x1b[K${line}${running + pending ? '' : '\n'}`)
    else screen.write(`${line}\n`)
  }
}
