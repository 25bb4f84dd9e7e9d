import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { type Api, withTenant } from './api.ts'
import { readCheckpoints } from './audit-checkpoints.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { type EventVerification, verifyEvents } from './events-file.ts'
import { type EventFault, readEvents, Undecided } from './events-read.ts'
import { Failure } from './failure.ts'
import { linesOf } from './lines.ts'
import { EVERYTHING, listed } from './lists.ts'
import { type Globals, whole } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { subdomain } from './planes.ts'

type Options = Globals & { from: string; heads?: string[]; after?: number; lag: number; anyOrder?: boolean }
const MOST_SHOWN = 20

/** The commands on events. */
export function addEvents(program: Command): void {
  const events = program.command('events').description('check events that a receiver kept')

  events
    .command('verify')
    .description('verify that nothing is missing from the events that a receiver kept, and nothing was changed')
    .example('acme --from kept.ndjson')
    .example('--from kept.ndjson --heads checkpoints.json --after 0')
    .argument('[tenant]', 'its subdomain: also compare with the checkpoints that it has now', subdomain)
    .requiredOption(
      '--from <file>',
      'bodies of deliveries, one on each line, or events, or pages of GET /api/v1/events; "-" for stdin',
    )
    .option('--heads <files...>', 'checkpoints of the tenant that were kept, as `freehold audit checkpoints` prints them')
    .option(
      '--after <seq>',
      'what must be there begins after this number, 0: with the first; default: with the first that is there',
      whole(0, 999_999_999),
    )
    .option('--lag <seconds>', 'at the end, what is younger may still be on its way', whole(0, 86_400), 60)
    .option('--any-order', 'the file has replays, or several files: later lines may have earlier events')
    .addHelpText(
      'after',
      `
Recomputes each checkpoint from its events, and that each follows from the one before; and the details, where they were sent. Numbers in
details must be as they came: keep the body of a delivery as it is. A webhook for some kinds of events has no whole checkpoints: from what it
sent, nothing can be proven.
Without a tenant nothing is asked of anybody, and events that are missing at the end, or before the first, are not seen.
With one, activity:read at scope all is needed. Where the tenant was restored or moved, its checkpoints connect what is around.
Exit status: 0: all is there and unchanged; 1: something is missing or changed, the first number is said; 2: that could not be decided.
${TENANT_CREDENTIAL_SETTINGS}`,
    )
    .action((tenant: string | undefined, _, command: Command) => verify(tenant, command.optsWithGlobals<Options>()))
}

async function verify(tenant: string | undefined, options: Options): Promise<void> {
  const verdict = await verified(tenant, options).catch((error) => {
    if (!(error instanceof Failure) || error.exit === 2) throw error
    throw new Undecided(error.message, error.code)
  })
  if (options.json) printJson({ from: options.from, ...verdict, missing_from: verdict.faults[0]?.seq ?? null })
  else print(inWords(verdict))
  if (verdict.intact) return
  if (!options.json) for (const { said } of verdict.faults.slice(0, MOST_SHOWN)) tell(`  ${plain(said)}`)
  process.exitCode = 1
}

async function verified(tenant: string | undefined, options: Options): Promise<EventVerification> {
  const unreadable = (file: string) => () => {
    throw new Undecided(`${file} is not a file that can be read.`)
  }
  const { from, heads = [], after = null, lag, anyOrder = false } = options
  const files = await Promise.all(
    heads.map(async (name) => ({ name, text: await readFile(name, 'utf8').catch(unreadable(name)) })),
  )
  const source = from === '-' ? process.stdin : createReadStream(from)
  const read = await readEvents(linesOf(source.setEncoding('utf8')), anyOrder).catch((error) => {
    throw error instanceof Failure ? error : unreadable(from)()
  })
  // Asked after the events were read, so that none of these is newer.
  if (tenant !== undefined) files.push({ name: tenant, text: JSON.stringify(await withTenant(options, tenant, checkpoints)) })
  const { known, faults } = readCheckpoints(files)
  for (const { checkpoint, said } of faults) read.faults.push({ kind: 'rewritten', seq: null, checkpoint, said })
  return verifyEvents(read, {
    heads: known,
    is_current: tenant !== undefined,
    after,
    pending_since: Date.now() - lag * 1000,
  })
}

const Checkpoint = z.looseObject({ no: z.int() })
const checkpoints = (api: Api) => listed(api, Checkpoint, '/audit/checkpoints', {}, EVERYTHING)

function inWords(verdict: EventVerification): string {
  const { intact, faults, first_seq, last_seq, events, proven, checkpoints, repeated, undone, pending, erased } = verdict
  const span = first_seq === null ? 'no events' : `${events} events from ${first_seq} to ${last_seq}`
  const counts = `${span}; ${proven} under ${checkpoints} checkpoints are proven (${repeated} repeated, ${undone} undone by a restore, ${pending} on their way, ${erased} details erased)`
  if (intact) return `Intact: ${counts}.`
  const { said } = faults.find(({ seq }) => seq !== null) ?? (faults[0] as EventFault)
  return `Broken: ${plain(said)}. ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}; ${counts}.`
}
