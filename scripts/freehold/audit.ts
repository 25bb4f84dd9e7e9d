import type { Command } from 'commander'
import type { Verification } from '../../src/audit/verify.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { settings } from './setup.ts'

/** The commands on the audit log. */
export function addAudit(program: Command): void {
  const audit = program.command('audit').description('check the audit log')

  audit
    .command('verify')
    .description('verify that the audit log of a tenant is unchanged; exits with 1 if it is not')
    .argument('<tenant>', 'its id or subdomain; "platform" for the platform\'s own')
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring of the Worker
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
Recomputes the chain of checkpoints and the hash of each detail, and compares the newest checkpoint with the one in the master. Changes nothing.
Entries since the last maintenance run may not be under a checkpoint yet (a minute or two; up to a day if they were not written by the Worker).
A change to them by somebody who can write the database goes unnoticed.`,
    )
    .action((tenant: string, _, command: Command) => check(tenant, command.optsWithGlobals<Globals>()))
}

async function check(tenant: string, globals: Globals): Promise<void> {
  const config = settings(globals)
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { verifyAudit } = await import('../../src/tenants/maintenance/checkpoints.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const verdict = await verifyAudit(config, tenant).catch((error: Error) => {
    // The message of a failed query contains its parameters; only the database's own message is shown.
    throw new Failure(dbError(error)?.message ?? plain(error.message))
  })
  if (globals.json) printJson({ tenant, ...verdict })
  else print(inWords(verdict))
  if (verdict.intact) return
  if (!globals.json) for (const { said } of verdict.faults) tell(`  ${said}`)
  process.exitCode = 1
}

function inWords({ intact, checkpoint, entries, pending, erased, head, faults }: Verification): string {
  const rest = `(${pending} not under a checkpoint yet, ${erased} details erased)`
  if (!intact)
    return `Broken: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'} up to checkpoint ${checkpoint}, ${entries} entries ${rest}.`
  const kept = head ? `the master knows checkpoint ${head.no}` : 'the master knows no checkpoint yet'
  return `Intact up to checkpoint ${checkpoint}, ${entries} entries ${rest}; ${kept}.`
}
