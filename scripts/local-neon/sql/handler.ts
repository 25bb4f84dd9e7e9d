import { randomUUID } from 'node:crypto'
import { type Answer, type Asked, TooLarge } from '../answer.ts'
import type { Limits } from '../limits.ts'
import type { Store } from '../state/store.ts'
import { TooManyActive } from '../work/computes.ts'
import type { Context } from '../work/context.ts'
import type { Sync } from '../work/sync.ts'
import { readTarget } from './connection-string.ts'
import { CommitLost, forwarding } from './control-plane.ts'
import { aroundDdl, readDdl } from './ddl.ts'
import { connectFailure, findLogin } from './login.ts'
import { inClusterNames } from './names.ts'
import { ResponseTooLarge } from './pipeline.ts'
import type { Pool } from './pool.ts'
import { ConnectFailure, describe, isPostgresError, Refusal } from './refusal.ts'
import { type Payload, readPayload } from './request.ts'
import { type BeforeCommit, runBatch, runSingle } from './run.ts'
import type { Session } from './session.ts'
import { readTransaction, type Transaction } from './transaction.ts'

export interface SqlContext {
  store: Store
  admin: Context['admin']
  pool: Pool
  computes: Context['computes']
  sync: Sync
  limits: Limits
}

const PREFLIGHT = {
  allow: 'OPTIONS, POST',
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'OPTIONS, POST',
  'access-control-max-age': '86400',
  'access-control-allow-headers':
    'Authorization, Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level',
}

/** SQL over HTTP, as Neon's proxy answers it. */
export function sqlHandler(context: SqlContext) {
  return async (asked: Asked): Promise<Answer> => {
    const headers = { 'neon-request-id': randomUUID() }
    const isSql = asked.path === '/sql'
    if (isSql && asked.method === 'OPTIONS') return { status: 200, headers: { ...headers, ...PREFLIGHT } }
    const json = { ...headers, 'content-type': 'application/json', 'access-control-allow-origin': '*' }
    if (!isSql || asked.method !== 'POST') return { status: 400, headers: json, body: '"query is not supported"' }
    try {
      const { headers: more, ...answer } = await answerSql(asked, context)
      return { ...answer, headers: { ...json, ...more } }
    } catch (error) {
      if (error instanceof CommitLost) return { status: 0 }
      const { status, message } = judge(error, context.limits)
      const cause = error instanceof ConnectFailure ? error.cause : error
      return { status, headers: json, body: JSON.stringify(describe(cause, message)) }
    }
  }
}

async function answerSql(asked: Asked, context: SqlContext): Promise<Answer> {
  const { store, pool, limits } = context
  const target = readTarget(asked.headers['neon-connection-string'])
  const transaction = readTransaction(asked.headers)
  const login = findLogin(store, target)
  const payload = readPayload(await asked.body(limits.requestBytes), (text) => inClusterNames(text, login.branch, store))
  await wake(context, login.endpoint)
  const session = await pool.acquire(login).catch((error) => {
    throw connectFailure(error, target, login)
  })
  const queries = 'single' in payload ? [payload.single] : payload.batch
  const ddl = readDdl(queries)
  const change = { context, branch: login.branch, limits, texts: queries.map(({ text }) => text) }
  const before = ddl?.changesRoles ? await forwarding({ ...change, fault: asked.roleFault?.() }) : undefined
  const answer = () => answerOn(session, asked, { payload, transaction, pool, maxBytes: limits.responseBytes, before })
  return ddl ? aroundDdl(ddl, login, context, answer) : answer()
}

/** Wakes the compute if it is suspended, and keeps it awake. */
async function wake({ store, computes }: SqlContext, id: string) {
  const endpoint = store.get('endpoint', id)
  computes.used(id)
  if (!endpoint || endpoint.current_state === 'active') return
  await computes.wake(endpoint).catch((error) => {
    throw error instanceof TooManyActive ? new Refusal(error.message, 500) : error
  })
}

interface Job {
  payload: Payload
  transaction: Transaction
  pool: Pool
  maxBytes: number
  before: BeforeCommit
}

/**
 * Runs the request on a session. The session returns to the pool after the answer is sent, so that nobody waits for the clean-up.
 */
async function answerOn(session: Session, asked: Asked, { payload, transaction, pool, maxBytes, before }: Job): Promise<Answer> {
  if (asked.signal.aborted) {
    pool.release(session, true)
    throw new Refusal('Query cancelled, connection was terminated')
  }
  const cancel = () => session.cancel()
  asked.signal.addEventListener('abort', cancel, { once: true })
  const shape = {
    raw: asked.headers['neon-raw-text-output'] === 'true',
    arrayMode: asked.headers['neon-array-mode'] === 'true',
    maxBytes,
  }
  try {
    const body =
      'single' in payload
        ? await runSingle(session, payload.single, shape, before)
        : await runBatch(session, payload.batch, { transaction, output: shape, before })
    const headers = 'single' in payload ? {} : transaction.echo
    return { status: 200, headers, body, after: () => pool.release(session, !asked.signal.aborted) }
  } catch (error) {
    // A failed transaction is rolled back, so its session is clean; after a failed single query that is not certain.
    pool.release(session, 'batch' in payload && isPostgresError(error) && error.severity === 'ERROR' && !asked.signal.aborted)
    throw error
  } finally {
    asked.signal.removeEventListener('abort', cancel)
  }
}

function judge(error: unknown, limits: Limits): { status: number; message?: string } {
  if (error instanceof Refusal) return { status: error.status }
  if (error instanceof TooLarge) return { status: 413, message: `request is too large (max is ${limits.requestBytes} bytes)` }
  if (error instanceof ResponseTooLarge)
    return { status: 507, message: `response is too large (max is ${limits.responseBytes} bytes)` }
  if (error instanceof ConnectFailure) return { status: 500 }
  return { status: isPostgresError(error) ? 400 : 500 }
}
