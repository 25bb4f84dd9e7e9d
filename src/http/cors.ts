/**
 * Which pages may call from a browser (CORS, Fetch Standard). Threat: a page of a foreign origin reads an answer, or logs its
 * visitor in as somebody else. The allowed origins are the tenant's own, those that an operator configured, and those in its settings.
 * Access-Control-Allow-Credentials is never sent: cookies are for pages of the tenant's own host, which need no CORS.
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { failuresOf } from './rate-limit.ts'

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const REQUEST_HEADERS =
  'Authorization, Content-Type, X-Tenant, X-API-Key, X-Account, If-Match, If-None-Match, Idempotency-Key, traceparent'
const ANSWER_HEADERS =
  'ETag, Location, X-Trace-Id, Retry-After, RateLimit-Policy, RateLimit, Link, Idempotency-Replayed, Freehold-License, WWW-Authenticate'
/** How long a browser may cache a preflight: a removed origin is locked out after this. */
const MAX_AGE_SECONDS = '600'
/** Readable by any origin: public keys, discovery, the OpenAPI document. */
const PUBLIC = /^\/(\.well-known\/|openapi\.json\/?$)/

/** True for a CORS preflight. */
export const isPreflight = ({ method, headers }: Request) =>
  method === 'OPTIONS' && headers.has('Origin') && headers.has('Access-Control-Request-Method')

/** Lets a page of one of these origins read a response, whether success or problem. Other origins get no CORS headers. */
export function setCorsHeaders(request: Request, path: string, origins: string[], answer: Headers): void {
  const origin = request.headers.get('Origin')
  const is_public = PUBLIC.test(path)
  if (!is_public && (origin === null || !origins.includes(origin))) return
  answer.set('Access-Control-Allow-Origin', is_public ? '*' : String(origin))
  answer.set('Access-Control-Expose-Headers', ANSWER_HEADERS)
}

/**
 * Answers a preflight; `setCorsHeaders` adds the origin. Fails with forbidden for a foreign origin, so that its developer sees
 * the reason.
 */
export function preflight(request: Request, path: string, origins: string[]): Response {
  if (!PUBLIC.test(path)) requireKnownOrigin(request, origins)
  const headers = {
    'Access-Control-Allow-Methods': METHODS,
    'Access-Control-Allow-Headers': REQUEST_HEADERS,
    'Access-Control-Max-Age': MAX_AGE_SECONDS,
  }
  return new Response(null, { status: 204, headers })
}

/**
 * The origins that may read the answer to a request: those that are `known`, and its own if it is asked for and `admits` says so.
 */
export async function withPage(
  request: Request,
  path: string,
  known: string[],
  admits: (origin: string) => Promise<boolean>,
): Promise<string[]> {
  const origin = request.headers.get('Origin')
  const is_asked = origin !== null && !PUBLIC.test(path) && !known.includes(origin)
  return is_asked && (await admits(origin)) ? [...known, origin] : known
}

/**
 * Who has the origins in the settings of a realm looked up. A look-up that finds the page of nobody counts as a failure of the network, and
 * from the one beyond the limit on it is answered for a minute by what is known: so no network makes all isolates ask, one after the other.
 */
export type Looker = { later: (work: Promise<unknown>) => void; isRefused: () => boolean; count: () => Promise<void> }

export function lookerOf(c: Context<AppEnv>): Looker {
  const failures = failuresOf(c, 'origin')
  return {
    later: (work) => c.executionCtx.waitUntil(work),
    isRefused: failures.isRefused,
    count: () => failures.count(new Problem('forbidden', undefined, { is_guess: true })).catch(() => undefined),
  }
}

/** Refuses a request from a page of a foreign origin. A request without Origin came from no page. */
export function requireKnownOrigin(request: Request, origins: string[]): void {
  const origin = request.headers.get('Origin')
  if (origin !== null && !origins.includes(origin))
    throw new Problem(
      'forbidden',
      'Pages of this origin are not allowed. An administrator can add it to `origins` in the settings.',
    )
}

/** No page of a foreign origin may log its visitor in or out, not even with a form, for which browsers send no preflight. */
export const refuseForeignPages = createMiddleware<AppEnv>(async (c, next) => {
  if (!['GET', 'HEAD'].includes(c.req.method)) requireKnownOrigin(c.req.raw, c.var.origins)
  await next()
})
