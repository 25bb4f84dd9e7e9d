import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { Tenant } from './answers.ts'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { Failure } from './failure.ts'
import { create, type Wanted, type Watching } from './making.ts'
import type { Globals } from './options.ts'
import { plain, printJson, tell } from './output.ts'
import { confirm } from './prompt.ts'
import { findTenant } from './registry.ts'

type Given = { connectionStringFile: string }

const FILE = '--connection-string-file <file>'
const FILE_HELP = 'a file that holds the connection string and nothing else; "-" for stdin'
const WHY = `
The connection string is not an argument: every user of the machine can read those. The login that the console of Neon shows reads every
database of its branch, and Freehold keeps it: docs/guides/adopt-a-database.md has the statements for one that does not.`

/** The commands on databases that exist. Gives the one that makes a tenant. */
export function addAdopting(
  tenants: Command,
  addWanted: (command: Command) => Command,
  newTenant: (subdomain: string, given: Wanted) => Record<string, string | undefined>,
): Command {
  tenants
    .command('reconnect')
    .description('give the new connection string of an adopted database, whose owner changed it')
    .example('acme --connection-string-file acme.url')
    .argument('<tenant>', 'its id or its subdomain')
    .requiredOption(FILE, FILE_HELP)
    .addHelpText('after', WHY)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Given>()
      return withApi(options, async (api) => {
        const connection_string = await readString(options)
        const { id } = await findTenant(api, name)
        const tenant = await api.call(Tenant, 'PUT', `/tenants/${id}/connection-string`, { body: { connection_string } })
        if (options.json) printJson(tenant)
        else tell(`The new connection string of ${plain(tenant.subdomain)} is accepted.`)
      })
    })

  return addWanted(
    tenants
      .command('adopt')
      .description('create a tenant in a database of Neon that exists')
      .example('acme --legal-name "Acme S.A.C." --admin-email ada@acme.test --connection-string-file acme.url'),
  )
    .requiredOption(FILE, FILE_HELP)
    .option('--take-over', 'take a tenant that is in the database from its deployment, whose keys and sessions end')
    .option('--yes', 'with --take-over: do not ask')
    .addHelpText('after', WHY)
    .action((subdomain: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & Watching & Wanted & Given & { takeOver?: boolean; yes?: boolean }>()
      return withApi(options, async (api) => {
        if (options.takeOver)
          await confirm(`Take over the tenant in that database as ${plain(subdomain)}, and end its keys and sessions?`, options)
        const adopted = { connection_string: await readString(options), take_over: options.takeOver }
        await create(api, { ...newTenant(subdomain, options), ...adopted }, options, '/tenants/adopt')
      })
    })
}

async function readString({ connectionStringFile: file }: Given): Promise<string> {
  const given = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(() => {
    throw new Failure(`--connection-string-file: ${file} cannot be read.`)
  })
  const line = given.trim()
  if (line === '') throw new Failure(`--connection-string-file: ${file === '-' ? 'stdin' : file} is empty.`)
  return line
}
