/**
 * Verifies what a receiver kept of the events of a tenant. Threat: an event is lost on the way, left out, changed, or of another tenant,
 * and the receiver cannot tell; somebody who can write the database makes another history. Each event names its checkpoint, which
 * is a hash of the one before it and of all its events: so from the newest checkpoint back all is proven, or found to be missing.
 * The tenant's own checkpoints say whether the end is missing.
 */
import type { Checkpoint } from './audit-checkpoints.ts'
import { hashOf, inOrder } from './audit-forms.ts'
import { type Known, type Path, pathsOf } from './events-chain.ts'
import { type EventFault, type Group, type Read, Undecided } from './events-read.ts'

/** A checkpoint of a branch that was left had at most so many events (src/events/events.sql). */
const MOST_ENTRIES = 5_000

/**
 * `proven` counts events whose checkpoint was recomputed, `undone` those of before a restore, of the branch that was left, and `pending`
 * those that are not there and may still be on their way.
 */
export type EventVerification = {
  intact: boolean
  first_seq: number | null
  last_seq: number | null
  events: number
  repeated: number
  proven: number
  checkpoints: number
  undone: number
  pending: number
  erased: number
  faults: EventFault[]
}

/**
 * `heads`: checkpoints of the tenant; with `is_current` all that it has. Events up to `after` need not be there, nor, at the end, those
 * of checkpoints that were made since `pending_since`.
 */
export type Given = { heads: Map<number, Checkpoint>; is_current: boolean; after: number | null; pending_since: number }

export function verifyEvents(read: Read, { heads, is_current, after, pending_since }: Given): EventVerification {
  const groups = [...read.groups.values()]
  if (!groups.length && !heads.size) throw new Undecided('There is no event in it, so nothing can be verified.')
  const faults = [...read.faults]
  const report = (kind: EventFault['kind'], seq: number | null, checkpoint: number, said: string) =>
    faults.push({ kind, seq, checkpoint, said })
  const ends = groups.map(endsOf)
  const first_seq = groups.length ? ends.reduce((least, { first }) => Math.min(least, first), Number.POSITIVE_INFINITY) : null
  const last_seq = groups.length ? ends.reduce((most, { last }) => Math.max(most, last), 0) : null
  const result = { proven: 0, checkpoints: 0, undone: 0, pending: 0 }
  const gaps: { from: number; to: number; no: number }[] = []

  const known = new Map<number, Known>([...heads].map(([no, checkpoint]) => [no, { checkpoint, group: null }]))
  for (const group of groups) {
    const { previous_hash, ...checkpoint } = group.checkpoint
    const head = heads.get(checkpoint.no)
    if (head && head.hash !== checkpoint.hash)
      report('rewritten', endsOf(group).first, checkpoint.no, `checkpoint ${checkpoint.no} differs from that of the tenant`)
    known.set(checkpoint.no, { checkpoint, previous_hash, group })
    prove(group)
  }
  const paths = pathsOf(known, heads)
  for (const [i, path] of paths.entries()) walk(path, paths[i - 1])
  for (const { from, to, no } of gaps)
    report('missing', from, no, from === to ? `event ${from} is missing` : `the events ${from} to ${to} are missing`)
  faults.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0))
  const { events, repeated, erased } = read
  return { intact: !faults.length, first_seq, last_seq, events, repeated, ...result, erased, faults }

  /** Recomputes the checkpoint of a group that is whole. */
  function prove({ checkpoint, entries }: Group) {
    const { no } = checkpoint
    if (entries.size < checkpoint.entries) return
    const numbered = [...entries].sort(([a], [b]) => a - b)
    const { first, last } = endsOf({ entries })
    const which = first === last ? `event ${first}` : `one of the events ${first} to ${last}`
    const swapped = numbered.find(([, entry], i) => i > 0 && inOrder(numbered[i - 1]?.[1] ?? entry, entry) > 0)
    const before = checkpoint.previous_hash === null ? undefined : { hash: checkpoint.previous_hash }
    const made = hashOf(
      checkpoint,
      before,
      numbered.map(([, entry]) => entry),
    )
    if (entries.size > checkpoint.entries)
      report('foreign', first, no, `${which} was added: checkpoint ${no} has ${checkpoint.entries}`)
    else if (made !== checkpoint.hash) report('changed', first, no, `${which}, or checkpoint ${no}, was changed`)
    else if (swapped) report('changed', swapped[0], no, `event ${swapped[0]} has the number of another one`)
    else {
      result.proven += entries.size
      result.checkpoints++
    }
  }

  /** Follows a chain from its oldest checkpoint on, and sees that all that it numbers is there. */
  function walk({ chain, left, is_from_first }: Path, below: Path | undefined) {
    for (const { group, previous_hash, checkpoint } of left) {
      result.undone += group?.entries.size ?? 0
      const is_linked = [...known.values()].some((one) => one.checkpoint.hash === previous_hash)
      if (group && !is_linked) report('foreign', endsOf(group).first, checkpoint.no, `checkpoint ${checkpoint.no} follows none`)
    }
    const at = chain.findIndex(({ group }) => group)
    if (at < 0 && !is_from_first) return
    const from = is_from_first ? 0 : at
    let place = is_from_first ? { no: 0, last: 0, epoch: 1 } : placeBefore(chain[from] as Known, chain[from + 1])
    if (!is_from_first) connect(chain[from] as Known, below?.chain.at(-1))
    for (const [i, one] of chain.entries()) {
      if (i < from) continue
      const { checkpoint, group } = one
      const skipped = checkpoint.no - place.no - 1
      const first = place.last + skipped * MOST_ENTRIES + 1
      const last = first + checkpoint.entries - 1
      const epoch = place.epoch + (skipped > 0 ? 1 : 0)
      if (group) inPlace(group, first, last, epoch)
      else if (checkpoint.entries) absent(checkpoint, first, last)
      else if (i > 0 && hashOf(checkpoint, chain[i - 1]?.checkpoint, []) !== checkpoint.hash)
        report('rewritten', null, checkpoint.no, `checkpoint ${checkpoint.no} of the tenant, or what is before it, was changed`)
      if (is_current && !heads.has(checkpoint.no))
        report('rewritten', first, checkpoint.no, `the tenant has no checkpoint ${checkpoint.no}: its end was cut off`)
      place = { no: checkpoint.no, last, epoch }
    }
  }

  /** Where the numbers of a chain begin that does not begin with the first checkpoint. */
  function placeBefore({ checkpoint: { no, entries }, group }: Known, next: Known | undefined) {
    const ends = group ? endsOf(group) : { first: 1, last: 0 }
    const is_whole = group && group.entries.size >= entries
    const above = next?.group && next.checkpoint.no === no + 1 ? endsOf(next.group).first : null
    const first = is_whole || above === null ? ends.first : Math.min(ends.first, above - entries)
    return { no: no - 1, last: first - 1, epoch: group?.epoch ?? 1 }
  }

  /** Says what is missing between two chains, or before the first. */
  function connect({ checkpoint, group }: Known, before: Known | undefined) {
    const first = group ? endsOf(group).first : 1
    if (!before?.group) {
      if (after !== null && first > after + 1) gap(after + 1, first - 1, checkpoint.no)
      return
    }
    const { last } = endsOf(before.group)
    if (last + 1 < first) gap(last + 1, first - 1, checkpoint.no)
    else
      report(
        'unlinked',
        first,
        checkpoint.no,
        `checkpoint ${checkpoint.no} does not follow ${before.checkpoint.no}, which is before it here: what is between them is in the checkpoints of the tenant`,
      )
  }

  function inPlace(group: Group, first: number, last: number, epoch: number) {
    const { no, created_at } = group.checkpoint
    const ends = endsOf(group)
    if (group.epoch !== epoch)
      report('foreign', ends.first, no, `event ${ends.first} is of epoch ${group.epoch}, where ${epoch} was to come`)
    const stray = [...group.entries.keys()].find((seq) => seq < first || seq > last)
    if (stray !== undefined)
      report('changed', stray, no, `event ${stray} is not one of ${first} to ${last}, under checkpoint ${no}`)
    const is_end = ends.last === last_seq && Date.parse(created_at) >= pending_since
    for (let seq = Math.max(first, (after ?? 0) + 1); seq <= last; seq++)
      if (group.entries.has(seq)) continue
      else if (is_end && seq > ends.last) result.pending++
      else gap(seq, seq, no)
  }

  function absent({ no, created_at }: Checkpoint, first: number, last: number) {
    const from = Math.max(first, (after ?? (first_seq ?? 1) - 1) + 1)
    if (from > last) return
    if (from > (last_seq ?? 0) && Date.parse(created_at) >= pending_since) result.pending += last - from + 1
    else gap(from, last, no)
  }

  function gap(from: number, to: number, no: number) {
    const last = gaps.at(-1)
    if (last && from >= last.from && from <= last.to + 1) last.to = Math.max(last.to, to)
    else gaps.push({ from, to, no })
  }
}

/** The least and the greatest number of a group. */
function endsOf({ entries }: Pick<Group, 'entries'>): { first: number; last: number } {
  let [first, last] = [Number.POSITIVE_INFINITY, 0]
  for (const seq of entries.keys()) [first, last] = [Math.min(first, seq), Math.max(last, seq)]
  return { first, last }
}
