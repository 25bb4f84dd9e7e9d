import type { Command } from 'commander'
import type { Verdict } from '../../src/audit/verify.ts'
import { Failure } from './failure.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { settings } from './setup.ts'

/** The commands on what was recorded. */
export function addAudit(program: Command): void {
  const audit = program.command('audit').description('check what was recorded')

  audit
    .command('verify')
    .description('whether the audit of a tenant is as it was written; ends with 1 when it is not')
    .argument('<tenant>', 'its id or its subdomain; "platform" is the platform\'s own')
    .addHelpText(
      'after',
      `
Settings of the environment:
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring that the Worker has too
  NEON_SQL_URL         only for a local Neon: where it takes SQL over HTTP
Recomputes the chain of seals and the hash of each detail, and compares the newest seal with the one that the master keeps. Changes nothing.
What was recorded since the last visit may not be sealed yet (a minute or two; a day where it was written past the Worker); who can write the database can still change that unseen.`,
    )
    .action((tenant: string, _, command: Command) => check(tenant, command.optsWithGlobals<Globals>()))
}

async function check(tenant: string, { json }: { json?: boolean }): Promise<void> {
  const config = settings()
  // Loaded for this command only: the others need no database driver, and start faster without.
  const { dbError, useSqlUrl } = await import('../../src/kernel/db.ts')
  const { verifyAudit } = await import('../../src/tenants/maintenance/sealing.ts')
  useSqlUrl(config.NEON_SQL_URL)
  const verdict = await verifyAudit(config, tenant).catch((error: Error) => {
    // The text of a failed query holds its parameters: only the database's own words are told.
    throw new Failure(dbError(error)?.message ?? plain(error.message))
  })
  if (json) printJson({ tenant, ...verdict })
  else print(inWords(verdict))
  if (verdict.intact) return
  if (!json) for (const { said } of verdict.faults) tell(`  ${said}`)
  process.exitCode = 1
}

function inWords({ intact, seal, entries, unsealed, erased, head, faults }: Verdict): string {
  const rest = `(${unsealed} not sealed yet, ${erased} details erased)`
  if (!intact)
    return `Broken: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'} up to seal ${seal}, ${entries} entries ${rest}.`
  const kept = head ? `the master knows seal ${head.no}` : 'the master knows no seal yet'
  return `Intact up to seal ${seal}, ${entries} entries ${rest}; ${kept}.`
}
