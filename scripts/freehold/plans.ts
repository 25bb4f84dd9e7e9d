import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import { addLimitOptions, inWords, type LimitOptions, limitsOf } from './limits.ts'
import { EVERYTHING, listed } from './lists.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { confirm } from './prompt.ts'
import { pairs, table } from './table.ts'

const Plan = z.looseObject({
  key: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  isolation: z.string().nullable(),
  limits: z.record(z.string(), z.unknown()),
  tenants: z.number(),
  tenants_pending: z.number(),
})
type Plan = z.infer<typeof Plan>

type Given = LimitOptions & { name?: string; description?: string; isolation?: string }

const addFields = (command: Command): Command =>
  addLimitOptions(
    command
      .argument('<key>', 'what tenants name it by')
      .option('--name <name>', 'what it is called; of a new plan the default is its key')
      .option('--description <text>', 'what it is for, or none')
      .option('--isolation <name>', 'of new tenants: database, branch or project, or none for DEFAULT_ISOLATION'),
  )

const fieldsOf = (given: Given) => ({
  name: given.name,
  description: given.description === 'none' ? null : given.description,
  isolation: given.isolation === 'none' ? null : given.isolation,
  limits: limitsOf(given),
})

/** The commands on plans. */
export function addPlans(program: Command): void {
  const plans = program
    .command('plans')
    .description('list, show, create, update and delete plans: the limits of tenants, and their isolation')
    .addHelpText('afterAll', CREDENTIAL_SETTINGS)
  const path = (key: string) => `/plans/${encodeURIComponent(key)}`

  plans
    .command('list')
    .description('list plans, by key')
    .example()
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, async (api) => {
        const { data } = await listed(api, Plan, '/plans', {}, EVERYTHING)
        if (options.json) return printJson({ data, next_cursor: null })
        if (!data.length) return tell('There is no plan yet.')
        const rows = data.map((p) => [p.key, p.name, p.isolation ?? '-', String(p.tenants), inWords(p.limits)])
        print(table(['KEY', 'NAME', 'ISOLATION', 'TENANTS', 'LIMITS'], rows))
      })
    })

  plans
    .command('show')
    .description('show a plan')
    .example('gold')
    .argument('<key>', 'its key')
    .action((key: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, async (api) => show(await api.call(Plan, 'GET', path(key)), options))
    })

  addFields(plans.command('create').description('create a plan').example('gold --max-users 50 --isolation project')).action(
    (key: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Given>()
      const body = { ...fieldsOf(options), key, name: options.name ?? key }
      return withApi(options, async (api) => show(await api.call(Plan, 'POST', '/plans', { body }), options))
    },
  )

  addFields(plans.command('update').description('update a plan; what is left out stays').example('gold --max-users none')).action(
    (key: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Given>()
      return withApi(options, async (api) => {
        const plan = await api.call(Plan, 'PATCH', path(key), { body: fieldsOf(options) })
        show(plan, options)
        if (!options.json && plan.tenants_pending)
          tell(`${plan.tenants_pending} of its tenants have not been told yet; the scheduled job does.`)
      })
    },
  )

  plans
    .command('delete')
    .description('delete a plan that no tenant has')
    .example('gold --yes')
    .argument('<key>', 'its key')
    .option('--yes', 'do not ask')
    .action((key: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { yes?: boolean }>()
      return withApi(options, async (api) => {
        await confirm(`Delete the plan ${plain(key)}?`, options)
        await api.call(z.unknown(), 'DELETE', path(key))
        if (options.json) printJson({ key, state: 'deleted' })
        else tell(`The plan ${key} is deleted.`)
      })
    })
}

function show(plan: Plan, { json }: { json?: boolean }): void {
  if (json) {
    printJson(plan)
    return
  }
  print(
    pairs([
      ['key', plan.key],
      ['name', plan.name],
      ['description', plan.description ?? '-'],
      ['isolation', plan.isolation ?? '-'],
      ['limits', inWords(plan.limits)],
      ['tenants', String(plan.tenants)],
    ]),
  )
}
