import { Tenant } from './answers.ts'
import { type Api, withApi } from './api.ts'
import type { Command } from './command.ts'
import { WrongUsage } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'

type Changes = Partial<
  Record<'legalName' | 'contactName' | 'adminEmail' | 'taxId' | 'country' | 'plan' | 'environment' | 'config', string>
>

/** The commands that change who a tenant is. */
export function addChanging(tenants: Command): void {
  tenants
    .command('rename')
    .description('give a tenant another subdomain')
    .example('acme acme-labs')
    .argument('<tenant>', 'its id or its subdomain')
    .argument('<subdomain>', 'a DNS label in lower case')
    .addHelpText(
      'after',
      `
Tokens of before go on to count for 30 days. As long its former name is kept for it: pages and /.well-known/* there redirect, the API answers
410 with the new address. Who is logged in with cookies logs in again. See docs/guides/tenants.md.`,
    )
    .action((name: string, subdomain: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, async (api) => {
        const changed = await change(api, name, { subdomain })
        if (options.json) printJson(changed)
        else tell(`${plain(name)} is ${plain(changed.subdomain)} now, at ${plain(changed.url)}.`)
      })
    })

  tenants
    .command('change')
    .description('change what is noted of a tenant; what is not given stays')
    .example('acme --contact-name "Ada Quispe"')
    .example('acme --config \'{"origins": ["https://app.acme.test"]}\'')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--legal-name <name>', 'legal name of the organization')
    .option('--contact-name <name>', 'contact person; "" for none')
    .option('--admin-email <address>', 'where the platform writes to; no user is changed')
    .option('--tax-id <id>', 'tax id of the organization; in Peru the RUC; "" for none')
    .option('--country <code>', 'the country of the tax id, two capital letters; "" for none')
    .option('--plan <name>', 'the plan of the tenant; "" for none')
    .option('--environment <name>', 'demo or production')
    .option('--config <json>', 'an object: its keys are noted, those with null are removed, all others stay')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Changes>()
      return withApi(options, async (api) => {
        const changed = await change(api, name, patchOf(options))
        if (options.json) printJson(changed)
        else tell(`${plain(changed.subdomain)} is changed.`)
      })
    })
}

const change = async (api: Api, name: string, body: Record<string, unknown>) =>
  api.call(Tenant, 'PATCH', `/tenants/${(await findTenant(api, name)).id}`, { body })

/** An empty option removes what it names. */
const orNone = (given: string | undefined) => (given === '' ? null : given)

function patchOf(given: Changes): Record<string, unknown> {
  const { legalName, adminEmail, environment, config } = given
  const body = {
    legal_name: legalName,
    contact_name: orNone(given.contactName),
    admin_email: adminEmail,
    tax_id: orNone(given.taxId),
    country: orNone(given.country),
    plan: orNone(given.plan),
    environment,
    config: config === undefined ? undefined : parsed(config),
  }
  if (Object.values(body).every((value) => value === undefined)) throw new WrongUsage('Say what to change; see --help.')
  return body
}

function parsed(config: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(config)
  } catch {
    throw new WrongUsage('--config: this is not JSON.')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new WrongUsage('--config: this is not an object.')
  return value
}
