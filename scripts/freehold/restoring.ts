import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { type Globals, whole } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { confirm, confirmName } from './prompt.ts'
import { findTenant } from './registry.ts'
import { pairs, table } from './table.ts'

const Named = z.object({ count: z.number(), names: z.array(z.string()) })
const Point = z.looseObject({
  id: z.string(),
  at: z.string(),
  state: z.string(),
  error: z.string().nullable(),
  difference: z.record(z.string(), z.record(z.string(), z.union([Named, z.number()]))).nullable(),
  finished_at: z.string().nullable(),
  kept_until: z.string(),
})
type Point = z.infer<typeof Point>
const Shown = z.looseObject({
  tenant_id: z.string(),
  subdomain: z.string(),
  window: z.object({ from: z.string(), until: z.string() }).nullable(),
  reason: z.string().nullable(),
  newest: Point.nullable(),
})
type Shown = z.infer<typeof Shown>
const PointList = z.object({ data: z.array(Point), next_cursor: z.string().nullable() })

const WORKED_ON = ['making', 'restoring', 'returning']
const LOOK_MS = 500
const MOST = 100

type Options = Globals & { wait?: boolean; confirm?: string; yes?: boolean }

/** An instant of RFC 3339. */
function instant(text: string): string {
  if (!z.iso.datetime({ offset: true }).safeParse(text).success)
    throw new InvalidArgumentError('It must be an instant, as 2027-01-31T12:00:00Z.')
  return new Date(text).toISOString()
}

/** The commands that take a tenant back to an earlier moment. */
export function addRestoring(tenants: Command): void {
  const points = tenants
    .command('restore-points')
    .description('take a tenant of isolation project back to an earlier moment, and forward again')
    .addHelpText(
      'after',
      `
First create a point, which changes nothing of the tenant and shows what differs; then confirm or discard it, within a day. Restoring
answers requests with 503 for some seconds, ends all sessions and one-time tokens, and keeps ended what was ended since. The state before
is kept for a week: "return" goes back to it; then it is removed. See docs/guides/tenants.md.`,
    )

  points
    .command('create')
    .description('make a restore point, and show what differs between then and now')
    .example('acme --at 2026-11-20T12:00:00Z')
    .argument('<tenant>', 'its id or its subdomain')
    .requiredOption('--at <instant>', 'the moment, within the window that "show" tells', instant)
    .option('--no-wait', 'do not wait until it is ready')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options & { at: string }>()
      return withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        const begun = await api.call(Shown, 'POST', pathOf(id), { body: { at: options.at } })
        await report(await followed(api, begun, options), 'ready', options)
      })
    })

  points
    .command('show')
    .description('show the moments that a tenant can be taken back to, and its newest restore point')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      return withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        const shown = await api.call(Shown, 'GET', pathOf(id))
        if (options.json) return printJson(shown)
        const { window, reason, newest } = shown
        if (window) print(plain(`It can be taken back to moments from ${window.from} until ${window.until}.`))
        if (reason) print(`No restore point can be made now: ${plain(reason)}`)
        if (newest) show(newest)
        else tell('It has had no restore point.')
      })
    })

  points
    .command('list')
    .description('list the restore points of a tenant, newest first')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--limit <n>', 'the maximum number of them', whole(1, MOST), 20)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { limit: number }>()
      return withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        const found = await api.call(PointList, 'GET', `/tenants/${id}/restore-points?limit=${options.limit}`)
        if (options.json) return printJson(found)
        if (!found.data.length) return tell('It has had no restore point.')
        const rows = found.data.map((one) => [one.id, one.state, one.at, one.kept_until, one.error ?? ''])
        print(table(['ID', 'STATE', 'MOMENT', 'KEPT UNTIL', 'ERROR'], rows))
        if (found.next_cursor) tell(`There are more than ${options.limit}; see --limit.`)
      })
    })

  for (const [verb, description, what, state] of [
    ['confirm', 'restore a tenant to a restore point', 'What was written since then is not there any more', 'restored'],
    [
      'return',
      'go back to the state before, within a week',
      'What was written since the restore is not there any more',
      'returned',
    ],
  ] as const)
    points
      .command(verb)
      .description(description)
      .example('acme 0198c2f0-7c1e-7b53-9d1f-3f6f4c6a2b10 --confirm acme')
      .argument('<tenant>', 'its id or its subdomain')
      .argument('<point>', 'the id of the restore point')
      .option('--confirm <subdomain>', 'repeat the subdomain, and do not ask')
      .option('--no-wait', 'do not wait until it is done')
      .action((name: string, point: string, _, command: Command) => {
        const options = command.optsWithGlobals<Options>()
        return withApi(options, async (api) => {
          const { id, subdomain } = await findTenant(api, name)
          await confirmName(what, subdomain, options.confirm)
          const path = `${pathOf(id)}/${encodeURIComponent(point)}/${verb}`
          const begun = await api.call(Shown, 'POST', path, { body: { confirm: subdomain } })
          await report(await followed(api, begun, options), state, options)
        })
      })

  points
    .command('discard')
    .description('give up a restore point that was not confirmed')
    .example('acme 0198c2f0-7c1e-7b53-9d1f-3f6f4c6a2b10 --yes')
    .argument('<tenant>', 'its id or its subdomain')
    .argument('<point>', 'the id of the restore point')
    .option('--yes', 'do not ask')
    .action((name: string, point: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      return withApi(options, async (api) => {
        const { id, subdomain } = await findTenant(api, name)
        await confirm(`Give up the restore point ${plain(point)} of ${plain(subdomain)}?`, options)
        await api.call(z.unknown(), 'DELETE', `${pathOf(id)}/${encodeURIComponent(point)}`)
        if (options.json) printJson({ id: point, state: 'dropped' })
        else tell(`The restore point ${plain(point)} of ${plain(subdomain)} is given up; nothing of the tenant has changed.`)
      })
    })
}

const pathOf = (id: string) => `/tenants/${id}/restore-point`

/** What it came to. The scheduled job goes on with what stopped, so that this ends. */
async function followed(api: Api, begun: Shown, { wait }: Options): Promise<Shown> {
  if (wait === false) return begun
  const words = { making: 'Making the restore point', restoring: 'Restoring', returning: 'Going back to the state before' }
  const point = begun.newest
  tell(
    plain(`${words[point?.state as keyof typeof words] ?? 'Working'} of ${begun.subdomain}${point ? ` (${point.id})` : ''} ...`),
  )
  let now = begun
  while (now.newest && WORKED_ON.includes(now.newest.state)) {
    await new Promise((done) => setTimeout(done, LOOK_MS))
    now = await api.call(Shown, 'GET', pathOf(now.tenant_id))
  }
  return now
}

/** Prints it. Fails with why it did not become what was asked for. */
async function report(shown: Shown, wanted: string, options: Options): Promise<void> {
  const { newest, subdomain } = shown
  if (options.json) printJson(shown)
  if (!newest || WORKED_ON.includes(newest.state)) {
    if (!options.json) tell(`It goes on; "restore-points show ${plain(subdomain)}" says how far it is.`)
    return
  }
  if (newest.state !== wanted) {
    const then =
      newest.state === 'ready' ? 'The tenant is as it was: confirm it again, or discard it.' : 'The tenant is as it was.'
    throw new Failure(`It is ${plain(newest.state)}, not ${wanted}: ${plain(newest.error ?? 'it says nothing')} ${then}`)
  }
  if (options.json) return
  show(newest)
  if (wanted === 'ready')
    tell(plain(`Next: restore-points confirm ${subdomain} ${newest.id} --confirm ${subdomain}, or restore-points discard.`))
  else if (wanted === 'restored')
    tell(`The state before can be gone back to until ${plain(newest.kept_until)}: restore-points return.`)
}

function show({ id, at, state, error, difference, kept_until }: Point): void {
  print(
    pairs([
      ['restore point', id],
      ['moment', at],
      ['state', state],
      ['kept until', kept_until],
      ...(error ? [['error', error] as [string, string]] : []),
    ]),
  )
  const rows = Object.entries(difference ?? {}).flatMap(([what, kinds]) =>
    Object.entries(kinds).flatMap(([how, found]) => {
      const { count, names } = typeof found === 'number' ? { count: found, names: [] } : found
      return count ? [[what.replaceAll('_', ' '), how, String(count), names.join(', ')]] : []
    }),
  )
  if (rows.length) print(`\n${table(['WHAT', 'SINCE THEN', 'COUNT', 'THE FIRST'], rows)}`)
  else if (difference) print('\nNothing differs between then and now.')
}
