/** The chain of checkpoints, as events and a tenant name them: which follows which, and which of them a restore left behind. */
import type { Checkpoint } from './audit-checkpoints.ts'
import type { Group } from './events-read.ts'

/** A checkpoint. `previous_hash` is what its events say; undefined: there is no event of it. */
export type Known = { checkpoint: Checkpoint; previous_hash?: string | null; group: Group | null }

/** Checkpoints that follow each other, the oldest first. `left`: those of branches that a restore left between them. */
export type Path = { chain: Known[]; left: Known[]; is_from_first: boolean }

/** The chains, the oldest first: one, unless what connects them is missing. */
export function pathsOf(known: Map<number, Known>, heads: Map<number, Checkpoint>): Path[] {
  const by_hash = new Map([...known.values()].map((one) => [one.checkpoint.hash, one]))
  const numbers = [...heads.keys()].sort((a, b) => a - b)
  const rest = [...known.keys()].sort((a, b) => a - b)
  const paths: Path[] = []
  for (let no = rest.pop(); no !== undefined; no = rest.pop()) {
    const path: Path = { chain: [], left: [], is_from_first: false }
    for (let one = known.get(no); one; ) {
      path.chain.unshift(one)
      const before = predecessorOf(one)
      path.is_from_first = before === 'none'
      if (before === 'none' || !before) break
      for (let between = rest.pop(); between !== undefined && between !== before.checkpoint.no; between = rest.pop())
        path.left.push(known.get(between) as Known)
      one = before
    }
    paths.unshift(path)
  }
  return paths

  function predecessorOf({ checkpoint: { no }, previous_hash }: Known): Known | 'none' | undefined {
    if (previous_hash === null) return 'none'
    const named = previous_hash === undefined ? undefined : by_hash.get(previous_hash)
    if (named && named.checkpoint.no < no) return named
    if (previous_hash !== undefined) return undefined
    if (no === 1) return 'none'
    return known.get(numbers[numbers.indexOf(no) - 1] ?? 0)
  }
}
