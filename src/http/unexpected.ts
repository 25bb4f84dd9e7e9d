import type { HTTPException } from 'hono/http-exception'
import { Problem } from '../kernel/problem.ts'

/** What Hono's own code throws: malformed JSON, a content type that no validator takes. */
export function fromHono(error: HTTPException): Problem {
  if (error.status === 415) return new Problem('unsupported_media_type')
  return new Problem('invalid_request', undefined, { errors: [{ pointer: '#', detail: error.message }] })
}

/** An error and its causes, for the log. Statements and their parameters are left out: they may hold secrets. */
export function describe(error: unknown): string {
  const parts: string[] = []
  for (let e = error; e instanceof Error; e = e.cause)
    parts.push(e.message.startsWith('Failed query') ? 'Failed query' : `${e.name}: ${e.message}`)
  return `${parts.join(' <- ')}${error instanceof Error ? `\n${error.stack?.split('\n').slice(1, 6).join('\n')}` : ''}`
}
