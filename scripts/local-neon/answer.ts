import type { IncomingHttpHeaders } from 'node:http'

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
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  /** Runs once the answer is sent. */
  after?: () => void
}

export class TooLarge extends Error {}
