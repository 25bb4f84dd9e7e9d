/**
 * Which pages may call from a browser (CORS, Fetch Standard). Threat: a page of a foreign origin reads an answer, or logs its visitor in
 * as somebody else. A tenant's pages are its own origin and those that an operator gave it. Access-Control-Allow-Credentials is sent to nobody:
 * cookies are for pages of the tenant's own host, to which all this does not apply.
 */
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const REQUEST_HEADERS = 'Authorization, Content-Type, X-Tenant, X-API-Key, X-Account, If-Match, Idempotency-Key, traceparent'
const ANSWER_HEADERS = 'ETag, Location, X-Trace-Id, Retry-After, Link'
/** How long a browser may believe a preflight: an origin that is taken away is out after this. */
const MAX_AGE_SECONDS = '600'
/** What is everybody's: public keys, discovery, the document. */
const PUBLIC = /^\/(\.well-known\/|openapi\.json\/?$)/

/** True for the question that a browser asks before a request. */
export const isPreflight = ({ method, headers }: Request) =>
  method === 'OPTIONS' && headers.has('Origin') && headers.has('Access-Control-Request-Method')

/** Lets a page of one of these origins read an answer, whether it is a success or a problem. Other origins are not mentioned. */
export function setCorsHeaders(request: Request, path: string, origins: string[], answer: Headers): void {
  const origin = request.headers.get('Origin')
  const is_public = PUBLIC.test(path)
  if (!is_public && (origin === null || !origins.includes(origin))) return
  answer.set('Access-Control-Allow-Origin', is_public ? '*' : String(origin))
  answer.set('Access-Control-Expose-Headers', ANSWER_HEADERS)
}

/** The answer to a preflight; `letRead` adds the origin. Fails with forbidden for a foreign origin, so that whoever looks for the reason finds it. */
export function preflight(request: Request, path: string, origins: string[]): Response {
  if (!PUBLIC.test(path)) requireKnownOrigin(request, origins)
  const headers = {
    'Access-Control-Allow-Methods': METHODS,
    'Access-Control-Allow-Headers': REQUEST_HEADERS,
    'Access-Control-Max-Age': MAX_AGE_SECONDS,
  }
  return new Response(null, { status: 204, headers })
}

/** Refuses what a page of a foreign origin sends; what comes from no page has no Origin. */
export function requireKnownOrigin(request: Request, origins: string[]): void {
  const origin = request.headers.get('Origin')
  if (origin !== null && !origins.includes(origin))
    throw new Problem(
      'forbidden',
      'Pages of this origin are not let in here. An operator can add it to the origins of the tenant.',
    )
}

/** Who is logged in or out, no page of a foreign origin decides, not even with a form, for which no browser asks first. */
export const refuseForeignPages = createMiddleware<AppEnv>(async (c, next) => {
  if (!['GET', 'HEAD'].includes(c.req.method)) requireKnownOrigin(c.req.raw, c.var.origins)
  await next()
})
