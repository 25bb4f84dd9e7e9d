import about from '../../package.json' with { type: 'json' }
import { addAnalytics } from './analytics.ts'
import { addApiKeys } from './api-keys.ts'
import { addAudit } from './audit.ts'
import { Command } from './command.ts'
import { addCompletion } from './completion.ts'
import { addDev } from './dev.ts'
import { addDevUsers } from './dev-users.ts'
import { addDoctor } from './doctor.ts'
import { addEmployees } from './employees.ts'
import { addEvents } from './events.ts'
import { addGroups } from './groups.ts'
import { addInvitations } from './invitations.ts'
import { addKeys } from './keys.ts'
import { addLoggingIn } from './logging-in.ts'
import { addLogs } from './logs.ts'
import { addMigrate } from './migrate.ts'
import { addOpening } from './opening.ts'
import { addOperators } from './operators.ts'
import { addGlobals, type Globals } from './options.ts'
import { addOrganizations } from './organizations.ts'
import { addPassword } from './password.ts'
import { addPlans } from './plans.ts'
import { addPresets } from './presets.ts'
import { addProfiles } from './profile-list.ts'
import { addPermissions, addRoles } from './roles.ts'
import { addSessions } from './sessions.ts'
import { addSettings } from './setting-values.ts'
import { addSetup } from './setup.ts'
import { addTenants } from './tenants.ts'
import { addUsers } from './users.ts'

const HELP = `
As whom, and where: FREEHOLD_TOKEN, or FREEHOLD_EMAIL and FREEHOLD_PASSWORD (inside a tenant FREEHOLD_TENANT_TOKEN, or FREEHOLD_TENANT_EMAIL
and FREEHOLD_TENANT_PASSWORD) with --url, FREEHOLD_URL or http://localhost:8787; else the profile of --profile, FREEHOLD_PROFILE or
freehold profiles use, with its own address; else the operator of a local npm start, at this machine.

Settings of the environment: FREEHOLD_URL, FREEHOLD_PROFILE, XDG_CONFIG_HOME, FREEHOLD_TOKEN or FREEHOLD_EMAIL and FREEHOLD_PASSWORD, FREEHOLD_ADMIN_PASSWORD, FREEHOLD_NEW_PASSWORD, FREEHOLD_CURRENT_PASSWORD,
FREEHOLD_TENANT_TOKEN or FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD,
MASTER_DATABASE_URL, MASTER_READER_URL, ENCRYPTION_KEYS, OWNER_KEYS, PASSWORD_HASH_ITERATIONS, NEON_SQL_URL,
NEON_API_KEY, NEON_ORG_ID, NEON_API_URL, CLOUDFLARE_API_TOKEN, CLOUDFLARE_API_BASE_URL, NO_COLOR. The help of each command lists those it reads.
Exit status: 0 on success; 1 when a command failed, was refused or not confirmed; 2 for wrong usage: what is no command, argument or
option, or does not go together; 130 after Ctrl-C at a question. With --json stdout has one document also then, a problem with code and detail, and stderr the sentence.`

/** The whole command line: every command, argument, option and example, for running, --help, completion and tests. */
export function commandLine(): Command {
  const program = new Command('freehold')
    .description('The admin CLI of Freehold, for its operators')
    .version(about.version)
    .addHelpText('after', HELP)
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  addGlobals(program)
  addLoggingIn(program)
  addProfiles(program)
  addTenants(program)
  addPlans(program)
  addSetup(program)
  addGroups(program)
  addDevUsers(program)
  addPresets(program)
  addAudit(program)
  addEvents(program)
  addUsers(program)
  addOrganizations(program)
  addInvitations(program)
  addEmployees(program)
  addRoles(program)
  addPermissions(program)
  addApiKeys(program)
  addSessions(program)
  addSettings(program)
  addPassword(program)
  addKeys(program)
  addOperators(program)
  addMigrate(program)
  addDoctor(program)
  addAnalytics(program)
  addDev(program)
  addCompletion(program)
  addLogs(program)
  addOpening(program)
  return program
}

/** Whether --json was given, also where parsing failed before it was reached. */
export function isForMachines(program: Command): boolean {
  const given = process.argv.slice(2)
  const options = given.includes('--') ? given.slice(0, given.indexOf('--')) : given
  return program.opts<Globals>().json === true || options.includes('--json')
}
