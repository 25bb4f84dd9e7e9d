import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless'
import { fillPlaceholders, type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle, type NeonHttpDatabase } from 'drizzle-orm/neon-http'
import { type Code, Problem } from './problem.ts'

const TIMEOUT_MS = 15_000
/** For a transaction that is `unhurried`: a little longer than the database gives it, so that its own error arrives. */
export const UNHURRIED_MS = 310_000

/** Sends the driver's requests to a local Neon instead of the host in the connection string. Process-wide, as the driver is. */
export function useSqlUrl(url: string | undefined) {
  if (url) neonConfig.fetchEndpoint = url
}

/** How often a request asks again that met no free connection, and up to how long it waits before it does. */
const TURNS = 8
const TURN_MS = 100

/**
 * Asks a database. A redirect is not followed, because it would take the connection string, which is in a header, to another host.
 * A login (or a compute) whose connections are all in use refuses the request before anything of it is done, and Neon queues nobody: then
 * it is asked again, for about two seconds. The timeout is set per request: clients are reused.
 */
neonConfig.fetchFunction = async (url: string, { timeout_ms = TIMEOUT_MS, read = (given) => given, ...init }: Asked) => {
  const signal = AbortSignal.timeout(timeout_ms)
  for (let turn = 1; ; turn++) {
    const answer = read(await fetch(url, { ...init, redirect: 'manual', signal }))
    if (answer.status === 500) {
      const text = await answer.text()
      if (turn === TURNS || !text.includes('"code":"53300"')) return new Response(text, answer)
      await new Promise((done) => setTimeout(done, turn * TURN_MS * (0.3 + 0.7 * random())))
      continue
    }
    if (answer.status < 300 || answer.status > 399) return answer
    await answer.body?.cancel()
    throw new Error(`it answers ${answer.status}, and redirects are not followed`)
  }
}

/** What an answer is passed through before it is read. */
export type Read = (answer: Response) => Response
type Asked = RequestInit & { timeout_ms?: number; read?: Read | undefined }

/** A random number from 0 to 1. */
export const random = () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 0xff_ff_ff_ff

const clients = new Map<string, NeonHttpDatabase>()

/**
 * A client for a Neon connection string. Each list of statements is one HTTP request and one transaction, with its own timeout; one of
 * `readOnly` cannot write. Clients hold no connection; at most 500 are kept, the oldest is dropped.
 */
export function connect(url: string, timeout_ms = TIMEOUT_MS, readOnly = false, read?: Read): NeonHttpDatabase {
  const key = `${timeout_ms} ${readOnly} ${read?.name} ${url}`
  const known = clients.get(key)
  if (known) return known
  const client = drizzle({ client: neon(url, { fetchOptions: { timeout_ms, read }, ...(readOnly && { readOnly }) }) })
  if (clients.size >= 500) clients.delete(clients.keys().next().value ?? '')
  clients.set(key, client)
  return client
}

/** Builds statements; the code that sends them chooses the database. */
export const build = drizzle.mock()

/**
 * A statement that is built once instead of for each request. The function that is returned fills its `sql.placeholder`s: one
 * for each, by name.
 */
export function prepared<S extends BatchItem<'pg'>>(statement: S): (values: Record<string, unknown>) => S {
  // drizzle's batch calls these methods, which its types do not declare.
  const made = (statement as unknown as { _prepare(): Prepared })._prepare()
  const { sql: text, params } = made.getQuery()
  return (values) => {
    const query = { sql: text, params: fillPlaceholders(params, values) }
    const filled: Prepared = {
      getQuery: () => query,
      isResponseInArrayMode: () => made.isResponseInArrayMode(),
      mapResult: (result, isFromBatch) => made.mapResult(result, isFromBatch),
    }
    return { _prepare: () => filled } as unknown as S
  }
}

type Prepared = {
  getQuery(): { sql: string; params: unknown[] }
  isResponseInArrayMode(): boolean
  mapResult(result: unknown, isFromBatch: boolean): unknown
}

/** A statement that never varies, built once. */
export const fixed = <S extends BatchItem<'pg'>>(statement: S): S => prepared(statement)({})

/**
 * Runs statements as one transaction, in one round trip, and returns the rows of each. What the system changes is in the audit
 * under `trace_id`, that of the run. Given up after `timeout_ms`; `read` is for a host that is not known.
 */
export async function batch(
  url: string,
  statements: readonly SQL[],
  trace_id: string | null = null,
  timeout_ms = TIMEOUT_MS,
  read?: Read,
): Promise<Record<string, unknown>[][]> {
  const all = trace_id === null ? statements : [sql`select set_config('access.trace_id', ${trace_id}, true)`, ...statements]
  // drizzle types a batch as a tuple of known length with a row type per statement; ours is a list of raw statements.
  const items = all.map((statement) => build.execute(statement))
  const results = await requireJson(connect(url, timeout_ms, false, read).batch(items as unknown as [BatchItem<'pg'>]))
  const rows = (results as unknown as { rows: Record<string, unknown>[] }[]).map((result) => result.rows)
  return rows.slice(all.length - statements.length)
}

/** Runs a statement that Postgres allows in no transaction, such as `create database`, in one round trip. */
export const alone = (url: string, statement: SQL): Promise<unknown> => requireJson(connect(url).execute(statement))

/** Gives the rest of the transaction five minutes, where the login's own limits are meant for requests. Send it with UNHURRIED_MS where they may pass. */
export const unhurried = sql`select set_config(s.name, '5min', true) from pg_settings s where s.name in ('statement_timeout', 'transaction_timeout')`

/** Treats a response that is not JSON (an error page of a proxy) as a database that does not answer. */
export const requireJson = <T>(results: Promise<T>): Promise<T> =>
  results.catch((error) => {
    throw error instanceof SyntaxError
      ? Object.assign(new NeonDbError(`The answer is not JSON: ${error.message}`), { cause: error })
      : error
  })

/** The database's error in a chain of causes, or null. */
export function dbError(error: unknown): NeonDbError | null {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof NeonDbError) return e
  return null
}

/** The name of the violated constraint (unique, check, foreign key, exclusion), or null. */
export const brokenConstraint = (error: unknown) =>
  dbError(error)?.code?.startsWith('23') ? (dbError(error)?.constraint ?? null) : null

/** True when a database refused the login: wrong password, or no CONNECT privilege (which Neon reports in the text of a 500). */
export const refusedLogin = (error: unknown) =>
  /password authentication failed|permission denied for database/.test(dbError(error)?.message ?? '')

/** True when this is not the database of the resolved tenant: it says so, it does not exist, or it refuses the tenant's login. */
export const isWrongDatabase = (error: unknown) =>
  dbError(error)?.message === 'wrong_tenant' || dbError(error)?.code === '3D000' || refusedLogin(error)

/**
 * Maps an error that our own SQL raised: the code, the sentence, and the field at fault; of several fields, each has its line of
 * both (access.refuse_fields). FH40G is the refusal of a guess. FH40L has a code that the release before does not know, and a message
 * that it does.
 */
function fromSqlState(e: NeonDbError): Problem {
  const detail = e.detail || undefined
  const code = e.code === 'FH40L' ? 'license_expired' : (e.message as Code)
  if (!e.hint || !detail) return new Problem(code, detail, { cause: e, ...(e.code === 'FH40G' && { is_guess: true }) })
  const fields = e.hint.split('\n')
  const each = fields.length > 1 ? detail.split('\n') : [detail]
  const errors = each.map((detail, i) => ({ pointer: `#/${fields[i]}`, detail }))
  return new Problem(code, undefined, { errors, cause: e })
}

/** Maps refusals of the admission and an unavailable database to problems; returns any other error unchanged. */
export function toProblem(error: unknown): unknown {
  const e = dbError(error)
  if (!e) return error
  const code = e.code ?? ''
  if (code.startsWith('FH') && e.message !== 'wrong_tenant') return fromSqlState(e)
  // A statement or transaction that its login's limits ended (src/tenants/provisioning/logins.ts).
  if (/^(57014|25P0[34])$/.test(code))
    return new Problem('database_unavailable', 'The database took too long and was stopped.', { cause: error })
  // Text, a number or a timestamp that no column accepts, and that no schema caught.
  if (/^(22021|22P05|22P02|22007|22008|22009)$/.test(code)) return new Problem('invalid_request', undefined, { cause: error })
  const isUnavailable =
    !code ||
    code === 'FH503' ||
    /^(08|53|57|58|3D000)/.test(code) ||
    code === '40001' ||
    code === '40P01' ||
    // A request that writes, of a tenant that is moved.
    code === '25006' ||
    isWrongDatabase(error)
  if (isUnavailable) return new Problem('database_unavailable', undefined, { cause: error })
  return code === '42501' ? new Problem('forbidden', undefined, { cause: error }) : error
}
