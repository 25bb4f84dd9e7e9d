import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Effect, now, type Operation } from '../state/records.ts'
import type { Context } from './context.ts'
import { apply } from './effects.ts'

export interface Step {
  action: string
  branch_id?: string
  endpoint_id?: string
  effects: Effect[]
}

export interface Work {
  /** Neon changes one project at a time. Throws `Locked` while operations of the project run. */
  assertFree(projectId: string): void
  /**
   * Records a chain of operations and starts it. The records exist when this returns, so nothing that was checked before can
   * have changed; `accepted` resolves when they are on disk (and, without a delay, when all is done).
   */
  start(projectId: string, steps: Step[]): { operations: Operation[]; accepted: Promise<void> }
  /** Lets the operation that is being carried out finish; the rest goes on after the next start. */
  stop(): Promise<void>
}

/** Operations of the project are running. */
export class Locked extends Error {}

export interface WorkOptions {
  operationMs: number
  log: (line: string) => void
}

const KEPT_PER_PROJECT = 1_000

/** Runs operations, one after another in each project, and goes on with those that a stop interrupted. */
export function openWork(context: Context, { operationMs, log }: WorkOptions): Work {
  const { store } = context
  const busy = new Set<string>()
  const chains = new Set<Promise<void>>()
  const stopping = new AbortController()

  function update(operation: Operation, change: Partial<Operation>) {
    const since = Date.now() - Date.parse(operation.created_at)
    const next = { ...operation, ...change, updated_at: now(), total_duration_ms: Math.max(0, since) }
    store.put('operation', next)
    return next
  }

  /** False when the operation failed. */
  async function carryOut(operation: Operation) {
    try {
      if (operationMs > 0) await sleep(operationMs, undefined, { signal: stopping.signal })
      for (const effect of operation.effects) await apply(effect, context)
      return true
    } catch (error) {
      if (stopping.signal.aborted) throw error
      const reason = error instanceof Error ? error.message : String(error)
      log(`operation ${operation.action} failed: ${reason}`)
      update(operation, { status: 'failed', error: reason, failures_count: 1 })
      return false
    }
  }

  /** A client that sees the last operation finish may change the project at once, so the lock is released at the same moment. */
  async function runChain(projectId: string, chain: Operation[]) {
    const [first] = chain
    if (first) update(first, { status: 'running' })
    for (const [place, operation] of chain.entries()) {
      stopping.signal.throwIfAborted()
      const done = await carryOut(operation)
      const [next, ...later] = chain.slice(place + 1)
      if (done) update(operation, { status: 'finished' })
      if (done && next) update(next, { status: 'running' })
      if (!done && next) for (const rest of [next, ...later]) update(rest, { status: 'cancelled' })
      if (!done || !next) busy.delete(projectId)
      await store.saved()
      if (!done) break
    }
    forgetOld(projectId)
    await store.saved()
  }

  function forgetOld(projectId: string) {
    const operations = store.all('operation').filter((operation) => operation.project_id === projectId)
    store.drop('operation', ...operations.slice(0, Math.max(0, operations.length - KEPT_PER_PROJECT)))
  }

  function launch(projectId: string, operations: Operation[]) {
    busy.add(projectId)
    const chain = runChain(projectId, operations).catch((error: Error) => {
      if (!stopping.signal.aborted) log(`operations of ${projectId} stopped: ${error.message}`)
    })
    chains.add(chain)
    void chain.then(() => chains.delete(chain))
    return chain
  }

  for (const [projectId, operations] of unfinished(store.all('operation'))) launch(projectId, operations)

  return {
    assertFree(projectId) {
      if (busy.has(projectId)) throw new Locked(LOCKED)
    },
    start(projectId, steps) {
      const at = now()
      const operations = steps.map(
        (step, place): Operation => ({
          id: randomUUID(),
          project_id: projectId,
          ...step,
          status: place === 0 ? 'running' : 'scheduling',
          failures_count: 0,
          created_at: at,
          updated_at: at,
          total_duration_ms: 0,
        }),
      )
      if (operations.length === 0) return { operations, accepted: store.saved() }
      store.put('operation', ...operations)
      const first = store.saved()
      const chain = launch(projectId, operations)
      return { operations, accepted: operationMs > 0 ? first : chain }
    },
    async stop() {
      stopping.abort()
      await Promise.all(chains)
    },
  }
}

const LOCKED = 'project already has running conflicting operations, scheduling of new ones is prohibited'

function unfinished(operations: Operation[]) {
  const open = operations.filter(({ status }) => status === 'running' || status === 'scheduling')
  return Map.groupBy(open, (operation) => operation.project_id)
}
