#!/usr/bin/env node
import { Command } from 'commander'
import about from '../../package.json' with { type: 'json' }
import { addAnalytics } from './analytics.ts'
import { addAudit } from './audit.ts'
import { addDevUsers } from './dev-users.ts'
import { addDoctor } from './doctor.ts'
import { addGroups } from './groups.ts'
import { addKeys } from './keys.ts'
import { addMigrate } from './migrate.ts'
import { addOperators } from './operators.ts'
import { addGlobals, type Globals } from './options.ts'
import { paint, printJson, tell } from './output.ts'
import { addPlans } from './plans.ts'
import { addPresets } from './presets.ts'
import { run } from './run.ts'
import { addSetup } from './setup.ts'
import { addTenants } from './tenants.ts'
import { addUsers } from './users.ts'

const HELP = `
Settings of the environment: FREEHOLD_URL, FREEHOLD_TOKEN or FREEHOLD_EMAIL and FREEHOLD_PASSWORD, FREEHOLD_ADMIN_PASSWORD, FREEHOLD_NEW_PASSWORD,
FREEHOLD_TENANT_TOKEN or FREEHOLD_TENANT_EMAIL and FREEHOLD_TENANT_PASSWORD,
MASTER_DATABASE_URL, MASTER_READER_URL, ENCRYPTION_KEYS, OWNER_KEYS, PASSWORD_HASH_ITERATIONS, NEON_SQL_URL,
NEON_API_KEY, NEON_ORG_ID, NEON_API_URL, CLOUDFLARE_API_TOKEN, CLOUDFLARE_API_BASE_URL, NO_COLOR. The help of each command lists those it reads.
Exit status: 0 on success, 1 on failure, 2 for wrong usage.`

// A closed pipe (`| head`) is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

const program = new Command('freehold')
  .description('The admin CLI of Freehold, for its operators')
  .version(about.version)
  .addHelpText('after', HELP)
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
addGlobals(program)
addTenants(program)
addPlans(program)
addSetup(program)
addGroups(program)
addDevUsers(program)
addPresets(program)
addAudit(program)
addUsers(program)
addKeys(program)
addOperators(program)
addMigrate(program)
addDoctor(program)
addAnalytics(program)

await run(program, (failure) => {
  tell(`${paint(process.stderr, 'red', 'error:')} ${failure.message}`)
  if (program.opts<Globals>().json) printJson(failure.document)
})
