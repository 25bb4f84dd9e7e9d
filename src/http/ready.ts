/**
 * Whether the Worker is ready. Threat: whoever asks /readyz without end queries the master as often, because nothing limits them. So
 * an isolate asks at most once a second, and the answer, good or bad, is everybody's. Requests share values and no promise: what one
 * request awaits is bound to it, and would fail or hang in another (decision 12).
 */
import type { Context } from 'hono'
import type { Config } from '../kernel/config.ts'
import { toProblem } from '../kernel/db.ts'
import { type Code, Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

const FRESH_MS = 1_000
/** After that whoever waits asks as well: the one who asked was ended, or the master is slow. */
const ASKING_MS = 5_000
const PAUSE_MS = 20

/** The last answer, when it came, and since when a request asks for the next; 0: none does. */
type Answer = Record<string, number>
type Known = {
  config: Config
  at: number
  said: Answer
  refused: { code: Code; detail: string } | null
  asking_since: number
}
let known: Known | undefined

/** A moment of the last `ms`. Not one of the future, where the clock was set back. */
const isWithin = (ms: number, moment: number) => Date.now() >= moment && Date.now() - moment < ms
const wait = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/**
 * A handler that answers whether `ask` succeeds, or did within the last second, and what it said. Fails with the problem that `ask`
 * failed with.
 */
export const ready = (ask: (c: Context<AppEnv>) => Promise<Answer>) => async (c: Context<AppEnv>) => {
  const config = c.get('config')
  if (known?.config !== config) known = { config, at: 0, said: {}, refused: null, asking_since: 0 }
  const mine = known
  while (!isWithin(FRESH_MS, mine.at)) {
    if (isWithin(ASKING_MS, mine.asking_since)) {
      await wait(PAUSE_MS)
      continue
    }
    mine.asking_since = Date.now()
    const asked = ask(c).then(
      (said) => answered(mine, said, null),
      (error: unknown) => {
        const problem = toProblem(error)
        const refused = problem instanceof Problem ? problem : new Problem('internal_error', undefined, { cause: error })
        answered(mine, {}, { code: refused.code, detail: refused.message })
      },
    )
    // Others wait for it, also when this client is gone.
    c.executionCtx.waitUntil(asked)
    await asked
    break
  }
  if (mine.refused) throw new Problem(mine.refused.code, mine.refused.detail)
  return c.json({ status: 'ok', ...mine.said })
}

function answered(mine: Known, said: Answer, refused: Known['refused']): void {
  mine.at = Date.now()
  mine.said = said
  mine.refused = refused
  mine.asking_since = 0
}
