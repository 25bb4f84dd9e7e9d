/**
 * How /oauth/* is refused: as RFC 6749 section 5.2 says, and not with problems. Threat: an error that tells a stranger more than auth/*
 * would, or that an OAuth client does not understand and takes for success or for a reason to try again. Descriptions are in English
 * and in the characters that the standard allows.
 */
import { z } from '@hono/zod-openapi'
import { createMiddleware } from 'hono/factory'
import { type Code, Problem, problemCatalogue } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { answered } from './declared.ts'

const PATH = /^\/oauth(\/|$)/
export const isOAuth = (path: string) => PATH.test(path)

export const OAuthError = z.object({ error: z.string(), error_description: z.string() }).openapi('OAuthError')

/** Errors that no code of ours is: RFC 6749 section 5.2, RFC 7009 section 2.2.1, RFC 8707 section 2. */
export type OAuthName =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unsupported_grant_type'
  | 'invalid_target'
  | 'unsupported_token_type'

/** A refusal that OAuth has its own name for: 401 for `invalid_client`, else 400. Thrown, never returned. */
export class OAuthProblem extends Problem {
  readonly error: OAuthName

  constructor(error: OAuthName, description: string, more: ConstructorParameters<typeof Problem>[2] = {}) {
    super('invalid_request', description, more)
    this.error = error
  }

  override get status(): number {
    return this.error === 'invalid_client' ? 401 : super.status
  }
}

/** The codes that are something else than `invalid_request`, which clients that read no more than `error` must not try again. */
const ERRORS: Partial<Record<Code, string>> = {
  token_missing: 'invalid_token',
  token_invalid: 'invalid_token',
  token_expired: 'invalid_token',
  token_wrong_tenant: 'invalid_token',
  session_ended: 'invalid_token',
  invalid_credentials: 'invalid_grant',
  refresh_invalid: 'invalid_grant',
  refresh_reused: 'invalid_grant',
  internal_error: 'server_error',
}

function errorOf(problem: Problem): string {
  if (problem instanceof OAuthProblem) return problem.error
  const status = problem.status
  const ofStatus =
    status === 403 ? 'access_denied' : status === 429 || status === 503 ? 'temporarily_unavailable' : 'invalid_request'
  return ERRORS[problem.code] ?? ofStatus
}

/** A body of another type is an invalid request, like one without a parameter. */
const statusOf = (code: Code, status: number) => (code === 'unsupported_media_type' ? 400 : status)

/** `%x20-21 / %x23-5B / %x5D-7E`, as RFC 6749 section 5.2 has it. */
const described = (text: string) => text.replace(/[^ !#-[\]-~]/g, (sign) => ('“”"'.includes(sign) ? "'" : '?')).slice(0, 500)

/** The response that says what was refused. A 401 carries the challenge of RFC 6750, or that of the scheme that the client used. */
export function oauthResponse(problem: Problem): Response {
  const error = errorOf(problem)
  const status = statusOf(problem.code, problem.status)
  const faults = problem.errors?.map(({ pointer, detail }) => `${pointer.replace(/^#\/?/, '') || 'The body'} ${detail}.`)
  const headers = new Headers({ 'Content-Type': 'application/json', ...NO_STORE, ...problem.headers })
  if (status === 401 && !headers.has('WWW-Authenticate')) {
    const told =
      problem.code === 'token_missing' ? '' : `, error="${error}", error_description="${problemCatalogue[problem.code][1]}"`
    headers.set('WWW-Authenticate', `Bearer realm="freehold"${told}`)
  }
  const body = { error, error_description: described(faults?.join(' ') ?? problem.message) }
  return new Response(JSON.stringify(body), { status, headers })
}

/** What an endpoint of OAuth answers with, in the document: each status once, with the errors that it may have. */
export function oauthResponses(codes: Iterable<Code>, named: OAuthName[]) {
  const content = { 'application/json': { schema: OAuthError } }
  const told = [
    ...[...codes].map((code) => [statusOf(code, problemCatalogue[code][0]), errorOf(new Problem(code))] as const),
    ...named.map((error) => [new OAuthProblem(error, '').status, error] as const),
  ]
  const byStatus = Map.groupBy(told, ([status]) => status)
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => {
      const description = [...new Set(same.map(([, error]) => error))].sort().join(', ')
      const headers = answered(status === 401 && 'WWW-Authenticate', [429, 503].includes(status) && 'Retry-After')
      return [status, { description, headers, content }]
    }),
  )
}

/** RFC 6749 section 5.1. */
const NO_STORE = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }

/** Every answer of OAuth is kept by nobody. */
export const notStored = createMiddleware<AppEnv>(async (c, next) => {
  await next()
  for (const [name, value] of Object.entries(NO_STORE)) c.res.headers.set(name, value)
})

const BASIC = { 'WWW-Authenticate': 'Basic realm="freehold"' }
const unknownClient = () => new OAuthProblem('invalid_client', 'No client is authenticated here in this way.', { headers: BASIC })

/** The id and the secret in HTTP Basic, which are form-encoded there (RFC 6749 section 2.3.1). Fails with invalid_client. */
function basicOf(encoded: string): { id: string; secret: string } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0)),
    )
    const [, id, secret] = /^([^:]*):(.*)$/s.exec(text) ?? []
    if (id === undefined || secret === undefined) throw unknownClient()
    const [name, password] = [id, secret].map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
    return { id: name ?? '', secret: password ?? '' }
  } catch {
    throw unknownClient()
  }
}

const basicIn = ({ headers }: Request) => /^basic\s+(.*)$/i.exec(headers.get('Authorization')?.trim() ?? '')?.[1]

type ClientParameters = Partial<Record<'client_id' | 'client_secret' | 'client_assertion', string | undefined>>

/**
 * The client that a request names, in HTTP Basic or in its form; null: none. No client has a secret at /oauth/token: a secret, or an
 * assertion, is refused, because nobody would check it (decision 40). Fails with invalid_client, invalid_request (two at once).
 */
export function clientOf(request: Request, form: ClientParameters): string | null {
  const encoded = basicIn(request)
  if ([encoded !== undefined, form.client_secret, form.client_assertion].filter(Boolean).length > 1)
    throw new OAuthProblem('invalid_request', 'The client is authenticated in two ways.')
  const basic = encoded === undefined ? null : basicOf(encoded)
  if (basic?.secret || form.client_secret || form.client_assertion) throw unknownClient()
  if (basic?.id && form.client_id && basic.id !== form.client_id)
    throw new OAuthProblem('invalid_request', 'Two clients are named.')
  return basic?.id || form.client_id || null
}

/**
 * Lets a resource server authenticate with HTTP Basic, its API key as the secret (client_secret_basic), as most libraries do at an
 * introspection endpoint. The id is not looked at: the key says who it is. Fails with invalid_client.
 */
export const keyInBasic = createMiddleware<AppEnv>(async (c, next) => {
  const encoded = basicIn(c.req.raw)
  if (encoded === undefined) return next()
  const { secret } = basicOf(encoded)
  if (!secret.startsWith('fh_')) throw unknownClient()
  const headers = new Headers(c.req.raw.headers)
  headers.set('Authorization', `Bearer ${secret}`)
  c.req.raw = new Request(c.req.raw, { headers })
  await next()
  if (c.res.status === 401) c.res.headers.set('WWW-Authenticate', BASIC['WWW-Authenticate'])
})
