import { z } from 'zod'
import { Tenant } from './answers.ts'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { ApiProblem, Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, printJson, tell } from './output.ts'
import { confirm, confirmName } from './prompt.ts'
import { findTenant } from './registry.ts'

const VERBS = {
  activate: ['activate a tenant', 'is active'],
  deactivate: ['deactivate a tenant, effective immediately', 'is inactive'],
  restore: ['restore a deleted tenant', 'is restored'],
} as const
const PAUSE_MS = 500
const PATIENCE_MS = 120_000

/** The commands that change the status of a tenant. */
export function addSwitching(tenants: Command): void {
  for (const [verb, [description, done]] of Object.entries(VERBS))
    tenants
      .command(verb)
      .description(description)
      .example('acme')
      .argument('<tenant>', 'its id or its subdomain')
      .action((name: string, _, command: Command) => {
        const options = command.optsWithGlobals<Globals>()
        return withApi(options, async (api) => {
          const tenant = await findTenant(api, name)
          const changed = await api.call(Tenant, 'POST', `/tenants/${tenant.id}/${verb}`)
          if (options.json) printJson(changed)
          else tell(`${plain(tenant.subdomain)} ${done}.`)
        })
      })

  tenants
    .command('delete')
    .description('delete a tenant; it can be restored, unless --hard is given')
    .example('acme --yes')
    .example('acme --hard --confirm acme')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--hard', 'erase it permanently: its database, logins and keys; also for a tenant that failed')
    .option('--confirm <subdomain>', 'with --hard: repeat the subdomain, and do not ask')
    .option('--yes', 'without --hard: do not ask')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Sure>()
      return withApi(options, (api) => remove(api, name, options))
    })
}

type Sure = { hard?: boolean; confirm?: string; yes?: boolean }

async function remove(api: Api, name: string, options: Globals & Sure): Promise<void> {
  const tenant = await findTenant(api, name)
  if (options.hard) await confirmName('Erasing cannot be undone', tenant.subdomain, options.confirm)
  else await confirm(`Delete ${plain(tenant.subdomain)}, whose users cannot log in from then on? It can be restored.`, options)
  const query = options.hard ? `?hard=true&confirm=${tenant.subdomain}` : ''
  await api.call(z.unknown(), 'DELETE', `/tenants/${tenant.id}${query}`)
  if (options.hard) await untilErased(api, tenant)
  if (options.json) printJson({ id: tenant.id, subdomain: tenant.subdomain, status: options.hard ? 'erased' : 'deleted' })
  else
    tell(options.hard ? `${plain(tenant.subdomain)} is erased.` : `${plain(tenant.subdomain)} is deleted; "restore" undoes it.`)
}

async function untilErased(api: Api, { id, subdomain }: Tenant): Promise<void> {
  const until = Date.now() + PATIENCE_MS
  tell(`Erasing ${plain(subdomain)} ...`)
  for (let left = await find(api, id); left; left = await find(api, id)) {
    if (left.database_error) throw new Failure(`${plain(subdomain)} is not erased yet. ${plain(left.database_error)}`)
    if (Date.now() > until) throw new Failure(`${plain(subdomain)} is still being erased; the scheduled job continues.`)
    await new Promise((done) => setTimeout(done, PAUSE_MS))
  }
}

/** The tenant; null: it is gone. */
const find = (api: Api, id: string) =>
  api.call(Tenant, 'GET', `/tenants/${id}`).catch((error) => {
    if (error instanceof ApiProblem && error.problem.code === 'not_found') return null
    throw error
  })
