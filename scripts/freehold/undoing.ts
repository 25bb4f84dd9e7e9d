import { z } from 'zod'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { confirm } from './prompt.ts'
import { findTenant } from './registry.ts'
import { table } from './table.ts'

const Writes = z.array(z.object({ table: z.string(), written: z.number(), restored: z.number() }))
const Undo = z.looseObject({
  subdomain: z.string(),
  schema_version: z.string().nullable(),
  is_possible: z.boolean(),
  reason: z.string().nullable(),
  undo_to: z.string().nullable(),
  writes: Writes.nullable(),
  newest: z
    .looseObject({
      state: z.enum(['running', 'done', 'refused', 'failed']),
      writes: Writes.nullable(),
      branch_left: z.string().nullable(),
      error: z.string().nullable(),
    })
    .nullable(),
})
type Undo = z.infer<typeof Undo>
type Options = Globals & { discardWrites?: boolean; yes?: boolean; wait?: boolean }

const LOOK_MS = 500

/** The command that undoes the last migration of one tenant. */
export function addUndo(migrate: Command): void {
  migrate
    .command('undo')
    .description('undo the last migration of one tenant that has a branch of its own')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--discard-writes', 'undo it although rows were written since, which are lost')
    .option('--yes', 'do not ask')
    .option('--no-wait', 'do not wait until it is undone')
    .addHelpText(
      'after',
      `
Before a migration a branch of the tenant's branch is taken, and kept for a week or until its next migration. The undo makes it the
tenant's. The tenant answers 503 for some seconds. It stays on the older schema until an operator begins a run: freehold migrate run.`,
    )
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      return withApi(options, (api) => undo(api, name, options))
    })
}

async function undo(api: Api, name: string, options: Options): Promise<void> {
  const { id } = await findTenant(api, name)
  const path = `/tenants/${id}/undo-migration`
  const found = await api.call(Undo, 'GET', path)
  if (!found.is_possible) throw new Failure(plain(found.reason ?? ''))
  const { subdomain, writes, undo_to } = found
  if (writes?.length) {
    tell(`Written in ${plain(subdomain)} since its migration:\n${counted(writes)}`)
    if (!options.discardWrites) throw new Failure('Repeat it with --discard-writes to lose that.')
  }
  await confirm(
    `Undo the migration of ${plain(subdomain)}, back to ${plain(undo_to ?? '')}${writes?.length ? ', and lose that' : ''}?`,
    options,
  )
  const begun = await api.call(Undo, 'POST', path, { body: { discard_writes: options.discardWrites ?? false } })
  const ended = options.wait === false ? begun : await wait(api, path, begun)
  if (options.json) printJson(ended)
  else report(ended)
  if (ended.newest?.state === 'refused' || ended.newest?.state === 'failed') process.exitCode = 1
}

async function wait(api: Api, path: string, begun: Undo): Promise<Undo> {
  tell(`Undoing the migration of ${plain(begun.subdomain)} ...`)
  let now = begun
  while (now.newest?.state === 'running') {
    await new Promise((done) => setTimeout(done, LOOK_MS))
    now = await api.call(Undo, 'GET', path)
  }
  return now
}

function report({ subdomain, schema_version, newest }: Undo): void {
  if (newest?.state === 'done') {
    print(plain(`${subdomain} has the schema ${schema_version} again.`))
    tell(`The branch that it had is at Neon until the tenant is erased: ${plain(newest.branch_left ?? '')}.`)
  } else if (newest?.state === 'running') tell(`The migration of ${plain(subdomain)} is being undone.`)
  else {
    tell(`It was not undone: ${plain(newest?.error ?? '')}`)
    if (newest?.state === 'refused' && newest.writes?.length) tell(counted(newest.writes))
  }
}

const counted = (writes: z.infer<typeof Writes>) =>
  table(
    ['TABLE', 'WRITTEN', 'CHANGED OR DELETED'],
    writes.map((row) => [row.table, String(row.written), String(row.restored)]),
  )
