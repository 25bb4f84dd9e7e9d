/**
 * Verifies an export of the audit against checkpoints, without any account. Threat: somebody who can write the database changes,
 * removes or invents entries, also those of before the export was made. Whoever kept the checkpoints sees it: each is a hash of the
 * one before it and of its entries, which are all in a whole export. An entry of which the checkpoint is not whole proves nothing.
 */
import type { z } from 'zod'
import type { Discrepancy } from '../../src/audit/verify.ts'
import { type Checkpoint, fault, faultsOf, micros, readCheckpoints, SKEW_MICROSECONDS } from './audit-checkpoints.ts'
import { AuditEntry, Detail, detailHash, type Entry, entryForm, erasedBy, hashOf, whole } from './audit-forms.ts'
import { Failure } from './failure.ts'
import { parseExactly } from './jsonb.ts'

const Row = AuditEntry.extend(Detail.shape).extend({ checkpoint: whole.nullable() })
type Row = z.infer<typeof Row>

/**
 * What an export proves. `proven` counts the entries whose checkpoint was recomputed, `pending` those under no checkpoint or a later
 * one than the newest that is known, `unproven` all others.
 */
export type FileVerification = {
  intact: boolean
  is_complete: boolean
  checkpoints: number
  proven_checkpoints: number
  entries: number
  proven: number
  pending: number
  unproven: number
  erased: number
  faults: Discrepancy[]
}

/**
 * Verifies the lines of an export. `is_filtered`: entries may be missing from it, and nothing is said of them. Keeps in memory the
 * entries of checkpoints of which not all were read yet. Fails with Failure at a line that is not of an export.
 */
export async function verifyFile(
  lines: AsyncIterable<string>,
  files: { name: string; text: string }[],
  is_filtered: boolean,
): Promise<FileVerification> {
  const { known, faults } = readCheckpoints(files)
  const numbers = [...known.keys()].sort((a, b) => a - b)
  const [oldest, newest] = [numbers[0] ?? 0, numbers.at(-1) ?? 0]
  if (!known.size) throw new Failure('--heads: there is no checkpoint in it, so nothing can be verified.')
  faults.push(...faultsOf(known, numbers))
  // One that covers nothing says that the database was moved to another Postgres.
  const empty = numbers.filter((no) => known.get(no)?.entries === 0)
  const covering = numbers.filter((no) => !empty.includes(no))
  const open = new Map<number, Entry[]>(covering.map((no) => [no, []]))
  const surplus = new Map<number, number>()
  const gone: { id: string; checkpoint: number | null }[] = []
  const erasures = new Set<string>()
  const count = { entries: 0, proven: 0, pending: 0, proven_checkpoints: 0, unproven: 0 }
  /** The greatest checkpoint of which an entry was read. */
  let seen = 0
  const recomputed = (no: number) => known.has(no) && (no === 1 || known.has(no - 1))

  for await (const line of lines) {
    if (line === '') continue
    const row = rowOf(line, ++count.entries)
    // One that no checkpoint proves excuses nothing.
    if (row.checkpoint !== null) for (const id of erasedBy(row, row)) erasures.add(id)
    if (row.salt === null && !hasDetail(row)) gone.push(row)
    // A detail without its salt is there to pass unseen.
    else if (row.salt === null)
      faults.push(
        fault('changed_detail', row.checkpoint, `the detail of ${row.id} has no salt, so it is not the recorded one`, row.id),
      )
    else if (detailHash(row) !== row.detail_hash)
      faults.push(fault('changed_detail', row.checkpoint, `the detail of ${row.id}, or its hash, was changed`, row.id))
    if (isForged(row, known, newest))
      faults.push(
        fault(
          'forged',
          row.checkpoint,
          `the entry ${row.id} is dated ${row.at}, which does not lie between the checkpoints around it`,
          row.id,
        ),
      )
    const no = row.checkpoint
    if (no === null || no > newest) {
      count.pending++
      continue
    }
    seen = Math.max(seen, no)
    if (!recomputed(no)) count.unproven++
    else add(no, { xid: row.xid, id: row.id, form: entryForm(row) })
  }

  for (const no of empty.filter(recomputed)) {
    const checkpoint = known.get(no)
    if (checkpoint && hashOf(checkpoint, known.get(no - 1), []) === checkpoint.hash) count.proven_checkpoints++
    else faults.push(fault('changed', no, `checkpoint ${no}, or what is before it, was changed`))
  }
  for (const [no, more] of surplus) faults.push(fault('added', no, `${more} entries were added under checkpoint ${no}`))
  for (const [no, entries] of open) {
    count.unproven += entries.length
    if (is_filtered || !recomputed(no) || no > seen) continue
    const all = known.get(no)?.entries ?? 0
    faults.push(fault('removed', no, `${all - entries.length} of the ${all} entries under checkpoint ${no} are missing`))
  }
  if (seen < (covering.at(-1) ?? 0) && !is_filtered)
    faults.push(
      fault('cut_off', seen + 1, `the end is missing: there is no entry under the checkpoints ${seen + 1} to ${newest}`),
    )
  const lostDetails = gone.filter(({ id }) => !erasures.has(id))
  if (!is_filtered)
    for (const { id, checkpoint } of lostDetails)
      faults.push(fault('removed_detail', checkpoint, `the detail of ${id} is missing, and no entry says that it was erased`, id))
  const is_complete = !is_filtered && oldest === 1 && faults.length === 0
  return {
    intact: !faults.length,
    is_complete,
    checkpoints: known.size,
    ...count,
    erased: gone.length - lostDetails.length,
    faults,
  }

  /** Adds an entry to its checkpoint, and recomputes that with its last one. */
  function add(no: number, entry: Entry) {
    const entries = open.get(no)
    const checkpoint = known.get(no)
    if (!entries || !checkpoint) return void surplus.set(no, (surplus.get(no) ?? 0) + 1)
    entries.push(entry)
    if (entries.length < checkpoint.entries) return
    open.delete(no)
    if (hashOf(checkpoint, known.get(no - 1), entries) === checkpoint.hash) {
      count.proven += entries.length
      count.proven_checkpoints++
      return
    }
    count.unproven += entries.length
    faults.push(fault('changed', no, `an entry under checkpoint ${no}, or the checkpoint, was changed`))
  }
}

function isForged(row: Row, known: Map<number, Checkpoint>, newest: number): boolean {
  const own = row.checkpoint === null ? undefined : known.get(row.checkpoint)
  const last = row.checkpoint === null ? newest : row.checkpoint - 1
  const at = micros(row.at)
  // Of before checkpoints were dated.
  if (own?.next_xid === null) return false
  if (own && (row.xid >= own.next_xid || at > micros(own.created_at) + SKEW_MICROSECONDS)) return true
  const { oldest_xid } = known.get(last) ?? {}
  if (typeof oldest_xid !== 'number') return false
  if (row.xid < oldest_xid) return true
  for (let no = last; ; no--) {
    const checkpoint = known.get(no)
    if (!checkpoint || checkpoint.next_xid === null) return false
    if (checkpoint.next_xid <= row.xid) return at < micros(checkpoint.created_at) - SKEW_MICROSECONDS
  }
}

function rowOf(line: string, number: number): Row {
  try {
    return Row.parse(parseExactly(line))
  } catch {
    throw new Failure(`Line ${number} is not of an export: GET /api/v1/activities/export?format=ndjson.`)
  }
}

const hasDetail = ({ user_name, address, agent, method, path, before, after, api_key_id, impersonator_id }: Row) =>
  [user_name, address, agent, method, path, before, after, api_key_id, impersonator_id].some((value) => value !== null)
