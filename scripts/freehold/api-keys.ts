import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { addPaging, EVERYTHING, listed, type Paging, printList } from './lists.ts'
import { whole } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findUser, WHO } from './people.ts'
import { addPlane, type OnPlane, PLANE_SETTINGS, type UsersAt, withPlane } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute } from './table.ts'

const ApiKey = z.looseObject({
  id: z.string(),
  name: z.string(),
  prefix: z.string(),
  permissions: z.array(z.string()),
  expires_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
  key: z.string().optional(),
})
type ApiKey = z.infer<typeof ApiKey>
type OfUser = OnPlane & { user?: string }

const KEY = 'its id or its prefix, the characters between "fh_" and the secret'
const MAX_OVERLAP = 10_080

/** The commands on API keys, with which programs act for a user. */
export function addApiKeys(program: Command): void {
  const keys = program
    .command('api-keys')
    .description('list, create, rotate and revoke API keys: your own, or with --user list and revoke those of another')
    .addHelpText('afterAll', PLANE_SETTINGS)
  const made = (name: string, does: string) => addPlane(keys.command(name).description(does))

  addPaging(made('list', 'list API keys that are not revoked, newest first'))
    .example('--tenant acme --user ann@example.com')
    .option('--user <user>', `those of another: ${WHO}`)
    .action((_, command: Command) => list(command.optsWithGlobals()))

  made('create', 'create an API key of your own; its secret is shown only once')
    .example('nightly --permission document:read --tenant acme')
    .argument('<name>', 'what it is for')
    .requiredOption('--permission <name...>', 'what it may do, of what you may do')
    .option('--address <network...>', 'addresses or networks from which it works; default: any')
    .option('--expires-at <time>', 'when it ends (RFC 3339), or never; default: as the settings say')
    .action((name: string, _, command: Command) => create(name, command.optsWithGlobals()))

  made('rotate', 'make the successor of a key of your own; its secret is shown only once')
    .example('7Gq2mZ8rT4 --overlap 30')
    .argument('<key>', KEY)
    .option('--overlap <minutes>', 'how long the old one goes on', whole(0, MAX_OVERLAP), 60)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { overlap: number }>()
      return withPlane(options, async (api) => {
        const { id } = await findKey(api, '/api-keys', name)
        showSecret(
          await api.call(ApiKey, 'POST', `/api-keys/${id}/rotate`, { body: { overlap_minutes: options.overlap } }),
          options,
        )
      })
    })

  made('revoke', 'revoke an API key, for good')
    .option('--yes', 'do not ask')
    .example('7Gq2mZ8rT4 --yes')
    .argument('<key>', KEY)
    .option('--user <user>', `one of another: ${WHO}`)
    .action((name: string, _, command: Command) => revoke(name, command.optsWithGlobals()))
}

/** Where the keys are of which a command speaks. */
const keysAt = async (api: Api, at: UsersAt, { user }: OfUser) =>
  user === undefined ? '/api-keys' : `${at}/${(await findUser(api, at, user)).id}/api-keys`

async function findKey(api: Api, at: string, name: string): Promise<ApiKey> {
  const { data } = await listed(api, ApiKey, at, {}, EVERYTHING)
  const found = data.find(({ id, prefix }) => id === name || prefix === name)
  if (!found) throw new Failure(`There is no API key ${plain(name)}.`, 'not_found')
  return found
}

const list = (options: OfUser & Paging) =>
  withPlane(options, async (api, users) => {
    const found = await listed(api, ApiKey, await keysAt(api, users, options), {}, options)
    const heads = ['PREFIX', 'NAME', 'EXPIRES (UTC)', 'LAST USED (UTC)', 'PERMISSIONS']
    printList(found, options, 'There is no API key.', heads, (k) => [
      k.prefix,
      k.name,
      k.expires_at === null ? 'never' : minute(k.expires_at),
      k.last_used_at === null ? 'never' : minute(k.last_used_at),
      k.permissions.join(' '),
    ])
  })

type Wanted = OnPlane & { permission: string[]; address?: string[]; expiresAt?: string }
const create = (name: string, options: Wanted) =>
  withPlane(options, async (api) => {
    const { permission: permissions, address: addresses, expiresAt } = options
    const body = { name, permissions, addresses, expires_at: expiresAt === 'never' ? null : expiresAt }
    showSecret(await api.call(ApiKey, 'POST', '/api-keys', { body }), options)
  })

const revoke = (name: string, options: OfUser & { yes?: boolean }) =>
  withPlane(options, async (api, users) => {
    const at = await keysAt(api, users, options)
    const key = await findKey(api, at, name)
    await confirm(`Revoke the API key ${plain(key.name)} (${plain(key.prefix)})?`, options)
    await api.call(z.unknown(), 'DELETE', `${at}/${key.id}`)
    if (options.json) printJson({ id: key.id, state: 'revoked' })
    else tell(`The API key ${plain(key.name)} (${plain(key.prefix)}) is revoked.`)
  })

function showSecret(made: ApiKey, { json }: { json?: boolean }): void {
  if (json) {
    printJson(made)
    return
  }
  const until = made.expires_at === null ? 'does not expire' : `expires ${minute(made.expires_at)} (UTC)`
  tell(`The API key ${plain(made.name)} (${plain(made.prefix)}) ${until}. It is shown only now:`)
  print(made.key ?? '')
}
