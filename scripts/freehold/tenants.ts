import { addAdopting } from './adopting.ts'
import { addUsage } from './analytics.ts'
import { Provisioning, type Step, Tenant } from './answers.ts'
import { type Api, withApi } from './api.ts'
import { addCertificate } from './certificate.ts'
import { addChanging } from './changing.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import { addExporting } from './exporting.ts'
import { addLicenses } from './licenses.ts'
import { addLimits } from './limits.ts'
import { addPaging, listed, type Paging, printList } from './lists.ts'
import { create, retry, type Wanted, type Watching } from './making.ts'
import { addMoving } from './moving.ts'
import { type Globals, whole } from './options.ts'
import { print, printJson, tell } from './output.ts'
import { failed, stepTable } from './provisioning.ts'
import { findTenant } from './registry.ts'
import { addResetting } from './resetting.ts'
import { addRestoring } from './restoring.ts'
import { addRotation } from './rotation.ts'
import { addSwitching } from './switching.ts'
import { minute, pairs } from './table.ts'

const MAX_WAIT_SECONDS = 3600
const ADMIN_SETTING = `
FREEHOLD_ADMIN_PASSWORD is the first administrator's password. Without it one is generated and shown only once.`

/** The arguments and options of a command that makes a tenant. */
const addWanted = (command: Command): Command =>
  command
    .argument('<subdomain>', 'a DNS label in lower case')
    .requiredOption('--legal-name <name>', 'legal name of the organization')
    .requiredOption('--admin-email <address>', 'e-mail address of the first administrator')
    .option('--tax-id <id>', 'tax id of the organization; in Peru the RUC')
    .option('--country <code>', 'two capital letters; default with a tax id: PE')
    .option('--contact-name <name>', 'contact person')
    .option('--plan <name>', 'the plan of the tenant, one that exists')
    .option('--environment <name>', 'demo or production; default: production')
    .option('--role-preset <name>', 'the preset of its roles; default: minimal')
    .addHelpText('after', ADMIN_SETTING)

type Listed = Partial<
  Record<'search' | 'status' | 'plan' | 'environment' | 'isolation' | 'region' | 'schemaVersion' | 'sort', string>
> &
  Paging

/** The commands on the platform's tenants. */
export function addTenants(program: Command): void {
  const tenants = program
    .command('tenants')
    .description(
      'list, show, create, rename, change, adopt, activate, deactivate, delete, move and restore tenants, rotate their keys, and reset passwords',
    )
    .addHelpText('afterAll', CREDENTIAL_SETTINGS)

  addPaging(tenants.command('list').description('list tenants, newest first'))
    .example('--status active --sort subdomain')
    .option('--search <text>', 'those with this in their subdomain, a former one, legal name or tax id')
    .option('--status <status>', 'those that are provisioning, active, inactive, failed, deleted or erasing')
    .option('--plan <name>', 'those of a plan')
    .option('--environment <name>', 'demo or production')
    .option('--isolation <name>', 'database, branch or project')
    .option('--region <id>', 'those in a region of Neon')
    .option('--schema-version <name>', 'those whose database has this schema')
    .option('--sort <field>', 'created_at, subdomain or legal_name; with a hyphen before it the other way round')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<Globals & Listed>()
      return withApi(options, (api) => list(api, options))
    })

  tenants
    .command('show')
    .description('show a tenant')
    .example('acme --steps')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--steps', 'show the steps of its provisioning and their trace ids, too')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { steps?: boolean }>()
      return withApi(options, (api) => show(api, name, options))
    })

  const making = addWanted(
    tenants
      .command('create')
      .description('create a tenant: its database, first administrator and keys')
      .example('acme --legal-name "Acme S.A.C." --admin-email ada@acme.test'),
  )
    .option('--isolation <name>', 'database (in a shared branch), branch or project (of its own); default: DEFAULT_ISOLATION')
    .option('--region <name>', 'with --isolation project: a region of Neon; default: NEON_REGION')
    .action((subdomain: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Watching & Wanted>()
      return withApi(options, (api) => create(api, newTenant(subdomain, options), options))
    })

  const again = tenants
    .command('retry')
    .description('retry a tenant that failed')
    .example('acme')
    .argument('<tenant>', 'its id or its subdomain')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Watching>()
      return withApi(options, async (api) => retry(api, await findTenant(api, name), options))
    })

  const adopting = addAdopting(tenants, addWanted, newTenant)
  addChanging(tenants)
  addSwitching(tenants)
  addUsage(tenants)
  addLimits(tenants)
  addLicenses(tenants)
  addRotation(tenants)
  addMoving(tenants)
  addCertificate(tenants)
  addRestoring(tenants)
  addResetting(tenants)
  addExporting(tenants)
  for (const command of [making, again, adopting])
    command
      .option('--wait <seconds>', 'how long to wait until it is active', whole(1, MAX_WAIT_SECONDS), 120)
      .option('--no-wait', 'do not wait')
}

async function list(api: Api, { json, limit, all, ...options }: Globals & Listed): Promise<void> {
  const { search, status, plan, environment, isolation, region, schemaVersion: schema_version, sort } = options
  const asked = { search, status, plan, environment, isolation, region, schema_version, sort }
  const found = await listed(api, Tenant, '/tenants', asked, { limit, all })
  const is_narrowed = Object.entries(asked).some(([name, value]) => value !== undefined && name !== 'sort')
  const none = is_narrowed ? 'There is no such tenant.' : 'There is no tenant yet.'
  const heads = ['SUBDOMAIN', 'STATUS', 'ENVIRONMENT', 'ISOLATION', 'CREATED (UTC)', 'LEGAL NAME']
  printList(found, { json, limit }, none, heads, (t) => [
    t.subdomain,
    t.status,
    t.environment,
    t.isolation,
    minute(t.created_at),
    t.legal_name,
  ])
}

async function show(api: Api, name: string, { json, steps }: { json?: boolean; steps?: boolean }): Promise<void> {
  const tenant = await findTenant(api, name)
  const isFailed = tenant.status === 'failed'
  const { data } =
    steps || (isFailed && !json)
      ? await api.call(Provisioning, 'GET', `/tenants/${tenant.id}/provisioning`)
      : { data: [] as Step[] }
  if (json) return printJson(steps ? { ...tenant, provisioning: data } : tenant)
  print(pairs(lines(tenant)))
  if (steps) print(`\n${stepTable(data)}`)
  if (tenant.database_error) tell(tenant.database_error)
  if (isFailed) tell(failed(tenant.subdomain, data))
}

const lines = (t: Tenant): [string, string][] => [
  ['subdomain', t.subdomain],
  ['status', t.status],
  ['url', t.url],
  ['id', t.id],
  ['legal name', t.legal_name],
  ['tax id', t.tax_id ?? '-'],
  ['country', t.country ?? '-'],
  ['region', t.region],
  ['admin e-mail', t.admin_email],
  ['contact', t.contact_name ?? '-'],
  ['plan', t.plan ?? '-'],
  ['environment', t.environment],
  ['isolation', t.isolation],
  ['role preset', t.role_preset],
  ['database', t.database_name],
  ['schema', t.schema_version ?? '-'],
  ['created (UTC)', minute(t.created_at)],
]

/** The request body. The password comes from the environment: every user of the machine can read options. */
const newTenant = (subdomain: string, given: Wanted) => ({
  subdomain,
  legal_name: given.legalName,
  tax_id: given.taxId,
  admin_email: given.adminEmail,
  country: given.country,
  contact_name: given.contactName,
  plan: given.plan,
  environment: given.environment,
  isolation: given.isolation,
  region: given.region,
  role_preset: given.rolePreset,
  admin_password: process.env.FREEHOLD_ADMIN_PASSWORD || undefined,
})
