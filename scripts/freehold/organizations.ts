import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import { addPaging, listed, type Paging, pages, printList } from './lists.ts'
import { whole } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findUser, WHO } from './people.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'
import { minute, pairs } from './table.ts'

const Organization = z.looseObject({
  id: z.string(),
  name: z.string(),
  plan_group: z.string().nullable(),
  user_limit: z.int().nullable(),
  active_users: z.int(),
  state: z.string(),
  created_at: z.string(),
})
type Organization = z.infer<typeof Organization>

const MOST_USERS = 1_000_000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const WHICH = 'its id or its name'

/** An organization, by its id or its name. */
export async function findOrganization(api: Api, name: string): Promise<Organization> {
  if (UUID.test(name)) return api.call(Organization, 'GET', `/organizations/${name}`)
  const wanted = name.normalize('NFC').trim().toLowerCase()
  for await (const { data } of pages(api, Organization, '/organizations', { search: wanted, sort: 'name' }, 1))
    if (data[0]?.name.toLowerCase() === wanted) return data[0]
  throw new Failure(`There is no organization ${plain(name)}.`, 'not_found')
}

/** The commands on the organizations of a tenant. */
export function addOrganizations(program: Command): void {
  const organizations = program
    .command('organizations')
    .description('list, show and create the organizations of a tenant, and say who belongs to them')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  const made = (name: string, does: string) => addTenant(organizations.command(name).description(does))

  addPaging(made('list', 'list organizations, by name'))
    .example('--search nor --tenant acme')
    .option('--search <text>', 'those whose name begins with this')
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & Paging & { search?: string }>()
      return inTenant(options, async (api) => {
        const found = await listed(api, Organization, '/organizations', { search: options.search }, options)
        const heads = ['NAME', 'USERS', 'LIMIT', 'PLAN GROUP', 'STATE', 'CREATED (UTC)']
        printList(found, options, 'There is no such organization.', heads, (o) => [
          o.name,
          String(o.active_users),
          o.user_limit === null ? '-' : String(o.user_limit),
          o.plan_group ?? '-',
          o.state,
          minute(o.created_at),
        ])
      })
    })

  made('show', 'show an organization')
    .example('Norte --tenant acme')
    .argument('<organization>', WHICH)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => show(await findOrganization(api, name), options))
    })

  made('create', 'create an organization')
    .example('Norte --user-limit 50 --tenant acme')
    .argument('<name>', 'what it is called')
    .option('--user-limit <n>', 'how many active users it has at most', whole(1, MOST_USERS))
    .option('--plan-group <role>', 'the subscription group that it has bought')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { userLimit?: number; planGroup?: string }>()
      const body = { name, user_limit: options.userLimit, plan_group: options.planGroup }
      return inTenant(options, async (api) => show(await api.call(Organization, 'POST', '/organizations', { body }), options))
    })

  for (const [verb, method, does, done] of [
    ['add-member', 'PUT', 'let a user belong to an organization; they leave the one that they were in', 'belongs to'],
    ['remove-member', 'DELETE', 'end that a user belongs to an organization', 'does not belong any more to'],
  ] as const)
    made(verb, does)
      .example('Norte ann@example.com --tenant acme')
      .argument('<organization>', WHICH)
      .argument('<user>', WHO)
      .action((name: string, who: string, _, command: Command) => {
        const options = command.optsWithGlobals<OnPlane>()
        return inTenant(options, async (api, users) => {
          const organization = await findOrganization(api, name)
          const user = await findUser(api, users, who)
          await api.call(z.unknown(), method, `/organizations/${organization.id}/members/${user.id}`)
          if (options.json) printJson({ organization_id: organization.id, user_id: user.id, is_member: method === 'PUT' })
          else tell(`${plain(user.email)} ${done} ${plain(organization.name)}.`)
        })
      })
}

function show(organization: Organization, { json }: OnPlane): void {
  if (json) {
    printJson(organization)
    return
  }
  const { name, id, state, active_users, user_limit, plan_group, created_at } = organization
  print(
    pairs([
      ['name', name],
      ['id', id],
      ['state', state],
      ['users', String(active_users)],
      ['user limit', user_limit === null ? '-' : String(user_limit)],
      ['plan group', plan_group ?? '-'],
      ['created (UTC)', minute(created_at)],
    ]),
  )
}
