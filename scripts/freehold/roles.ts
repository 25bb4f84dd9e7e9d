import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { Role } from './answers.ts'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import { addPaging, listed, type Paging, pages, printList } from './lists.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findUser, WHO } from './people.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute, pairs, table } from './table.ts'

const InFull = Role.extend({
  description: z.string().nullable(),
  is_active: z.boolean(),
  max_users: z.number().nullable(),
  inherited: z.array(z.object({ permission: z.string(), scope: z.string(), from: z.string() })).optional(),
})
const Assignment = z.looseObject({ role: z.string(), starts_at: z.string(), ends_at: z.string().nullable() })
const Permission = z.looseObject({ name: z.string(), description: z.string().nullable(), is_administrative: z.boolean() })
type Grant = { permission: string; scope: string }

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const SCOPES = ['all', 'department', 'team', 'own']
const ROLE = 'its id or its name'
const GRANT_HELP = 'as document:read, or with a scope as document:read=own (all, department, team, own); without one: all'

/** The commands on the roles of a tenant. */
export function addRoles(program: Command): void {
  const roles = program
    .command('roles')
    .description('list, show, create and delete the roles of a tenant, change their permissions, and assign them to users')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  const made = (parent: Command, name: string, does: string) => addTenant(parent.command(name).description(does))

  addPaging(made(roles, 'list', 'list roles, by name'))
    .example('--tenant acme')
    .option('--search <text>', 'those whose name begins with this')
    .action((_, command: Command) => list(command.optsWithGlobals()))

  made(roles, 'show', 'show a role and its permissions')
    .example('viewer --tenant acme')
    .argument('<role>', ROLE)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const { id } = await findRole(api, name)
        show(await api.call(InFull, 'GET', `/roles/${id}`), options)
      })
    })

  made(roles, 'create', 'create a role')
    .example('chemist --permission document:read document:update=own --tenant acme')
    .argument('<name>', 'its name')
    .option('--description <text>', 'what it is for')
    .option('--parent <role>', 'the role from which it inherits: its id or its name')
    .option('--max-users <n>', 'how many users may hold it', Number)
    .option('--permission <grant...>', GRANT_HELP, grants)
    .action((name: string, _, command: Command) => create(name, command.optsWithGlobals()))

  made(roles, 'delete', 'delete a role that nobody holds')
    .option('--yes', 'do not ask')
    .example('chemist --tenant acme --yes')
    .argument('<role>', ROLE)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { yes?: boolean }>()
      return inTenant(options, async (api) => {
        const role = await findRole(api, name)
        await confirm(`Delete the role ${plain(role.name)}?`, options)
        await api.call(z.unknown(), 'DELETE', `/roles/${role.id}`)
        if (options.json) printJson({ id: role.id, state: 'deleted' })
        else tell(`The role ${plain(role.name)} is deleted.`)
      })
    })

  const permissions = roles.command('permissions').description('add permissions to a role, and remove them from it')
  made(permissions, 'add', 'add permissions to a role, or change their scope')
    .example('chemist document:approve=team --tenant acme')
    .argument('<role>', ROLE)
    .argument('<permission...>', GRANT_HELP, grants)
    .action((name: string, given: Grant[], _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const { id } = await findRole(api, name)
        show(await api.call(InFull, 'POST', `/roles/${id}/permissions`, { body: { permissions: given } }), options)
      })
    })

  made(permissions, 'remove', 'remove permissions from a role')
    .example('chemist document:approve --tenant acme')
    .argument('<role>', ROLE)
    .argument('<permission...>', 'as document:read')
    .action((name: string, given: string[], _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const role = await findRole(api, name)
        for (const permission of given)
          await api.call(z.unknown(), 'DELETE', `/roles/${role.id}/permissions/${encodeURIComponent(permission)}`)
        if (options.json) printJson({ id: role.id, removed: given })
        else tell(`${plain(role.name)} no longer carries ${given.map(plain).join(', ')}.`)
      })
    })

  made(roles, 'assign', 'assign a role to a user')
    .example('chemist ann@example.com --until 2027-01-31T12:00:00Z --tenant acme')
    .argument('<role>', ROLE)
    .argument('<user>', WHO)
    .option('--from <time>', 'when it begins (RFC 3339); default: now')
    .option('--until <time>', 'when it ends; default: it does not')
    .action((name: string, user: string, _, command: Command) => assign(name, user, command.optsWithGlobals()))

  made(roles, 'unassign', 'take a role from a user')
    .example('chemist ann@example.com --tenant acme')
    .argument('<role>', ROLE)
    .argument('<user>', WHO)
    .action((name: string, user: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const role = await findRole(api, name)
        const { id, email } = await findUser(api, '/users', user)
        await api.call(z.unknown(), 'DELETE', `/users/${id}/roles/${role.id}`)
        if (options.json) printJson({ user_id: id, role_id: role.id, state: 'ended' })
        else tell(`${plain(email)} no longer holds ${plain(role.name)}.`)
      })
    })
}

/** The command that lists the permissions that a tenant has. */
export function addPermissions(program: Command): void {
  const group = program
    .command('permissions')
    .description('list the permissions that roles of a tenant can carry')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  const listing = addTenant(addPaging(group.command('list').description('list permissions, by name')))
  listing
    .example('--resource document --tenant acme')
    .option('--resource <name>', 'those on a resource')
    .option('--action <name>', 'those to do this')
    .option('--search <text>', 'those whose name begins with this')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & Paging & { resource?: string; action?: string; search?: string }>()
      const { resource, action, search } = options
      return inTenant(options, async (api) => {
        const found = await listed(api, Permission, '/permissions', { resource, action, search }, options)
        printList(found, options, 'There is no such permission.', ['PERMISSION', 'ADMINISTRATIVE', 'DESCRIPTION'], (p) => [
          p.name,
          p.is_administrative ? 'yes' : 'no',
          p.description ?? '-',
        ])
      })
    })
}

/** A role of the tenant, by its id or its name. */
async function findRole(api: Api, name: string): Promise<Role> {
  if (UUID.test(name)) return api.call(Role, 'GET', `/roles/${name}`)
  if (name !== '')
    for await (const { data } of pages(api, Role, '/roles', { search: name })) {
      const found = data.find((role) => role.name === name)
      if (found) return found
    }
  throw new Failure(`There is no role ${plain(name)}.`, 'not_found')
}

const list = (options: OnPlane & Paging & { search?: string }) =>
  inTenant(options, async (api) => {
    const found = await listed(api, InFull, '/roles', { search: options.search }, options)
    printList(found, options, 'There is no such role.', ['ROLE', 'STATUS', 'PERMISSIONS', 'DESCRIPTION'], (r) => [
      r.name,
      r.is_active ? 'active' : 'inactive',
      String(r.permissions.length),
      r.description ?? '-',
    ])
  })

type Wanted = OnPlane & { description?: string; parent?: string; maxUsers?: number; permission?: Grant[] }
const create = (name: string, options: Wanted) =>
  inTenant(options, async (api) => {
    const { description, parent, maxUsers: max_users, permission: permissions } = options
    const parent_id = parent === undefined ? undefined : (await findRole(api, parent)).id
    const body = { name, description, parent_id, max_users, permissions }
    show(await api.call(InFull, 'POST', '/roles', { body }), options)
  })

const assign = (name: string, user: string, options: OnPlane & { from?: string; until?: string }) =>
  inTenant(options, async (api) => {
    const role = await findRole(api, name)
    const { id, email } = await findUser(api, '/users', user)
    const body = { role_id: role.id, starts_at: options.from, ends_at: options.until }
    const made = await api.call(Assignment, 'POST', `/users/${id}/roles`, { body })
    if (options.json) return printJson(made)
    const until = made.ends_at ? ` until ${minute(made.ends_at)} (UTC)` : ''
    tell(`${plain(email)} holds ${plain(made.role)} from ${minute(made.starts_at)} (UTC) on${until}.`)
  })

function show(role: z.infer<typeof InFull>, { json }: { json?: boolean }): void {
  if (json) {
    printJson(role)
    return
  }
  print(
    pairs([
      ['role', role.name],
      ['status', role.is_active ? 'active' : 'inactive'],
      ['description', role.description ?? '-'],
      ['id', role.id],
      ['inherits from', role.parent_id ?? '-'],
      ['users at most', role.max_users === null ? '-' : String(role.max_users)],
    ]),
  )
  const own = role.permissions.map(({ permission, scope }) => [permission, scope, '-'])
  const inherited = (role.inherited ?? []).map(({ permission, scope, from }) => [permission, scope, from])
  if (own.length + inherited.length) print(`\n${table(['PERMISSION', 'SCOPE', 'FROM'], [...own, ...inherited])}`)
}

/** A parser of permissions with their scope, one after the other. */
function grants(text: string, before: Grant[] = []): Grant[] {
  const [permission = '', scope = 'all', ...more] = text.split('=')
  if (!permission || more.length || !SCOPES.includes(scope))
    throw new InvalidArgumentError(
      `It must be a permission, as document:read or document:read=own; scopes are ${SCOPES.join(', ')}.`,
    )
  return [...before, { permission, scope }]
}
