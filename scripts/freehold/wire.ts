import type { z } from 'zod'
import { ApiProblem, Failure, ProblemDocument, Unreachable } from './failure.ts'
import { plain } from './output.ts'

const TIMEOUT_MS = 30_000
/** How long a stream may be silent that has something to say every second. */
const SILENT_MS = 10_000
const HINT = 'name the right address with --url or FREEHOLD_URL.'

/** One plane of a Freehold: its base URL and the headers of each request to it. */
export type Plane = { url: string; base: string; headers?: Record<string, string> }
export type More = { body?: unknown; signal?: AbortSignal }

/** Sends one request. Fails with ApiProblem when the API refuses, with Unreachable when there is no answer. */
export async function send(
  { url, base, headers: own }: Plane,
  method: string,
  path: string,
  { body, signal, token }: More & { token: string | null },
): Promise<unknown> {
  const headers = {
    'User-Agent': 'freehold-cli',
    ...own,
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
    ...(token && { Authorization: `Bearer ${token}` }),
  }
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  // A redirect is not followed: it would send the password to another server.
  const limit = AbortSignal.timeout(TIMEOUT_MS)
  const request = {
    method,
    headers,
    ...sent,
    redirect: 'manual',
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  } as const
  const { response, text } = await fetch(`${base}${path}`, request)
    .then(async (response) => ({ response, text: await response.text() }))
    .catch((error) => {
      throw new Unreachable(`Freehold does not answer at ${url} (${reason(error)}): ${HINT}`)
    })
  if (response.ok) return text === '' ? null : json(text)
  throw refusal(url, response, text)
}

/** The failure that an unsuccessful answer means. */
function refusal(url: string, response: Response, text: string): Failure {
  const problem = ProblemDocument.safeParse(json(text))
  if (problem.success) return new ApiProblem(response.status, problem.data)
  const location = response.headers.get('Location')
  return new Failure(
    `${url} answers ${response.status}${location ? ` (go to ${plain(location)})` : ''}, and not as Freehold does: ${HINT}`,
  )
}

/**
 * Sends lines, of JSON or another type, as they are read and yields those of the answer as they arrive, without a timeout. Fails as `send` does.
 */
export async function* sendLines(
  { url, base, headers: own }: Plane,
  path: string,
  body: ReadableStream<Uint8Array>,
  token: string,
  type = 'application/x-ndjson',
): AsyncGenerator<unknown, void> {
  const headers = {
    'User-Agent': 'freehold-cli',
    ...own,
    'Content-Type': type,
    Authorization: `Bearer ${token}`,
  }
  const request = { method: 'POST', headers, body, duplex: 'half', redirect: 'manual' } as const
  const lost = (error: Parameters<typeof reason>[0]): never => {
    throw new Unreachable(`Freehold does not answer at ${url} (${reason(error)}): ${HINT}`)
  }
  const response = await fetch(`${base}${path}`, request).catch(lost)
  if (!response.ok || !response.body) throw refusal(url, response, await response.text().catch(lost))
  let rest = ''
  try {
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield json(line)
    }
  } catch (error) {
    lost(error as Parameters<typeof reason>[0])
  }
}

/** A server-sent event. Without a name it is a comment: nothing changed. */
export type Event = { event?: string; id?: string; data?: unknown }

/**
 * Opens a stream of server-sent events after `last`, the id of the last one that was had, and yields them until it ends, also its
 * comments. Fails as `send` does, and when nothing comes for ten seconds: a proxy may keep a stream back.
 */
export async function* sendForEvents(
  { url, base, headers: own }: Plane,
  path: string,
  { token, signal, last }: { token: string; signal?: AbortSignal | undefined; last?: string | undefined },
): AsyncGenerator<Event, void> {
  const headers = {
    'User-Agent': 'freehold-cli',
    ...own,
    Accept: 'text/event-stream',
    Authorization: `Bearer ${token}`,
    ...(last !== undefined && { 'Last-Event-ID': last }),
  }
  const quiet = new AbortController()
  const timer = setTimeout(() => quiet.abort(new DOMException('', 'TimeoutError')), SILENT_MS)
  const stop = signal ? AbortSignal.any([signal, quiet.signal]) : quiet.signal
  try {
    const response = await fetch(`${base}${path}`, { headers, redirect: 'manual', signal: stop })
    if (!response.ok) throw refusal(url, response, await response.text())
    if (!response.body || !response.headers.get('Content-Type')?.startsWith('text/event-stream')) return
    let rest = ''
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      timer.refresh()
      const events = (rest + text).split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) yield eventIn(event)
    }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Unreachable(`Freehold does not answer at ${url} (${reason(error as Parameters<typeof reason>[0])}): ${HINT}`)
  } finally {
    clearTimeout(timer)
  }
}

function eventIn(text: string): Event {
  const fields = Object.fromEntries(text.split('\n').map((line) => /^(\w*):\s?(.*)$/.exec(line)?.slice(1) ?? ['', '']))
  return { ...fields, ...('data' in fields && { data: json(String(fields.data)) }) }
}

/** An answer, checked against the fields that are read from it. */
export function shaped<S extends z.ZodType>({ url }: Plane, shape: S, answer: unknown): z.infer<S> {
  const parsed = shape.safeParse(answer)
  if (!parsed.success) throw new Failure(`${url} answers, but not as Freehold does: ${HINT}`)
  return parsed.data
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function reason(error: Error & { cause?: { code?: string; message?: string } }): string {
  if (error.name === 'TimeoutError') return `nothing within ${TIMEOUT_MS / 1000} s`
  return error.cause?.code ?? error.cause?.message ?? error.message
}
