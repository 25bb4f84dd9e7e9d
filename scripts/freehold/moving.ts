import { Option } from 'commander'
import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { progressOn } from './progress.ts'
import { findTenant } from './registry.ts'

const Move = z.looseObject({
  subdomain: z.string(),
  isolation: z.string(),
  region: z.string(),
  newest: z
    .looseObject({
      state: z.enum(['running', 'done', 'failed']),
      steps: z.array(z.object({ name: z.string(), state: z.enum(['pending', 'running', 'done', 'failed']) })),
      error: z.string().nullable(),
      rows_copied: z.number(),
      closed_at: z.string().nullable(),
      exchanged_at: z.string().nullable(),
      left_until: z.string().nullable(),
    })
    .nullable(),
})
type Move = z.infer<typeof Move>
type Options = Globals & { to: string; region?: string; wait?: boolean }

const LOOK_MS = 500

/** The command that moves a tenant to a shared host, or to a project of its own. */
export function addMoving(tenants: Command): void {
  tenants
    .command('move')
    .description('move a tenant to a shared host, to a project of its own, or from one region to another')
    .example('acme --to project --region aws-eu-central-1')
    .argument('<tenant>', 'its id or its subdomain')
    .addOption(new Option('--to <isolation>', 'where it is moved').choices(['database', 'project']).makeOptionMandatory())
    .option(
      '--region <id>',
      "the region of the project; default: the platform's NEON_REGION. A tenant that has a project is moved there",
    )
    .option('--no-wait', 'do not wait until it is moved')
    .addHelpText(
      'after',
      `
The new database is made while the tenant is in use. While its rows are copied and compared, the tenant can be read, and requests that
write are answered with 503 and
Retry-After: some seconds for a small tenant, five minutes at most, after which the tenant stays where it was. People, passwords,
sessions, API keys and the audit are the same afterwards. The database that was left is deleted five minutes later.`,
    )
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      return withApi(options, (api) => move(api, name, options))
    })
}

async function move(api: Api, name: string, options: Options): Promise<void> {
  const { id } = await findTenant(api, name)
  const path = `/tenants/${id}/move`
  const body = { isolation: options.to, ...(options.region !== undefined && { region: options.region }) }
  const begun = await api.call(Move, 'POST', path, { body })
  const ended = options.wait === false ? begun : await follow(api, path, begun)
  if (options.json) printJson(ended)
  else report(ended)
  if (ended.newest?.state === 'failed') throw new Failure(`It was not moved: ${plain(ended.newest.error ?? '')}`)
}

async function follow(api: Api, path: string, begun: Move): Promise<Move> {
  const show = progressOn(process.stderr)
  for (let now = begun; ; now = await api.call(Move, 'GET', path)) {
    const { newest } = now
    show(
      (newest?.steps ?? []).map((step) => ({
        ...step,
        attempts: 1,
        started_at: null,
        finished_at: null,
        error: step.state === 'running' ? (newest?.error ?? null) : null,
      })),
    )
    if (newest?.state !== 'running') return now
    await new Promise((done) => setTimeout(done, LOOK_MS))
  }
}

function report({ subdomain, isolation, region, newest }: Move): void {
  if (newest?.state === 'running') tell(`${plain(subdomain)} is being moved.`)
  if (newest?.state !== 'done') return
  print(plain(`${subdomain} has isolation ${isolation}, in ${region}.`))
  const { closed_at, exchanged_at, rows_copied, left_until } = newest
  const seconds = (Date.parse(String(exchanged_at)) - Date.parse(String(closed_at))) / 1000
  tell(`${rows_copied} rows were copied. Requests that write were refused for ${seconds.toFixed(1)} s.`)
  if (left_until) tell(`The database that it left is deleted from ${plain(left_until)} on.`)
}
