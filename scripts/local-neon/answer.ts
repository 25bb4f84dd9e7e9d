import type { IncomingHttpHeaders } from 'node:http'

/** A request as both halves of the local Neon see it. */
export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  /** Fails with `TooLarge` past the limit. */
  body(limit: number): Promise<string>
  /** Aborts when the client goes away before it has its answer. */
  signal: AbortSignal
  /** Which operation of this request is to fail, on purpose. */
  fails?: { action?: string }
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  /** Done once the answer is on its way. */
  after?: () => void
}

export class TooLarge extends Error {}
