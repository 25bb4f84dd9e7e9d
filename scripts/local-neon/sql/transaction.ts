import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './refusal.ts'

export interface Transaction {
  isolation?: string
  readOnly: boolean
  deferrable: boolean
  /** The headers that the answer repeats. */
  echo: Record<string, string>
}

const LEVELS: Record<string, string> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
}

/** Reads how a batch is to run from the `Neon-Batch-*` headers. */
export function readTransaction(headers: IncomingHttpHeaders): Transaction {
  const level = headers['neon-batch-isolation-level']
  const readOnly = headers['neon-batch-read-only'] === 'true'
  const deferrable = headers['neon-batch-deferrable'] === 'true'
  const echo: Record<string, string> = {}
  if (readOnly) echo['neon-batch-read-only'] = 'true'
  if (deferrable) echo['neon-batch-deferrable'] = 'true'
  if (level === undefined) return { readOnly, deferrable, echo }
  const isolation = typeof level === 'string' ? LEVELS[level] : undefined
  if (typeof level !== 'string' || isolation === undefined) throw new Refusal('invalid isolation level')
  return { isolation, readOnly, deferrable, echo: { ...echo, 'neon-batch-isolation-level': level } }
}

/** The statement that starts it. */
export function begin({ isolation, readOnly, deferrable }: Transaction): string {
  const modes = [isolation && `ISOLATION LEVEL ${isolation}`, readOnly && 'READ ONLY', deferrable && 'DEFERRABLE'].filter(Boolean)
  return ['START TRANSACTION', modes.join(', ')].join(' ').trim()
}

const CONTROL = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*(?:begin|start|commit|end|abort|rollback|prepare)\b/i

/**
 * Whether a statement starts or ends a transaction: it changes what a later failure undoes, so the statements after it must wait
 * for it.
 */
export const mustGoAlone = ({ text }: { text: string }) => CONTROL.test(text)
