/** Checkpoints of the audit in files, as the API lists them, and what is wrong with them by themselves. */
import { z } from 'zod'
import type { Discrepancy } from '../../src/audit/verify.ts'
import { Failure } from './failure.ts'

/** How far clocks may differ, as in src/audit/verify.ts. */
export const SKEW_MICROSECONDS = 60_000_000n

const Checkpoint = z.object({
  no: z.int(),
  entries: z.int(),
  oldest_xid: z.int().nullable(),
  next_xid: z.int().nullable(),
  hash: z.hex(),
  created_at: z.iso.datetime(),
})
export type Checkpoint = z.infer<typeof Checkpoint>
const Heads = z.union([z.object({ data: z.array(Checkpoint) }).transform(({ data }) => data), z.array(Checkpoint)])

/** Reads checkpoints as the API lists them, one page or several. Fails where two say different things of one checkpoint. */
export function readCheckpoints(files: { name: string; text: string }[]): {
  known: Map<number, Checkpoint>
  faults: Discrepancy[]
} {
  const known = new Map<number, Checkpoint>()
  const faults: Discrepancy[] = []
  for (const file of files)
    for (const document of documents(file.text)) {
      const read = Heads.safeParse(document)
      if (!read.success) throw new Failure(`${file.name} is not what GET /api/v1/audit/checkpoints answers.`)
      for (const checkpoint of read.data) {
        const other = known.get(checkpoint.no)
        if (other && other.hash !== checkpoint.hash)
          faults.push(
            fault('rewritten', checkpoint.no, `two hashes of checkpoint ${checkpoint.no} are given: the chain was rewritten`),
          )
        known.set(checkpoint.no, other ?? checkpoint)
      }
    }
  return { known, faults }
}

/** The JSON documents of a text: one, or one in each line. */
function documents(content: string): unknown[] {
  const parsed = (part: string) => {
    try {
      return JSON.parse(part) as unknown
    } catch {
      return undefined
    }
  }
  const one = parsed(content)
  return one === undefined
    ? content
        .split('\n')
        .filter((line) => line.trim())
        .map(parsed)
    : [one]
}

/** What is wrong with the checkpoints themselves: numbers that are missing, and dates that do not follow each other. */
export function faultsOf(known: Map<number, Checkpoint>, numbers: number[]): Discrepancy[] {
  return numbers.flatMap((no, i) => {
    const [before, checkpoint] = [known.get(numbers[i - 1] ?? 0), known.get(no)]
    if (!before || !checkpoint) return []
    if (before.no !== no - 1)
      return [fault('missing_checkpoint', before.no + 1, `the checkpoints before ${no} are not given, from ${before.no + 1} on`)]
    const isForged =
      (checkpoint.next_xid === null && before.next_xid !== null) ||
      micros(checkpoint.created_at) < micros(before.created_at) - SKEW_MICROSECONDS
    return isForged ? [fault('forged', no, `checkpoint ${no} is dated before the one before it, or has no date`)] : []
  })
}

/** Microseconds since 1970 of a moment in UTC. */
export function micros(moment: string): bigint {
  const [, seconds = '', fraction = ''] = /^([^.Z]*)(?:\.(\d+))?Z$/.exec(moment) ?? []
  return BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0').slice(0, 6))
}

export const fault = (
  kind: Discrepancy['kind'],
  checkpoint: number | null,
  said: string,
  id: string | null = null,
): Discrepancy => ({
  kind,
  checkpoint,
  id,
  said,
})
