/**
 * Looks whether something has the names already that a deploy will take. Threat: wrangler replaces a Worker of the same name, and takes
 * over a Workflow of another Worker; and a master that is set up with new keys beside a Worker that has others can never be read.
 */
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { CloudflareError, type Permission } from './cloudflare.ts'
import type { Context } from './context.ts'
import { readSecrets } from './secrets-file.ts'
import type { Found, Step } from './steps.ts'
import { accountOf, valuesFor, workerOf } from './wrangler-config.ts'

const Settings = z.object({ bindings: z.array(z.looseObject({ name: z.string() })) })
const Workflow = z.object({ script_name: z.string() })
const Routes = z.array(z.object({ pattern: z.string(), script: z.string().nullish() }))

export function namesStep(context: Context): Step {
  const { api, known, wanted } = context
  const path = (name: string) => `/accounts/${accountOf(context)}/workers/scripts/${name}/settings`
  const orNull = <T>(schema: z.ZodType<T>, permission: Permission, at: string): Promise<T | null> =>
    api.ask(schema, permission, 'GET', at).catch((error) => {
      if (error instanceof CloudflareError && error.status === 404) return null
      throw error
    })

  const look = async (): Promise<Found> => {
    const { name, workflows } = workerOf(wanted.config)
    const worker = await orNull(Settings, 'scripts', path(name))
    const has = (binding: string) => worker?.bindings.some((each) => each.name === binding)
    if (worker && !has('TENANTS'))
      throw new Failure(
        `The account has a Worker ${name}, which is not Freehold and would be replaced: give \`name\` under [env.production] of wrangler.toml another value. Nothing was made.`,
      )
    if (has('ENCRYPTION_KEYS') && !(await readSecrets(wanted.secrets)).ENCRYPTION_KEYS)
      throw new Failure(
        `The Worker ${name} has key rings already, which cannot be read back, and ${wanted.secrets} has none: put the file back that an earlier run wrote, from your password manager. New ones could not decrypt what the master holds. Nothing was made.`,
      )
    for (const workflow of workflows) {
      const owner = (await orNull(Workflow, 'scripts', `/accounts/${accountOf(context)}/workflows/${workflow}`))?.script_name
      if (owner !== undefined && owner !== name)
        throw new Failure(
          `The Workflow ${workflow} is of the Worker ${owner}, from which a deploy would take it: give it another name under [env.production] of wrangler.toml. Nothing was made.`,
        )
    }
    const routes = await api.ask(Routes, 'routes', 'GET', `/zones/${known.zone?.id}/workers/routes`)
    const taken = routes.find(
      ({ pattern, script }) => script && script !== name && valuesFor(context).routes.some((route) => route.pattern === pattern),
    )
    if (taken)
      throw new Failure(
        `The route ${taken.pattern} leads to the Worker ${taken.script}: remove it there, or choose another domain. Nothing was made.`,
      )
    return { is: 'done', says: worker ? `the Worker ${name} is there from an earlier run` : 'they are free' }
  }
  return {
    name: 'names',
    does: 'Looks whether the Worker, its Workflows and its routes would take the place of something else.',
    look,
    plan: () => [`GET ${path('freehold')}`, `GET /accounts/${accountOf(context)}/workflows/…`],
    run: async () => (await look()).says,
  }
}
