import { Option } from 'commander'
import { z } from 'zod'
import { presets } from '../../src/presets/presets.ts'
import { rucFor } from '../dev/settings.ts'
import { ApiDocument, type Tenant } from './answers.ts'
import { type Api, connected, withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS, operatorConnection } from './credentials.ts'
import { Failure } from './failure.ts'
import { create } from './making.ts'
import { type Globals, isLoopback } from './options.ts'
import { plain, print, printJson } from './output.ts'
import { tenantNamed } from './registry.ts'
import { pairs } from './table.ts'

/**
 * The organization and the superuser of the seed's SetupDevUsers. The seed's password, `string`, fails every policy, so one is
 * generated.
 */
const DEV = { subdomain: 'dev', legal_name: 'Admin Organization', admin_email: 'user@example.com', environment: 'demo' }
const ORGANIZATION = 'Admin Organization'
const WAIT_SECONDS = 120
const Made = z.looseObject({ id: z.string() })

type Options = Globals & { rolePreset: string }

/** The command that creates a tenant for development. */
export function addDevUsers(program: Command): void {
  program
    .command('setup-dev-users')
    .description(
      `create the demo tenant "${DEV.subdomain}" with the administrator ${DEV.admin_email} in an organization; never in production`,
    )
    .example()
    .addOption(new Option('--role-preset <name>', 'the preset of its roles').choices(Object.keys(presets)).default('groups'))
    .addHelpText(
      'after',
      `
Refuses unless the platform runs on this machine, judged by its address and by what its API document says.
The password is generated, shown only once, and need not be changed. An existing tenant stays as it is.
${CREDENTIAL_SETTINGS}`,
    )
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<Options>()
      await refuseProduction(options.url ?? (await operatorConnection(options)).url)
      await withApi(options, (api) => setUpDevUsers(api, options))
    })
}

async function setUpDevUsers(api: Api, options: Options): Promise<void> {
  const { json, rolePreset } = options
  const known = await tenantNamed(api, DEV.subdomain)
  if (known) return showExisting(known, json)
  const { generatePassword } = await import('../../src/passwords/hash.ts')
  const password = generatePassword()
  const wanted = { ...DEV, tax_id: rucFor(DEV.subdomain), role_preset: rolePreset, admin_password: password }
  await create(api, wanted, { wait: WAIT_SECONDS, ...(json && { json }) }, '/tenants', {
    password,
    complete: () => joinOrganization(options, api.url, password),
  })
}

/** Makes the organization of the administrator, by themselves, and lets them join it. */
async function joinOrganization(globals: Globals, url: string, password: string): Promise<Record<string, string>> {
  const credentials = { email: DEV.admin_email, password, from: 'The new administrator' }
  await connected(globals, { url, setting: 'The new tenant', tenant: DEV.subdomain, credentials }, async (own) => {
    const { id } = await own.call(Made, 'POST', '/organizations', { body: { name: ORGANIZATION } })
    const me = await own.call(Made, 'GET', '/users/me')
    await own.call(z.unknown(), 'PUT', `/organizations/${id}/members/${me.id}`)
  })
  return { organization: ORGANIZATION }
}

function showExisting(tenant: Tenant, json: boolean | undefined): void {
  const { subdomain, environment, status, url, admin_email } = tenant
  if (environment !== DEV.environment) throw new Failure(`Refused: the tenant ${subdomain} is one of ${plain(environment)}.`)
  const facts = pairs([
    ['status', status],
    ['url', url],
    ['admin', admin_email],
  ])
  if (json) printJson(tenant)
  else print(`The tenant ${subdomain} exists already; nothing is changed, and the password stays as it is.\n\n${facts}`)
}

/**
 * Threat: an operator's shell that points at production, or at a tunnel to it, which has a loopback address too. So the server is
 * asked as well, before the login: one in production sends no Server-Timing, and its OpenAPI document names its public address.
 */
async function refuseProduction(url: string): Promise<void> {
  if (!isLoopback(new URL(url).hostname)) throw new Failure(`Refused: ${url} is not on this machine, and may be production.`)
  const answer = await fetch(`${url}/openapi.json`, { redirect: 'manual', signal: AbortSignal.timeout(30_000) }).catch(() => null)
  const document = ApiDocument.safeParse(await answer?.json().catch(() => null))
  // If the server is unreachable or not Freehold, the first call fails with the reason.
  if (!document.success) return
  const own = document.data.servers.map((server) => server.url).filter((address) => !address.includes('{'))
  if (!answer?.headers.has('Server-Timing')) throw new Failure(`Refused: the server at ${url} runs in production.`)
  const elsewhere = own.find((address) => !isLoopback(new URL(address).hostname))
  if (elsewhere) throw new Failure(`Refused: the server at ${url} is known as ${elsewhere}, and may be production.`)
}
