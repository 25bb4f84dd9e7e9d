import { z } from 'zod'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { importFile } from './importing.ts'
import type { Globals } from './options.ts'
import { plain, printJson, tell } from './output.ts'
import { addPeople, findUser, WHO } from './people.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'

/** The commands on the users of a tenant. */
export function addUsers(program: Command): void {
  const users = program
    .command('users')
    .description('list, show, create, update, import, deactivate and unlock the users of a tenant, and reset their passwords')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  addPeople(users, { noun: 'user', make: 'create', suffix: ' --tenant acme', of: addTenant, on: inTenant })

  const unlocking = addTenant(
    users.command('unlock').description('clear the lockouts of a user, so that they can log in at once'),
  )
  unlocking
    .argument('<user>', WHO)
    .example('ann@example.com --tenant acme')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api, at) => {
        const { id, email } = await findUser(api, at, name)
        await api.call(z.unknown(), 'POST', `${at}/${id}/unlock`)
        if (options.json) printJson({ id, state: 'unlocked' })
        else tell(`${plain(email)} can log in again.`)
      })
    })

  users
    .command('import')
    .description('import users from another system; exits with 1 when a line failed or was not processed')
    .example('acme people.ndjson --dry-run')
    .argument('<tenant>', 'its subdomain')
    .argument('<file>', 'one JSON object in each line: email, username, given_name, role, password_hash and so on')
    .option('--dry-run', 'report the result of each line without creating users')
    .addHelpText(
      'after',
      `
Password hashes: bcrypt or Django's pbkdf2_sha256. A user whose hash costs too much (bcrypt above 14, PBKDF2 above 1,500,000 iterations) is created without a password, and their line says so. The same file can be sent again: existing users are reported as duplicates.`,
    )
    .action((tenant: string, file: string, { dryRun = false }: { dryRun?: boolean }, command: Command) =>
      importFile(command.optsWithGlobals<Globals>(), tenant, file, {
        path: '/users/import',
        noun: 'users',
        type: 'application/x-ndjson',
        dryRun,
      }),
    )
}
