import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'
import { table } from './table.ts'

const State = z.enum(['changed', 'missing', 'added'])
export const Drifted = z.object({ object: z.string(), state: State })
const Drift = z.object({
  schema_version: z.string().nullable(),
  is_compared: z.boolean(),
  drift: z.array(Drifted),
  ledger: z.array(z.object({ migration: z.string(), state: State })),
})

/** The command that compares a tenant's database with what the migrations make. */
export function addDrift(migrate: Command): void {
  migrate
    .command('drift')
    .description("show what of a tenant's database is not as the migrations make it; nothing is changed")
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .addHelpText('after', '\nExit status: 0 when there is no drift, 1 when there is.')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, (api) => show(api, name, options))
    })
}

async function show(api: Api, name: string, { json }: Globals): Promise<void> {
  const { id, subdomain } = await findTenant(api, name)
  const found = await api.call(Drift, 'GET', `/tenants/${id}/drift`)
  const { schema_version, is_compared, drift, ledger } = found
  const all = [...ledger.map(({ migration, state }) => ({ object: `migration ${migration}`, state })), ...drift]
  if (all.length) process.exitCode = 1
  if (json) return printJson(found)
  if (all.length)
    print(
      table(
        ['STATE', 'OBJECT'],
        all.map(({ object, state }) => [state, object]),
      ),
    )
  else if (is_compared) print(`The database of ${plain(subdomain)} is as the migrations make it.`)
  if (!is_compared)
    tell(
      `Only its ledger was checked: its schema is ${plain(schema_version ?? 'unknown')}, and objects are compared on the newest.`,
    )
}
