import { z } from 'zod'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import { CREDENTIAL_SETTINGS, isLoggedIn } from './credentials.ts'
import { Failure } from './failure.ts'
import { emailAddress, type Globals } from './options.ts'
import { plain, print, printJson } from './output.ts'
import { addPeople, findUser, type People, User, WHO } from './people.ts'
import { masterSettings } from './settings.ts'

type Operators = typeof import('../../src/tenants/operators.ts')
type Config = Awaited<ReturnType<typeof masterSettings>>

/** The commands on operators. One can do without an operator's login, with the secret of the master, and one needs that. */
export function addOperators(program: Command): void {
  const operators = program
    .command('operators')
    .description('list, show, add, update, deactivate and unlock operators, and change their roles, passwords and second factors')
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
The first of these is used:
  --profile            another operator, over the API
  MASTER_DATABASE_URL  the master database, where nobody can log in; its login must own it. With it NEON_SQL_URL, only for a local Neon:
                       its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
  FREEHOLD_TOKEN, FREEHOLD_EMAIL and FREEHOLD_PASSWORD, FREEHOLD_PROFILE, or the profile of \`freehold profiles use\`
                       another operator, over the API, whom the platform allows it: nobody unlocks themselves
  the master of a local \`npm start\` that runs (see --data)
--all needs the master.

Clears the lockouts of known devices, of networks and of changes of the password. The password stays as it is. The audit of the platform
records it as USER_UNLOCKED, done by the operator, or with the master by the system. What a lockout is and how to keep out of one:
docs/guides/lockout.md.`,
    )
    .action((email: string | undefined, { all = false }: { all?: boolean }, command: Command) => {
      if ((email === undefined) !== all) command.error('error: give an e-mail address, or --all')
      return unlock(email ?? null, command.optsWithGlobals<Globals>())
    })

  operators
    .command('reset-mfa')
    .description('take the second factors of an operator away, who lost them; ends their sessions')
    .example('ada@freehold.test')
    .argument('<email>', 'e-mail address of the operator', emailAddress)
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database; its login must own it
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
Without them: those of a local \`npm start\` that runs (see --data).

The operator is told by mail, and logs in with the password alone. The audit of the platform records it as MFA_DISABLED, done by the system.
Another operator who holds as much can do the same with POST /platform/v1/operators/{id}/reset-mfa: docs/guides/mfa.md.`,
    )
    .action((email: string, _, command: Command) => resetFactors(email, command.optsWithGlobals<Globals>()))
}

async function unlock(email: string | null, globals: Globals): Promise<void> {
  // Whoever has the secret of the master may be nobody that can log in.
  const isByApi = globals.profile !== undefined || (!process.env.MASTER_DATABASE_URL && (await isLoggedIn(globals)))
  if (isByApi && email === null)
    throw new Failure('--all needs the master: set MASTER_DATABASE_URL, or name the data folder of `npm start` with --data.')
  const unlocked = isByApi && email !== null ? await unlockByApi(email, globals) : await unlockAtMaster(email, globals)
  if (globals.json) return printJson({ unlocked })
  if (!unlocked.length) return print('No operator is locked out.')
  for (const address of unlocked) print(`${plain(address)} can log in again.`)
}

const unlockByApi = (email: string, globals: Globals): Promise<string[]> =>
  withApi(globals, async (api) => {
    const { id } = await findUser(api, '/operators', email)
    await api.call(z.unknown(), 'POST', `/operators/${id}/unlock`)
    return [email]
  })

/** Changes the master database, as its owner. */
async function onMaster<T>(globals: Globals, change: (operators: Operators, config: Config) => Promise<T>): Promise<T> {
  const config = await masterSettings(globals)
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  useSqlUrl(config.NEON_SQL_URL)
  return change(await import('../../src/tenants/operators.ts'), config).catch((error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    const words = dbError(error)?.message ?? (error.message.startsWith('Failed query') ? 'it does not answer' : error.message)
    throw new Failure(`MASTER_DATABASE_URL: the master database cannot be changed: ${plain(words)}`)
  })
}

async function resetFactors(email: string, globals: Globals): Promise<void> {
  const reset = await onMaster(globals, ({ resetOperatorFactors }, config) => resetOperatorFactors(config, email))
  if (reset === null) throw new Failure(`There is no operator with the address ${email} who has a second factor.`)
  if (globals.json) return printJson({ reset })
  print(`${plain(reset)} can log in with the password alone.`)
}

async function unlockAtMaster(email: string | null, globals: Globals): Promise<string[]> {
  const unlocked = await onMaster(globals, ({ unlockOperators }, config) => unlockOperators(config, email))
  if (email !== null && !unlocked.length) throw new Failure(`There is no operator with the address ${email}.`)
  return unlocked
}
