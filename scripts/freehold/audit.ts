import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Verification } from '../../src/audit/verify.ts'
import { type Api, withApi, withTenant } from './api.ts'
import { type FileVerification, verifyFile } from './audit-file.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import { linesOf } from './lines.ts'
import { EVERYTHING, listed } from './lists.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { localSettings } from './settings.ts'

type FromFile = { from?: string; heads?: string[]; filtered?: boolean }

/** The commands on the audit log. */
export function addAudit(program: Command): void {
  const audit = program.command('audit').description('check the audit log')

  audit
    .command('verify')
    .description('verify that the audit log of a tenant, or an export of it, is unchanged; exits with 1 if it is not')
    .example('acme')
    .example('--from export.ndjson --heads checkpoints.json')
    .argument('[tenant]', 'its id or subdomain; "platform" for the platform\'s own')
    .option('--from <file>', 'verify an export (format=ndjson) instead, without any account; "-" for stdin')
    .option(
      '--heads <files...>',
      'with --from: the checkpoints, as GET /api/v1/audit/checkpoints or `freehold audit checkpoints` gives them',
    )
    .option(
      '--filtered',
      'with --from: the export was made with filters, or by somebody who does not reach everything; entries may be missing',
    )
    .addHelpText(
      'after',
      `
Settings of the environment, for a tenant:
  MASTER_DATABASE_URL  the master database
  ENCRYPTION_KEYS      the key ring of the Worker
  OWNER_KEYS           its key ring for owner logins
  NEON_SQL_URL         only for a local Neon: its URL for SQL over HTTP; https://, unless it is this machine or with --insecure
Without them: those of a local \`npm start\` that runs (see --data).

Recomputes the chain of checkpoints and the hash of each detail, and compares the newest checkpoint with the one in the master. Changes nothing.
Reports entries that were changed, removed or added, and those that are dated before or after the checkpoints around them.
Entries since the last maintenance run may not be under a checkpoint yet (a minute or two; up to a day if they were not written by the Worker).
A change to them by somebody who can write the database goes unnoticed.

With --from: fetch the checkpoints first, then the export, so that the export has every entry under them. Give checkpoints that were kept from
earlier, too: whoever can write the database can make the whole chain anew, with new checkpoints. A filtered export cannot prove that nothing is missing.`,
    )
    .action((tenant: string | undefined, { from, heads, filtered }: FromFile, command: Command) => {
      const globals = command.optsWithGlobals<Globals>()
      if (from === undefined) {
        if (tenant === undefined || heads || filtered)
          command.error('error: give a tenant, or --from with --heads (and --filtered)')
        return check(tenant, globals)
      }
      if (tenant !== undefined || !heads) command.error('error: --from needs --heads, and no tenant')
      return checkFile(from, heads, filtered === true, globals)
    })

  audit
    .command('checkpoints')
    .description('print all checkpoints of the audit log of a tenant, to keep and to verify exports with')
    .example('acme > checkpoints.json')
    .argument('<tenant>', 'its subdomain; "platform" for the platform\'s own')
    .addHelpText('after', TENANT_CREDENTIAL_SETTINGS)
    .action((tenant: string, _, command: Command) => checkpoints(tenant, command.optsWithGlobals<Globals>()))
}

const Checkpoint = z.looseObject({ no: z.int() })
const all = (api: Api) => listed(api, Checkpoint, '/audit/checkpoints', {}, EVERYTHING)

/** Prints one document, with or without --json: it is for a file. */
async function checkpoints(tenant: string, globals: Globals): Promise<void> {
  const { data } = await (tenant === 'platform' ? withApi(globals, all) : withTenant(globals, tenant, all))
  printJson({ data, next_cursor: null })
}

/** Verifies an export, as a file or on stdin. */
async function checkFile(from: string, heads: string[], is_filtered: boolean, { json }: Globals): Promise<void> {
  const unreadable = (file: string) => () => {
    throw new Failure(`${file} is not a file that can be read.`)
  }
  const files = await Promise.all(
    heads.map(async (name) => ({ name, text: await readFile(name, 'utf8').catch(unreadable(name)) })),
  )
  const source = from === '-' ? process.stdin : createReadStream(from)
  const verdict = await verifyFile(linesOf(source.setEncoding('utf8')), files, is_filtered).catch((error) => {
    throw error instanceof Failure ? error : unreadable(from)()
  })
  if (json) printJson({ from, ...verdict })
  else print(ofFile(verdict, is_filtered))
  if (verdict.intact) return
  if (!json) {
    for (const { said } of verdict.faults) tell(`  ${plain(said)}`)
    if (verdict.faults.every(({ kind }) => kind === 'removed' || kind === 'cut_off' || kind === 'removed_detail'))
      tell('  If the export was made with filters, or by somebody who does not reach everything, use --filtered.')
  }
  process.exitCode = 1
}

function ofFile(
  { intact, faults, checkpoints, proven_checkpoints, entries, proven, pending, unproven, erased }: FileVerification,
  is_filtered: boolean,
) {
  const counts = `${proven_checkpoints} of ${checkpoints} checkpoints and ${proven} of ${entries} entries are proven (${pending} not under a given checkpoint yet, ${unproven} not proven, ${erased} details erased)`
  if (!intact) return `Broken: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}; ${counts}.`
  if (is_filtered)
    return `No fault in what the filtered export holds: ${counts}. It cannot prove that nothing is missing, nor the entries whose checkpoint is not whole.`
  const rest = unproven ? ' Not proven are entries whose checkpoint, or the one before it, was not given.' : ''
  return `Intact: ${counts}.${rest}`
}

async function check(tenant: string, globals: Globals): Promise<void> {
  const config = await localSettings(globals)
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
  if (!globals.json) for (const { said } of verdict.faults) tell(`  ${plain(said)}`)
  process.exitCode = 1
}

function inWords({ intact, checkpoint, entries, pending, erased, head, faults }: Verification): string {
  const rest = `(${pending} not under a checkpoint yet, ${erased} details erased)`
  if (!intact)
    return `Broken: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'} up to checkpoint ${checkpoint}, ${entries} entries ${rest}.`
  const kept = head ? `the master knows checkpoint ${head.no}` : 'the master knows no checkpoint yet'
  return `Intact up to checkpoint ${checkpoint}, ${entries} entries ${rest}; ${kept}.`
}
