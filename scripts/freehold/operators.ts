import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import { emailAddress, type Globals } from './options.ts'
import { plain, print, printJson } from './output.ts'
import { addPeople, findUser, type People, User, WHO } from './people.ts'
import { masterSettings } from './settings.ts'

/** The commands on operators. One needs the master itself, and no operator's login. */
export function addOperators(program: Command): void {
  const operators = program
    .command('operators')
    .description('list, show, add, update, deactivate and unlock operators, and change their roles and passwords')
  const of = (command: Command) => command
  const on: People['on'] = (options, work) => withApi(options, (api) => work(api, '/operators'))
  addPeople(operators, { noun: 'operator', make: 'add', suffix: '', of, on })
  for (const command of operators.commands) command.addHelpText('after', CREDENTIAL_SETTINGS)

  const roles = operators
    .command('roles')
    .description('show the roles of an operator, or give them another primary role: owner, operator or auditor')
    .argument('<operator>', WHO)
    .argument('[role]', 'the role that replaces the one that they have')
  roles
    .example('ann@example.com operator')
    .addHelpText('after', CREDENTIAL_SETTINGS)
    .action((name: string, role: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<Globals>()
      return withApi(options, async (api) => {
        const found = await findUser(api, '/operators', name)
        const user = role === undefined ? found : await api.call(User, 'PATCH', `/operators/${found.id}`, { body: { role } })
        if (options.json) printJson(user)
        else print(user.roles.map(plain).join('\n'))
      })
    })

  operators
    .command('unlock')
    .description('clear the lockouts of an operator, so that they can log in again at once')
    .example('ada@freehold.test')
    .example('--all')
    .argument('[email]', 'e-mail address of the operator', emailAddress)
    .option('--all', 'all operators who are locked out, in place of one')
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database; its login must own it
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
Without them: those of a local \`npm start\` that runs (see --data).

Clears the lockouts of known devices, of networks and of changes of the password. The password stays as it is. The audit of the platform
records it as USER_UNLOCKED, done by the system. What a lockout is and how to keep out of one: docs/guides/lockout.md.`,
    )
    .action((email: string | undefined, { all = false }: { all?: boolean }, command: Command) => {
      if ((email === undefined) !== all) command.error('error: give an e-mail address, or --all')
      return unlock(email ?? null, command.optsWithGlobals<Globals>())
    })
}

async function unlock(email: string | null, globals: Globals): Promise<void> {
  const config = await masterSettings(globals)
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { unlockOperators } = await import('../../src/tenants/operators.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const unlocked = await unlockOperators(config, email).catch((error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    const words = dbError(error)?.message ?? (error.message.startsWith('Failed query') ? 'it does not answer' : error.message)
    throw new Failure(`MASTER_DATABASE_URL: the master database cannot be changed: ${plain(words)}`)
  })
  if (email !== null && !unlocked.length) throw new Failure(`There is no operator with the address ${email}.`)
  if (globals.json) return printJson({ unlocked })
  if (!unlocked.length) return print('No operator is locked out.')
  for (const address of unlocked) print(`${plain(address)} can log in again.`)
}
