import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless'
import type { SQL } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle, type NeonHttpDatabase } from 'drizzle-orm/neon-http'
import { type Code, Problem } from './problem.ts'

const TIMEOUT_MS = 15_000

/** Sends the driver's requests to a local Neon instead of the host in the connection string. Process-wide, as the driver is. */
export function useSqlUrl(url: string | undefined) {
  if (url) neonConfig.fetchEndpoint = url
}

// The limit is a request's, not the client's, which is kept.
neonConfig.fetchFunction = (url: string, init: RequestInit) => fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) })

const clients = new Map<string, NeonHttpDatabase>()

/**
 * A database behind a Neon connection string. Every statement list that it is given is one HTTP request and one transaction, with a time
 * limit of its own. Clients hold no connection; at most 500 are kept, the oldest goes.
 */
export function connect(url: string): NeonHttpDatabase {
  const known = clients.get(url)
  if (known) return known
  const client = drizzle({ client: neon(url) })
  if (clients.size >= 500) clients.delete(clients.keys().next().value ?? '')
  clients.set(url, client)
  return client
}

/** Builds statements; which database runs them is decided by who sends the list. */
export const build = drizzle.mock()

/** A statement that is the same for everybody, built once instead of for each request. */
export function fixed<S extends BatchItem<'pg'>>(statement: S): S {
  // drizzle's own batch asks a statement for this, and declares it nowhere.
  const prepared = (statement as unknown as { _prepare(): unknown })._prepare()
  return { _prepare: () => prepared } as unknown as S
}

/** Runs statements as one transaction, in one round trip, and gives the rows of each. */
export async function batch(url: string, statements: readonly SQL[]): Promise<Record<string, unknown>[][]> {
  // drizzle types a batch as a tuple of known length and gives each statement's rows its own type; ours is a list of raw statements.
  const items = statements.map((statement) => build.execute(statement))
  const results = await requireJson(connect(url).batch(items as unknown as [BatchItem<'pg'>]))
  return (results as unknown as { rows: Record<string, unknown>[] }[]).map((result) => result.rows)
}

/** An answer that is not JSON (a page of something in between) is a database that does not answer. */
export const requireJson = <T>(results: Promise<T>): Promise<T> =>
  results.catch((error) => {
    throw error instanceof SyntaxError
      ? Object.assign(new NeonDbError(`The answer is not JSON: ${error.message}`), { cause: error })
      : error
  })

/** The database's own error behind whatever wrapped it, or null. */
export function dbError(error: unknown): NeonDbError | null {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof NeonDbError) return e
  return null
}

/** The name of the constraint that a statement broke (unique, check, foreign key, exclusion), or null. */
export const brokenConstraint = (error: unknown) =>
  dbError(error)?.code?.startsWith('23') ? (dbError(error)?.constraint ?? null) : null

/** True when a database would not let a login in: wrong password, or no CONNECT (which Neon tells in the text of a 500). */
export const refusedLogin = (error: unknown) =>
  /password authentication failed|permission denied for database/.test(dbError(error)?.message ?? '')

/** True when a database is not the tenant's that was resolved: it says so, it is not there, or its door is closed to the tenant's login. */
export const isWrongDatabase = (error: unknown) =>
  dbError(error)?.message === 'wrong_tenant' || dbError(error)?.code === '3D000' || refusedLogin(error)

/** What the database refused in our own words: the code, the sentence, and the field that is wrong. */
function fromSqlState(e: NeonDbError): Problem {
  const detail = e.detail || undefined
  return e.hint && detail
    ? new Problem(e.message as Code, undefined, { errors: [{ pointer: `#/${e.hint}`, detail }], cause: e })
    : new Problem(e.message as Code, detail, { cause: e })
}

/** Turns what admission raises, and what a database away looks like, into problems; anything else stays as it is. */
export function toProblem(error: unknown): unknown {
  const e = dbError(error)
  if (!e) return error
  const code = e.code ?? ''
  if (code.startsWith('FH') && e.message !== 'wrong_tenant') return fromSqlState(e)
  // Text, a number or a moment that no column takes, and that no schema caught.
  if (/^(22021|22P05|22P02|22007|22008|22009)$/.test(code)) return new Problem('invalid_request', undefined, { cause: error })
  const away =
    !code ||
    code === 'FH503' ||
    /^(08|53|57|58|3D000)/.test(code) ||
    code === '40001' ||
    code === '40P01' ||
    isWrongDatabase(error)
  if (away) return new Problem('database_unavailable', undefined, { cause: error })
  return code === '42501' ? new Problem('forbidden', undefined, { cause: error }) : error
}
