/** Turns every failure into a response. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { dbError, toProblem } from '../kernel/db.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { languageOf } from './accept-language.ts'
import type { AppEnv } from './app-env.ts'
import { isOAuth, oauthResponse } from './oauth.ts'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Answers with the problem that was thrown, or that the error maps to. Unexpected errors are logged, and their text is never
 * sent.
 */
export function onError(error: Error, c: Context<AppEnv>): Response {
  const known = toProblem(error)
  if (isOfOlderSchema(known, c.get('is_behind'))) {
    log('failed on an older schema', { tenant: c.var.realm?.subdomain ?? null, trace_id: c.var.trace_id, error: describe(error) })
    const headers = { 'Retry-After': String(UPGRADE_SECONDS) }
    return refused(c, new Problem('tenant_upgrading', undefined, { headers }))
  }
  if (known instanceof Problem) return refused(c, known)
  if (known instanceof HTTPException) return refused(c, fromHono(known))
  log('failed', { tenant: c.var.realm?.subdomain ?? null, trace_id: c.var.trace_id, error: describe(error) })
  return refused(c, new Problem('internal_error'))
}

/** A problem in the form that the caller expects: OAuth has one of its own. */
const refused = (c: Context<AppEnv>, problem: Problem): Response =>
  isOAuth(c.req.path) ? oauthResponse(problem) : problem.toResponse(about(c))

/** About as long as a tenant's migration takes. */
const UPGRADE_SECONDS = 2

/**
 * Whether a request failed because its database has an older schema: on one that does, whatever is no refusal of ours, and what the
 * login may not do because the newest schema grants it.
 */
export const isOfOlderSchema = (error: unknown, is_behind = false) =>
  is_behind && (error instanceof Problem ? dbError(error.cause)?.code === '42501' : !(error instanceof HTTPException))

/** Answers a request that matches no route: 405 when another method would match, else 404. */
export const notFound = (app: OpenAPIHono<AppEnv>) => (c: Context<AppEnv>) => {
  const matched = METHODS.filter((method) =>
    app.router.match(method, c.req.path)[0].some(([[, route]]) => route.method === method),
  )
  const problem = matched.length
    ? new Problem('method_not_allowed', undefined, { headers: { Allow: allowed(matched) } })
    : new Problem('not_found')
  return refused(c, problem)
}

type Asked = { path: string; url: string; header(name: string): string | undefined }

const about = (c: { var: Partial<AppEnv['Variables']>; req: Asked }) => ({
  base: c.var.config?.BASE_URL.origin ?? new URL(c.req.url).origin,
  path: c.req.path,
  trace_id: c.var.trace_id ?? '',
  language: languageOf(c.req.header('Accept-Language')),
})

/** Maps the exceptions of Hono itself: malformed JSON, a content type that no validator accepts. */
function fromHono(error: HTTPException): Problem {
  if (error.status === 415) return new Problem('unsupported_media_type')
  return new Problem('invalid_request', undefined, { errors: [{ pointer: '#', detail: error.message }] })
}

/** An error and its causes, for the log. Statements and their parameters are left out: they may hold secrets. */
function describe(error: unknown): string {
  const parts: string[] = []
  for (let e = error; e instanceof Error; e = e.cause)
    parts.push(e.message.startsWith('Failed query') ? 'Failed query' : `${e.name}: ${e.message}`)
  return `${parts.join(' <- ')}${error instanceof Error ? `\n${error.stack?.split('\n').slice(1, 6).join('\n')}` : ''}`
}

/** HEAD is answered wherever GET is (RFC 9110 section 9.3.2). */
const allowed = (matched: string[]) => matched.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
