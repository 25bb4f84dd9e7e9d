import type { Code } from './codes.ts'

/**
 * Why a call failed. `unreachable`: there was no answer, so that nobody knows whether the request was carried out. `unexpected_answer`:
 * something else than Freehold answered, such as a proxy with a page of its own. `session_changed`: somebody logged in or out while the
 * call waited for an access token, so that it was not carried out.
 */
export type ProblemCode = Code | 'unreachable' | 'unexpected_answer' | 'session_changed'

/** What of the input is wrong: a JSON pointer into the body, and a sentence. */
export type Issue = { pointer: string; detail: string }

type Fields = {
  code: ProblemCode
  status: number
  title: string
  detail?: string | undefined
  errors?: Issue[] | undefined
  trace_id?: string | undefined
  retry_after?: number | null
}

/** Every call fails with this error, and with no other. `code` says what to do; the sentences are for people. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly code: ProblemCode
  /** The HTTP status; 0 without an answer. */
  readonly status: number
  readonly title: string
  readonly detail: string | undefined
  /** The fields at fault, for `invalid_request`; else empty. */
  readonly errors: Issue[]
  /** Names the request in the logs and the audit of the service; also the header X-Trace-Id. */
  readonly trace_id: string | undefined
  /** How many seconds to wait before the next try, where the service says so. */
  readonly retry_after: number | null

  constructor({ code, status, title, detail, errors = [], trace_id, retry_after = null }: Fields, cause?: unknown) {
    super(detail ? `${title}: ${detail}` : title, { cause })
    this.code = code
    this.status = status
    this.title = title
    this.detail = detail
    this.errors = errors
    this.trace_id = trace_id
    this.retry_after = retry_after
  }
}

/** Reads an answer that is no success. Never fails: whatever is no problem document is an `unexpected_answer`. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const { status, headers } = response
  const about = { status, retry_after: Number(headers.get('Retry-After')) || null }
  const trace_id = headers.get('X-Trace-Id') ?? undefined
  const sent = (await response.json().catch(() => null)) as (Partial<Fields> & { code?: ProblemCode }) | null
  if (typeof sent?.code === 'string' && typeof sent.title === 'string') {
    const { code, title, detail, errors, trace_id: own = trace_id } = sent
    return new ProblemError({ ...about, code, title, detail, errors: Array.isArray(errors) ? errors : [], trace_id: own })
  }
  const detail = `${response.url || 'The server'} answered ${status} with ${headers.get('Content-Type') ?? 'no content type'}.`
  return new ProblemError({ ...about, code: 'unexpected_answer', title: 'This is not an answer of Freehold', detail, trace_id })
}
