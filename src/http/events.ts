/**
 * Something that a client follows, as server-sent events (HTML Living Standard, section 9.2). Threat: somebody who lost the permission,
 * or whose session ended, goes on listening; somebody who went away is looked for without an end; and streams pile up in an isolate.
 * So each look is an admission of its own and counts as a request of its user or key; nothing is looked for until the client has
 * taken what came before; and after five minutes a stream ends, for the client to open another.
 */
import { z } from '@hono/zod-openapi'
import { encodeHexLowerCase } from '@oslojs/encoding'
import type { Context } from 'hono'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { onError } from './failures.ts'
import { limitPrincipal } from './rate-limit.ts'

export const EVENT_STREAM = 'text/event-stream'

const encoder = new TextEncoder()

export const LastEventId = z.object({
  'Last-Event-ID': z
    .string()
    .optional()
    .openapi({ description: 'The id of the last event that the client had: what it names is not sent again.' }),
})

const LOOK_MS = 1_000
/** Some five minutes. */
const MOST_LOOKS = 300
/** When a client opens the stream again that ended without an `end`. */
export const RETRY = 'retry: 2000\n\n'
/** A comment, which also keeps proxies from taking the connection for dead. */
export const NOTHING_NEW = ':\n\n'

type Followed<T> = {
  /** The name of its events. */
  event: string
  /** What it is like now, in one round trip that admits the caller. */
  look: () => Promise<T>
  /** Whether it changes no more. */
  isOver: (state: T) => boolean
}

/**
 * Answers with a stream of events: what is followed at once and whenever it changed, then `end` when it is over, or `error` with a
 * problem when a look is refused or fails. Each event has an id; what `Last-Event-ID` names is not sent again, and 204 tells a
 * client that had the `end` to stay away. One round trip before the answer begins, where failures are problems as ever, and one for
 * each look, once a second while somebody reads.
 */
export async function follow<T>(c: Context<AppEnv>, followed: Followed<T>): Promise<Response> {
  const [known = '', rest] = (c.req.header('Last-Event-ID') ?? '').split('.')
  const first = await followed.look()
  if (rest === 'end' && followed.isOver(first) && known === (await idOf(first))) return c.body(null, 204)
  // Pulled: what comes next is looked for once the reader has taken what came before, and never after they cancelled.
  return streamed(c, eventsOf(c, followed, first, known))
}

/** Answers with events that are written one after another, each once the reader took the one before. `left`: they are gone. */
export function streamed(c: Context<AppEnv>, events: AsyncGenerator<string>, left = () => {}): Response {
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await events.next()
        if (done) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
      async cancel() {
        left()
        await events.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
  const headers = { 'Content-Type': EVENT_STREAM, 'Cache-Control': 'no-store, no-transform' }
  if (c.req.method === 'HEAD') {
    left()
    return c.body(null, 200, headers)
  }
  // Compressing would keep an event back until a block is full.
  return c.body(body, 200, headers)
}

/** The stream, piece by piece. */
async function* eventsOf<T>(c: Context<AppEnv>, { event, look, isOver }: Followed<T>, first: T, known: string) {
  yield RETRY
  const ctx = c.get('ctx')
  let [state, sent] = [first, known]
  try {
    for (let looks = 1; ; looks++) {
      const id = await idOf(state)
      // Each look ends with something to send, if only a comment: who hung up is noticed by what cannot be sent to them.
      yield id === sent ? NOTHING_NEW : written(event, JSON.stringify(state), id)
      sent = id
      if (isOver(state)) yield written('end', '{}', `${id}.end`)
      if (isOver(state) || looks === MOST_LOOKS) return
      await scheduler.wait(LOOK_MS)
      if (isExpired(ctx)) throw new Problem('token_expired')
      await limitPrincipal(c, ctx)
      state = await look()
    }
  } catch (error) {
    yield await writtenError(c, error)
  }
}

/** Whether the token of a stream has expired meanwhile: the admission knows sessions and keys, and not when a token expires. */
export const isExpired = ({ bearer }: Pick<Ctx, 'bearer'>) => bearer !== null && bearer.expires_at.getTime() <= Date.now()

/** The last event of a stream that is refused or fails. */
export const writtenError = async (c: Context<AppEnv>, error: unknown) =>
  written('error', await onError(error as Error, c).text())

/** One event; `data` is JSON, which has no line breaks. */
export const written = (event: string, data: string, id?: string) =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`

/** The same for the same state, in any isolate: 16 hexadecimal digits. */
async function idOf(state: unknown): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', encoder.encode(JSON.stringify(state)))
  return encodeHexLowerCase(new Uint8Array(digest).slice(0, 8))
}
