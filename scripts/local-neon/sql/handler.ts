import { randomUUID } from 'node:crypto'
import { type Answer, type Asked, TooLarge } from '../answer.ts'
import type { Limits } from '../limits.ts'
import type { Context } from '../work/context.ts'
import { readTarget } from './connection-string.ts'
import { isUnknown } from './cook.ts'
import { aroundDdl } from './ddl.ts'
import { connectFailure, findLogin } from './login.ts'
import { ResponseTooLarge, type Result } from './pipeline.ts'
import { ConnectFailure, describe, isPostgresError, Refusal } from './refusal.ts'
import { type Query, readPayload } from './request.ts'
import { showResult } from './result.ts'
import type { Session } from './session.ts'
import { begin, mustGoAlone, readTransaction } from './transaction.ts'

const PREFLIGHT = {
  allow: 'OPTIONS, POST',
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'OPTIONS, POST',
  'access-control-max-age': '86400',
  'access-control-allow-headers':
    'Authorization, Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level',
}

/** SQL over HTTP, as Neon's proxy answers it. */
export function sqlHandler(context: Context, limits: Limits) {
  return async (asked: Asked): Promise<Answer> => {
    const headers = { 'neon-request-id': randomUUID() }
    const isSql = asked.path === '/sql'
    if (isSql && asked.method === 'OPTIONS') return { status: 200, headers: { ...headers, ...PREFLIGHT } }
    const json = { ...headers, 'content-type': 'application/json', 'access-control-allow-origin': '*' }
    if (!isSql || asked.method !== 'POST') return { status: 400, headers: json, body: '"query is not supported"' }
    try {
      const { headers: more, ...answer } = await answerSql(asked, context, limits)
      return { ...answer, headers: { ...json, ...more } }
    } catch (error) {
      const { status, message } = judge(error, limits)
      return {
        status,
        headers: json,
        body: JSON.stringify(describe(error instanceof ConnectFailure ? error.cause : error, message)),
      }
    }
  }
}

async function answerSql(asked: Asked, context: Context, limits: Limits): Promise<Answer> {
  const target = readTarget(asked.headers['neon-connection-string'])
  const login = findLogin(context.store, target)
  const options = readTransaction(asked.headers)
  const payload = readPayload(await asked.body(limits.requestBytes))
  const queries = 'single' in payload ? [payload.single] : payload.batch
  const shape = { raw: asked.headers['neon-raw-text-output'] === 'true', arrayMode: asked.headers['neon-array-mode'] === 'true' }

  return aroundDdl(queries, login, context, async () => {
    const session = await context.pool.acquire(login).catch((error) => {
      throw connectFailure(error, target, login)
    })
    const cancel = () => session.cancel()
    asked.signal.addEventListener('abort', cancel, { once: true })
    let clean = false
    try {
      if (asked.signal.aborted) throw new Refusal('Query cancelled, connection was terminated')
      const batch = 'batch' in payload
      const results = batch
        ? await runBatch(session, queries, begin(options), limits.responseBytes)
        : await session.execute(queries, limits.responseBytes)
      const elements = shape.raw ? new Map<number, number>() : await elementTypes(session, results)
      const shown = results.map((result, place) =>
        showResult(result, { ...shape, arrayMode: queries[place]?.arrayMode ?? shape.arrayMode, elements }),
      )
      clean = true
      const headers = batch ? options.echo : {}
      const after = () => context.pool.release(session, !asked.signal.aborted)
      return { status: 200, headers, body: JSON.stringify(batch ? { results: shown } : shown[0]), after }
    } finally {
      asked.signal.removeEventListener('abort', cancel)
      if (!clean) context.pool.release(session, false)
    }
  })
}

/** One transaction, in one round trip unless a statement ends or starts transactions itself. */
async function runBatch(session: Session, queries: Query[], start: string, maxBytes: number): Promise<Result[]> {
  const statements = [{ text: start, values: [] }, ...queries, { text: 'COMMIT', values: [] }]
  if (!queries.some(mustGoAlone)) return (await session.execute(statements, maxBytes)).slice(1, -1)
  const results: Result[] = []
  for (const statement of statements) results.push(...(await session.execute([statement], maxBytes)))
  return results.slice(1, -1)
}

/** Which of the types are arrays, and of what, for types that users made. */
async function elementTypes(session: Session, results: Result[]) {
  const unknown = new Set(results.flatMap(({ fields }) => fields.map((field) => field.dataTypeID)).filter(isUnknown))
  if (unknown.size === 0) return new Map<number, number>()
  const text = "select oid, typelem from pg_catalog.pg_type where typcategory = 'A' and oid = any ($1::oid[])"
  const [found] = await session.execute([{ text, values: [`{${[...unknown].join()}}`] }], Number.MAX_SAFE_INTEGER)
  return new Map(found?.rows.map(([array, element]) => [Number(array), Number(element)]))
}

function judge(error: unknown, limits: Limits): { status: number; message?: string } {
  if (error instanceof Refusal) return { status: error.status }
  if (error instanceof TooLarge) return { status: 413, message: `request is too large (max is ${limits.requestBytes} bytes)` }
  if (error instanceof ResponseTooLarge)
    return { status: 507, message: `response is too large (max is ${limits.responseBytes} bytes)` }
  if (error instanceof ConnectFailure) return { status: 500 }
  return { status: isPostgresError(error) ? 400 : 500 }
}
