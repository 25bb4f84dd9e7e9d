import { Option } from 'commander'
import type { Preset, PresetRole } from '../../src/presets/preset.ts'
import { presets } from '../../src/presets/presets.ts'
import { Role } from './answers.ts'
import { type Api, withTenant } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { pages } from './lists.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { subdomain } from './planes.ts'
import { table } from './table.ts'

type Outcome = { name: string; outcome: 'made' | 'extended' | 'kept'; permissions_added: number }

/** The command that sets up the roles of a preset in an existing tenant. */
export function addGroups(program: Command): void {
  program
    .command('setup-groups')
    .description('set up the roles of a preset in a tenant; can be run again')
    .example('acme --preset groups')
    .argument('<tenant>', 'its subdomain', subdomain)
    .addOption(new Option('--preset <name>', 'the preset').choices(Object.keys(presets)).default('groups'))
    .addHelpText(
      'after',
      `
An existing role gets the permissions that it lacks and keeps those that it has, also at another scope.
Nobody can hand out permissions that they do not hold: the user must hold all permissions of the preset.
${TENANT_CREDENTIAL_SETTINGS}`,
    )
    .action((tenant: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & { preset: string }>()
      const preset = presets[options.preset]
      if (preset) return withTenant(options, tenant, (api) => setUpGroups(api, tenant, preset, options))
    })
}

async function setUpGroups(api: Api, tenant: string, preset: Preset, { json }: { json?: boolean }): Promise<void> {
  const known = await rolesOf(api)
  const outcomes: Outcome[] = []
  // In order: a role comes after its parent.
  for (const wanted of preset.roles) outcomes.push(await setUpGroup(api, known, wanted))
  if (json) return printJson({ tenant, preset: preset.name, roles: outcomes })
  const rows = outcomes.map(({ name, outcome, permissions_added }) => [name, outcome, String(permissions_added)])
  print(table(['ROLE', 'OUTCOME', 'PERMISSIONS ADDED'], rows))
}

/** Creates a role, or adds the permissions that it lacks. */
async function setUpGroup(api: Api, known: Map<string, Role>, wanted: PresetRole): Promise<Outcome> {
  const { name, description, parent, grants, is_manageable, max_users } = wanted
  const permissions = grants.map(([permission, scope]) => ({ permission, scope }))
  const parent_id = parent === undefined ? null : (known.get(parent)?.id ?? null)
  const role = known.get(name)
  if (!role) {
    const body = { name, description, parent_id: parent_id ?? undefined, is_manageable, max_users, permissions }
    known.set(name, await api.call(Role, 'POST', '/roles', { body }))
    return { name, outcome: 'made', permissions_added: permissions.length }
  }
  if (role.parent_id !== parent_id) tell(`${plain(name)} inherits from another role than the preset says; that stays.`)
  const held = new Set(role.permissions.map(({ permission }) => permission))
  const lacking = permissions.filter(({ permission }) => !held.has(permission))
  if (!lacking.length) return { name, outcome: 'kept', permissions_added: 0 }
  await api.call(Role, 'POST', `/roles/${role.id}/permissions`, { body: { permissions: lacking } })
  return { name, outcome: 'extended', permissions_added: lacking.length }
}

/** All roles of the tenant, by name. */
async function rolesOf(api: Api): Promise<Map<string, Role>> {
  const roles = new Map<string, Role>()
  for await (const { data } of pages(api, Role, '/roles')) for (const role of data) roles.set(role.name, role)
  return roles
}
