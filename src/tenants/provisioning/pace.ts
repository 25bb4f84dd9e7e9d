/**
 * When calls of Neon's API may be made. Neon takes 700 a minute of an account and 40 a second of a route, together with its console; more are
 * answered 429, also those that a tenant waits for.
 */

/** A call of Neon's API. Only who changes a project has a `holder`: one at a time. `operation`: one that is asked about. */
export type NeonCall = { budget: number; project: string | null; holder: string | null; operation: string | null }

/** When the call may be made, or why not yet, and when to ask again. */
export type NeonTurn = { after_ms: number; refused?: 'budget' | 'project' }

/** What is asked of the Durable Object. Programs, which have none, know it by this type. */
export type Turns = {
  enter(call: NeonCall): Promise<NeonTurn>
  leave(project: string, holder: string, operations: string[]): Promise<void>
  ended(project: string, operations: string[]): Promise<void>
}

export const MINUTE_MS = 60_000
/** How long a call is held before it is said that it has no turn yet. */
export const HELD_MS = 4_000

/** Calls in one second: Neon's 40, or as many of a greater budget as they are of 700. */
const burstOf = (budget: number) => Math.max(40, Math.ceil((budget * 40) / 700))

/**
 * The moment of the next call, in ms. In no minute there are more than the budget, and in no second more than a burst; `before(n)` is the
 * moment of the n-th last call, if it is known: 1 is the last one. No call is granted for later than it is held: a later moment is of
 * another machine's clock, which was ahead, and does not count.
 */
export function nextMoment(now: number, budget: number, before: (n: number) => number | undefined): number {
  const known = (n: number) => {
    const at = before(n)
    return at !== undefined && at <= now + HELD_MS ? at : undefined
  }
  return Math.max(now, known(1) ?? 0, (known(budget) ?? -MINUTE_MS) + MINUTE_MS, (known(burstOf(budget)) ?? -1_000) + 1_000)
}

const made = new Map<string, number[]>()

/** A turn of this process alone, or this isolate: where no Durable Object is bound, or none answers. Nobody waits for another's change. */
export function localTurn(account: string, { budget }: NeonCall): NeonTurn {
  const calls = made.get(account) ?? []
  made.set(account, calls)
  const now = Date.now()
  const at = nextMoment(now, budget, (n) => calls.at(-n))
  if (at > now + HELD_MS) return { refused: 'budget', after_ms: at - now }
  calls.push(at)
  while (calls.length > budget || (calls[0] ?? now) < now - MINUTE_MS) calls.shift()
  return { after_ms: at - now }
}
