/**
 * Questions to a database that is not ours yet. Threat: whatever answers there decides what the operator reads, holds the request as
 * long as it likes, answers without end, or answers what it was sent. So each failure is one of few sentences, which name host and
 * database and nothing else of the connection string; and no more is waited for, or read, than such an answer needs.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../../kernel/db.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import type { Connection } from './connection-string.ts'

const FIELD = 'connection_string'
/** What a question takes at most. */
const WAIT_MS = 15_000
const MAX_BYTES = 1024 * 1024
const PATIENCE = sql`select set_config('statement_timeout', '10s', true), set_config('lock_timeout', '5s', true)`

/**
 * Runs statements in one transaction, in one round trip of 15 s at most, and returns the rows of each. Fails with invalid_request (the
 * login or the database is refused, the host is not Neon's), database_unavailable, or illegal_state with the words of Postgres. That a column
 * does not exist (42703) is thrown as it is.
 */
export async function ask(at: Connection, statements: SQL[]): Promise<Record<string, unknown>[][]> {
  try {
    const [, ...results] = await batch(at.url, [PATIENCE, ...statements], null, WAIT_MS, bounded)
    if (results.length === statements.length && results.every((rows) => Array.isArray(rows))) return results
  } catch (error) {
    throw explained(at, error)
  }
  throw notNeons(at)
}

/** An answer, of which reading fails beyond MAX_BYTES. */
function bounded(answer: Response): Response {
  let left = MAX_BYTES
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, out) {
      left -= chunk.byteLength
      if (left < 0) out.error(new Error(`it answers more than ${MAX_BYTES} bytes`))
      else out.enqueue(chunk)
    },
  })
  return new Response(answer.body?.pipeThrough(count) ?? null, answer)
}

const notNeons = ({ host }: Connection) => invalid(FIELD, `names the host ${host}, which does not speak Neon’s SQL over HTTP`)

/** The words of whoever answers there, unless they hold the password. */
function wordsOf({ url }: Connection, message: string): string {
  const { password } = new URL(url)
  const is_echo = [password, decodeURIComponent(password)].some((secret) => message.includes(secret))
  return is_echo ? 'words that hold the connection string' : message.slice(0, 200)
}

function explained(at: Connection, error: unknown): unknown {
  const { host, database } = at
  const known = dbError(error)
  const message = known?.message ?? (error instanceof Error ? error.name : '')
  if (known?.code === '3D000') return invalid(FIELD, `names the database ${database}, which is not at ${host}`)
  if (refusedLogin(error))
    return invalid(
      FIELD,
      `is not accepted at ${host}: the endpoint, the user or the password is not right, or the user may not connect`,
    )
  // Those of whom the caller knows what they mean.
  if (known?.code === '42703') return error
  if (known?.code && !/^(08|53|57|58|25P)/.test(known.code))
    return new Problem('illegal_state', `The database could not be inspected. It says: ${wordsOf(at, message)}`)
  const status = Number(/HTTP status (\d+)/.exec(message)?.[1] ?? 0)
  const is_away =
    known?.code || status >= 500 || status === 429 || /^(Error connecting to database|TimeoutError|AbortError)/.test(message)
  if (is_away && !/redirects are not followed|it answers more than/.test(message))
    // Without its cause, which would be answered for the platform's own database.
    return new Problem('database_unavailable', `The host ${host} does not answer.`)
  // Neon's proxy says in words, without a code, what it does not let through.
  if (/control plane|endpoint|not allowed/i.test(message))
    return invalid(FIELD, `is not accepted at ${host}: ${wordsOf(at, message)}`)
  return notNeons(at)
}
