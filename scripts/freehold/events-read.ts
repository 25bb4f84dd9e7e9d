/**
 * Events as a receiver kept them, put together by the checkpoints that they name. Lines are the bodies of deliveries, events by
 * themselves, or pages of GET /api/v1/events. An event may be there more than once: deliveries are repeated.
 */
import { z } from 'zod'
import type { Checkpoint } from './audit-checkpoints.ts'
import { AuditEntry, Detail, detailHash, type Entry, entryForm, erasedBy, text, whole } from './audit-forms.ts'
import { Failure } from './failure.ts'
import { parseExactly } from './jsonb.ts'

const Kept = AuditEntry.extend({
  v: whole.pipe(z.literal(1)),
  seq: whole,
  epoch: whole,
  checkpoint: z.object({
    no: whole,
    entries: whole,
    oldest_xid: whole.nullable(),
    next_xid: whole.nullable(),
    created_at: z.iso.datetime(),
    hash: z.hex(),
    previous_hash: text,
  }),
  details: Detail.nullable().optional(),
})
type Kept = z.infer<typeof Kept>

/** What is wrong. `seq` is the first event that it is about. */
export type EventFault = {
  kind: 'missing' | 'changed' | 'changed_detail' | 'removed_detail' | 'out_of_order' | 'foreign' | 'unlinked' | 'rewritten'
  seq: number | null
  checkpoint: number | null
  said: string
}

/** The events under one checkpoint, by their numbers. */
export type Group = {
  checkpoint: Checkpoint & { previous_hash: string | null }
  epoch: number
  entries: Map<number, Entry>
}
export type Read = { groups: Map<number, Group>; events: number; repeated: number; erased: number; faults: EventFault[] }

/** It could not be decided whether something is missing: exit status 2. */
export class Undecided extends Failure {
  override readonly exit = 2
}

/** Reads all lines. `is_any_order`: later lines may have earlier events for the first time. */
export async function readEvents(lines: AsyncIterable<string>, is_any_order: boolean): Promise<Read> {
  const read: Read = { groups: new Map(), events: 0, repeated: 0, erased: 0, faults: [] }
  const gone = new Map<string, Kept>()
  const erasures = new Set<string>()
  let number = 0
  let greatest = 0

  for await (const line of lines) {
    number++
    if (line.trim() === '') continue
    for (const event of eventsOf(line, number)) {
      const is_new = add(event)
      if (!is_new) read.repeated++
      else if (event.seq < greatest && !is_any_order)
        report('out_of_order', event, `event ${event.seq} comes after event ${greatest}, for the first time`)
      greatest = Math.max(greatest, event.seq)
      checkDetail(event)
    }
  }
  for (const event of gone.values())
    if (erasures.has(event.id)) read.erased++
    else report('removed_detail', event, `the details of event ${event.seq} are missing, and no event says that they were erased`)
  return read

  function report(kind: EventFault['kind'], { seq, checkpoint }: Kept, said: string) {
    read.faults.push({ kind, seq, checkpoint: checkpoint.no, said })
  }

  /** Returns whether it is there for the first time. */
  function add(event: Kept): boolean {
    const { seq, epoch, checkpoint } = event
    const group: Group = read.groups.get(checkpoint.no) ?? { checkpoint, epoch, entries: new Map() }
    read.groups.set(checkpoint.no, group)
    if (JSON.stringify(group.checkpoint) !== JSON.stringify(checkpoint))
      report('changed', event, `event ${seq} says something else of checkpoint ${checkpoint.no} than others do`)
    if (group.epoch !== epoch)
      report('foreign', event, `event ${seq} is of epoch ${epoch}, and others under its checkpoint of epoch ${group.epoch}`)
    const entry = { xid: event.xid, id: event.id, form: entryForm(event) }
    const known = group.entries.get(seq)
    if (known && known.form !== entry.form) report('changed', event, `event ${seq} is there twice, and differs`)
    if (!known) {
      group.entries.set(seq, entry)
      read.events++
    }
    return !known
  }

  function checkDetail(event: Kept) {
    if (event.details === null) return void gone.set(event.id, event)
    if (!event.details) return
    if (detailHash(event.details) !== event.detail_hash)
      report('changed_detail', event, `the details of event ${event.seq}, or their hash, were changed`)
    for (const id of erasedBy(event, event.details)) erasures.add(id)
  }
}

const Body = z.looseObject({ type: z.string(), data: z.unknown() })

/** The events of a line. A message of a test has none. */
function eventsOf(line: string, number: number): Kept[] {
  try {
    // Many programs begin a file with a byte order mark.
    const parsed = parseExactly(number === 1 ? line.replace(/^\uFEFF/, '') : line)
    const body = Body.safeParse(parsed)
    if (body.success && body.data.type === 'webhook.test') return []
    const data = (parsed as { data?: unknown }).data ?? parsed
    return z.array(Kept).parse(Array.isArray(data) ? data : [data])
  } catch (error) {
    throw new Undecided(`Line ${number} is no event, body of a delivery or page of events${reasonOf(error)}.`)
  }
}

function reasonOf(error: unknown): string {
  const issue = error instanceof z.ZodError ? error.issues[0] : undefined
  if (!issue) return ' in JSON'
  return `: ${issue.path.filter((part) => typeof part === 'string').join('.')} is ${issue.code === 'invalid_type' ? 'missing or of another type' : 'not what it is in an event'}`
}
