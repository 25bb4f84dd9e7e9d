import type { IncomingHttpHeaders } from 'node:http'
import type { Fault } from './fault.ts'

/** A request to the management API or to /sql. */
export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  /** Fails with `TooLarge` past the limit. */
  body(limit: number): Promise<string>
  /** Aborts when the client goes away before it has its answer. */
  signal: AbortSignal
  /** The operation of this request that is to fail on purpose. */
  fails?: { action?: string }
  /** What is to go wrong on purpose with the change of roles that this request makes; asked for once, when it does. */
  roleFault?: () => Fault | undefined
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  /** Runs once the answer is sent. */
  after?: () => void
}

export class TooLarge extends Error {}
