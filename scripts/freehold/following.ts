import { setTimeout as pause } from 'node:timers/promises'
import type { z } from 'zod'
import type { Api } from './api.ts'
import { ApiProblem, Unreachable } from './failure.ts'

const POLL_MS = 500
/** How long a server may be unavailable. */
const PATIENCE_MS = 60_000
const TEMPORARY = [429, 502, 503, 504]

/**
 * What is found at a path, at once, whenever it changed and at least every second or so: from its stream of events, and where none can
 * be had (a server of before, a proxy that keeps streams back, a stream that broke), by asking again and again. Ends with the
 * stream or the signal; who asks for the next decides that it is over. Fails when the server refuses; waits a minute while it is unavailable.
 */
export async function* following<S extends z.ZodType>(
  api: Api,
  shape: S,
  path: string,
  signal?: AbortSignal,
): AsyncGenerator<z.infer<S>, void> {
  if (yield* streamed(api, shape, path, signal)) return
  for (let answered = Date.now(); !signal?.aborted; ) {
    const state = await api.call(shape, 'GET', path, signal && { signal }).catch((error) => {
      if (!isTemporary(error) || Date.now() - answered > PATIENCE_MS) throw error
      return null
    })
    if (state) {
      answered = Date.now()
      yield state
    }
    await pause(POLL_MS, undefined, { ...(signal && { signal }) }).catch(() => undefined)
  }
}

/** The states in the stream, which is opened again when it ends before what it tells of does. False: it cannot be had any more. */
async function* streamed<S extends z.ZodType>(
  api: Api,
  shape: S,
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<z.infer<S>, boolean> {
  let last: string | undefined
  let state: z.infer<S> | undefined
  for (let began = true; began && !signal?.aborted; ) {
    began = false
    try {
      for await (const { event, id, data } of api.events(`${path}/events`, { signal, last })) {
        if (event === 'end') return true
        // A refusal: asking says the same, as a failure of the command, and renews a token that expired.
        if (event === 'error') return false
        if (id !== undefined) last = id
        const parsed = event === undefined ? undefined : shape.safeParse(data)
        if (parsed && !parsed.success) return false
        if (parsed) state = parsed.data
        if (state !== undefined) yield state
        began ||= parsed !== undefined
      }
    } catch {
      return false
    }
  }
  return false
}

/** Whether the same call may succeed later. */
const isTemporary = (error: unknown) =>
  error instanceof Unreachable || (error instanceof ApiProblem && TEMPORARY.includes(error.status))
