/**
 * Questions to a database that is not ours yet. Threat: whatever answers there decides what the operator reads, and holds the request as
 * long as it likes. So each failure is one of few sentences, which name host and database and nothing else of the connection string.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../../kernel/db.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import type { Connection } from './connection-string.ts'

const FIELD = 'connection_string'
const PATIENCE = sql`select set_config('statement_timeout', '10s', true), set_config('lock_timeout', '5s', true)`

/**
 * Runs statements in one transaction, in one round trip of 15 s at most, and returns the rows of each. Fails with invalid_request (the
 * login or the database is refused, the host is not Neon's) or database_unavailable. Any other error of Postgres is thrown as it is.
 */
export async function ask(at: Connection, statements: SQL[]): Promise<Record<string, unknown>[][]> {
  try {
    return (await batch(at.url, [PATIENCE, ...statements])).slice(1)
  } catch (error) {
    throw explained(at, error)
  }
}

function explained({ host, database }: Connection, error: unknown): unknown {
  const known = dbError(error)
  const message = known?.message ?? ''
  if (known?.code === '3D000') return invalid(FIELD, `names the database ${database}, which is not at ${host}`)
  if (refusedLogin(error))
    return invalid(
      FIELD,
      `is not accepted at ${host}: the endpoint, the user or the password is not right, or the user may not connect`,
    )
  if (known?.code && !/^(08|53|57|58|25P)/.test(known.code)) return error
  const status = Number(/HTTP status (\d+)/.exec(message)?.[1] ?? 0)
  const is_away = known?.code || status >= 500 || status === 429 || /^Error connecting to database/.test(message)
  if (is_away && !/redirects are not followed/.test(message))
    // Without its cause, which would be answered for the platform's own database.
    return new Problem('database_unavailable', `The host ${host} does not answer.`)
  // Neon's proxy says in words, without a code, what it does not let through.
  if (/control plane|endpoint|not allowed/i.test(message))
    return invalid(FIELD, `is not accepted at ${host}: ${message.slice(0, 200)}`)
  return invalid(FIELD, `names the host ${host}, which does not speak Neon’s SQL over HTTP`)
}
