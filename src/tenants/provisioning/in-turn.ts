/**
 * Makes calls of Neon's API when it is their turn (neon-turns.ts). Threat: the object that gives turns is away, overloaded or reset, and
 * with it nobody's database is made; or a change is made twice. So it never makes a call itself: who does not reach it goes on with the
 * count of its own isolate, and Neon refuses what is too much, which is waited out.
 */
import type { Config } from '../../kernel/config.ts'
import { random } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { HELD_MS, localTurn, type NeonCall, type NeonTurn, type Turns } from './pace.ts'
import { neonError } from './refused-key.ts'

const TRIES = 3
/** Longer than the object holds a call. */
const DEAF_MS = HELD_MS + 3_000
const ENDED = ['finished', 'skipped', 'failed', 'error', 'cancelled']

type Asked = { method: string; url: string }
type Operation = { id: string; status: string }

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/**
 * Sends a call when it has its turn, which is waited for as long as `patience_ms`; then the answer is 429 (the budget), or 423 (somebody
 * changes the project), as Neon's would be.
 */
export async function inTurn(
  config: Config,
  { account, patience_ms, asked }: { account: string; patience_ms: number; asked: Asked },
  send: () => Promise<Response>,
): Promise<Response> {
  const [, project = null, , operation = null] = /\/projects\/([^/?]+)(\/operations(?:\/([^/?]+))?)?/.exec(asked.url) ?? []
  const writes = !['GET', 'HEAD'].includes(asked.method)
  const holder = project && writes ? crypto.randomUUID() : null
  const budget = config.NEON_CALLS_PER_MINUTE
  const call = { budget, project, holder, operation }
  // Its own calls of the object take time, too, and a Worker's clock may stand still.
  const over = AbortSignal.timeout(patience_ms)
  for (let left = patience_ms; ; ) {
    const { refused, after_ms } = await turn(config, account, call)
    if (over.aborted) left = 0
    if (refused && left <= 0)
      return refused === 'budget'
        ? neonError(429, `Of the ${budget} calls of Neon's API in a minute (NEON_CALLS_PER_MINUTE) none is left.`, LATER)
        : neonError(423, `Another change of the project ${project} is under way.`)
    if (after_ms > 0) await pause(refused ? Math.min(after_ms, left) : after_ms)
    left -= after_ms
    if (!refused) break
  }
  let under_way: string[] = []
  try {
    const answer = await send()
    if (project && (holder || asked.url.includes('/operations'))) {
      const { ended, running } = await operationsIn(answer)
      under_way = running
      if (ended.length && !holder) await tell(config, account, (turns) => turns.ended(project, ended))
    }
    return answer
  } finally {
    if (project && holder) await tell(config, account, (turns) => turns.leave(project, holder, under_way))
  }
}

/** Longer than Neon's client waits: the caller decides what waiting is worth. */
const LATER = { 'Retry-After': '11' }

/** The operations in an answer; it can still be read. */
async function operationsIn(answer: Response): Promise<{ ended: string[]; running: string[] }> {
  const body = answer.ok
    ? ((await answer
        .clone()
        .json()
        .catch(() => null)) as Record<string, unknown> | null)
    : null
  const listed = [body?.operation, ...(Array.isArray(body?.operations) ? body.operations : [])] as (Operation | undefined)[]
  const known = listed.filter((each) => each !== undefined)
  const isOver = ({ status }: Operation) => ENDED.includes(status)
  return { ended: known.filter(isOver).map(({ id }) => id), running: known.filter((each) => !isOver(each)).map(({ id }) => id) }
}

async function turn(config: Config, account: string, call: NeonCall): Promise<NeonTurn> {
  for (let tries = 1; config.NEON_TURNS && tries <= TRIES; tries++) {
    try {
      return await soon(turnsOf(config.NEON_TURNS, account).enter(call))
    } catch (error) {
      log('no turn at Neon was given', { account, tries, error: String(error) })
      // A reset object answers again; an overloaded one has enough to do.
      const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean }
      if (!retryable || overloaded) break
      await pause(random() * 200 * tries)
    }
  }
  return localTurn(account, call)
}

/** What is not heard is over when its lease is. */
async function tell({ NEON_TURNS }: Config, account: string, say: (turns: Turns) => Promise<void>): Promise<void> {
  if (!NEON_TURNS) return
  await soon(say(turnsOf(NEON_TURNS, account))).catch((error) =>
    log('the end of a turn at Neon was not heard', { account, error: String(error) }),
  )
}

const turnsOf = (binding: object, account: string): Turns => (binding as { getByName(name: string): Turns }).getByName(account)

/** Fails when the object does not answer. */
const soon = <T>(answer: Promise<T>): Promise<T> =>
  Promise.race([
    answer,
    pause(DEAF_MS).then((): never => {
      throw new Error('It does not answer.')
    }),
  ])
