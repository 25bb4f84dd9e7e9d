/**
 * Whether the Worker is ready. Threat: whoever asks /readyz without end queries the master as often, because nothing limits them. So
 * an isolate asks at most once a second, and the answer, good or bad, is everybody's.
 */
import type { Context } from 'hono'
import type { Config } from '../kernel/config.ts'
import { toProblem } from '../kernel/db.ts'
import { type Code, Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { type Shared, share, unasked } from './shared.ts'

const FRESH_MS = 1_000

type Said = Record<string, number>
type Answer = { said: Said; refused: { code: Code; detail: string } | null }
let known: { config: Config; answer: Shared<Answer> } | undefined

/**
 * A handler that answers whether `ask` succeeds, or did within the last second, and what it said. Fails with the problem that `ask`
 * failed with.
 */
export const ready = (ask: (c: Context<AppEnv>) => Promise<Said>) => async (c: Context<AppEnv>) => {
  const config = c.get('config')
  if (known?.config !== config) known = { config, answer: unasked<Answer>({ said: {}, refused: null }) }
  const asked = () =>
    ask(c).then(
      (said) => ({ said, refused: null }),
      (error: unknown) => {
        const problem = toProblem(error)
        const refused = problem instanceof Problem ? problem : new Problem('internal_error', undefined, { cause: error })
        return { said: {}, refused: { code: refused.code, detail: refused.message } }
      },
    )
  const { said, refused } = await share(known.answer, FRESH_MS, asked, (work) => c.executionCtx.waitUntil(work))
  if (refused) throw new Problem(refused.code, refused.detail)
  return c.json({ status: 'ok', ...said })
}
