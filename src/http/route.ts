import { createRoute, OpenAPIHono, type z } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import type { StepUp } from '../kernel/context.ts'
import { type Code, Problem } from '../kernel/problem.ts'
import { languageOf } from './accept-language.ts'
import { needOf, requireCredential, sessionIfAny, TWO_IF_ANY, withoutAdmission } from './admit.ts'
import type { AppEnv } from './app-env.ts'
import { bodyAsked, bodyChecks, codesOfBody, contentOf, type Lines, NDJSON, strict } from './bodies.ts'
import { checkQuery, type FileBody } from './body.ts'
import { type Asked, answered, asked, isTagged, problemResponses, securityOf } from './declared.ts'
import { EVENT_STREAM, LastEventId } from './events.ts'
import { IdempotencyHeader, once } from './idempotency.ts'
import { issuesIn, rootOf } from './issues.ts'
import { type OAuthName, oauthResponses } from './oauth.ts'
import { limitAttempts, limitFailures } from './rate-limit.ts'

/** A router for the routes of a room. Validation failures become problems; only the root app has an error handler. */
export const room = () =>
  new OpenAPIHono<AppEnv>({
    strict: false,
    defaultHook: (result, c) => {
      if (result.success) return
      const { issue } = languageOf(c.req.header('Accept-Language'))
      // `data` is the input that was validated; the type does not declare it.
      const errors = issuesIn(rootOf(result.target), result.error.issues, (found) =>
        issue(found, 'data' in result ? result.data : null),
      )
      throw new Problem('invalid_request', undefined, { errors })
    },
  })

type Spec<P extends string, M extends string, B, F, Q, I, R> = StepUp & {
  /** The name of the function in generated clients, which never changes: a verb and what it is done to, as `listUsers`. */
  operationId: string
  /** The old spelling of another route. */
  deprecated?: true
  method: M
  path: P
  summary: string
  /** The permission that admission requires; null: any admitted caller. Omitted with `public`. */
  permission?: string | null
  /** A public endpoint: no admission. With `or_session` a session that is sent is admitted: it is asked as that user. */
  public?: true | 'or_session'
  /** Sessions only: an API key is refused, whatever permissions it has; so is whoever acts as somebody else, unless `any-session`. */
  by?: 'session' | 'any-session'
  /** Also allowed while the password must be changed or has expired, or a second factor must be set up. */
  any_password?: true
  /** A POST that asks and changes nothing: while the tenant takes no writes (src/tenants/fence), it is answered as a GET is. */
  only_reads?: true
  /** Round trips to the realm's database that a successful request may spend. */
  trips: number
  /** Limits attempts per network, before the body is read: all of them, and failed ones under this name. */
  attempts?: string
  /** Limits failed attempts per network under this name, and no others: what succeeds costs little. */
  failures?: string
  body?: B
  /** The same endpoint as an HTML form; without a body, the only way to send something. */
  form?: F
  /** An endpoint of OAuth, whose errors are those of RFC 6749 and whose form is never multipart: the errors that are its own. */
  oauth?: OAuthName[]
  lines?: Lines
  /** A body that is a file, which the handler reads itself. */
  file?: FileBody
  /** A stream of events (`follow`): the schema of what is followed. `trips` are those of its first event; each look costs one more. */
  events?: z.ZodType
  /** Files that the handler writes itself, by their type. */
  files?: Record<string, z.ZodType>
  /** They have an entity tag. */
  tagged?: true
  query?: Q
  params?: I
  /** A public endpoint that reads the cookies of an account. */
  account?: true
  /** The header Prefer can have the answer wait for the result. */
  prefer?: true
  /** A 202 names in Location where the work is shown, as each 201 does. */
  location?: true
  returns: R
  /** Codes that this route can answer with, besides those of every route. */
  problems?: Code[]
}

type Json<S> = { content: { 'application/json': { schema: S } }; required: true }
type Either<B, F> = { content: { 'application/json': { schema: B }; 'application/x-www-form-urlencoded': { schema: F } } }
type Body<B, F> = [B] extends [z.ZodType] ? { body: [F] extends [z.ZodType] ? Either<B, F> : Json<B> } : unknown
type Request<B, F, Q, I> = Body<B, F> &
  ([Q] extends [z.ZodType] ? { query: Q } : unknown) &
  ([I] extends [z.ZodType] ? { params: I } : unknown)
type Responses<R> = {
  [K in keyof R]: R[K] extends z.ZodType
    ? { description: string; content: { 'application/json': { schema: R[K] } } }
    : { description: string }
}

/**
 * Declares a route. What needs no body comes first: the credential, the rate limit, the content type, the size. Admission requires
 * the permission that the OpenAPI document prints; bodies are strict; the tests enforce the printed budget.
 */
export function route<
  P extends string,
  M extends 'get' | 'post' | 'put' | 'patch' | 'delete',
  R extends Record<number, z.ZodType | null>,
  B = never,
  F = never,
  Q = never,
  I = never,
>(spec: Spec<P, M, B, F, Q, I, R>) {
  const failures = spec.attempts ?? spec.failures
  // A POST that creates. Those under auth/ and imports answer with other statuses: they ignore the header.
  const creates = spec.method === 'post' && 201 in spec.returns && !spec.public
  const codes = new Set<Code>([
    ...(creates ? IDEMPOTENT : []),
    ...codesOfBody(spec),
    ...(spec.public === true ? [] : AUTHENTICATED),
    ...(spec.fresh || spec.aal ? (['step_up_required'] as const) : []),
    ...EVERY,
    ...(spec.problems ?? []),
  ])
  const is_conditional = spec.method === 'get' && (spec.tagged || isTagged(spec.returns[200] ?? null))
  const policy = (!spec.public || failures !== undefined) && 'RateLimit-Policy'
  const returns = Object.entries(spec.returns).map(([status, schema]) => [
    status,
    schema
      ? {
          description: spec.summary,
          content: { 'application/json': { schema } },
          headers: answered(
            status !== '202' && isTagged(schema) && 'ETag',
            (status === '201' || (status === '202' && spec.location)) && 'Location',
            creates && 'Idempotency-Replayed',
            policy,
          ),
        }
      : {
          description: spec.summary,
          headers: answered(spec.tagged && 'ETag', policy),
          ...(spec.lines && { content: { [NDJSON]: { schema: spec.lines.gives } } }),
          ...(spec.files && { content: contentOf(spec.files) }),
          ...(spec.events && status === '200' && { content: { [EVENT_STREAM]: { schema: spec.events } } }),
        },
  ])
  const headers: (Asked | false | undefined)[] = [
    (spec.public !== true || spec.account) && 'X-Account',
    codes.has('etag_mismatch') && 'If-Match',
    is_conditional && 'If-None-Match',
    spec.prefer && 'Prefer',
    'Accept-Language',
  ]
  const config = {
    operationId: spec.operationId,
    ...(spec.deprecated && { deprecated: true }),
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    parameters: headers.filter((name) => !!name).map(asked),
    'x-permission': spec.public ? undefined : (spec.permission ?? 'any'),
    'x-round-trips': spec.trips,
    'x-credential': spec.public ? undefined : spec.by ? 'session' : 'any',
    'x-fresh-minutes': spec.fresh ?? undefined,
    'x-aal': spec.aal ? Math.abs(spec.aal) : undefined,
    'x-aal-if-any': spec.aal === TWO_IF_ANY || undefined,
    security: securityOf(spec),
    middleware: [
      spec.public ? (spec.public === true ? withoutAdmission : sessionIfAny) : requireCredential(needOf(spec), spec.by),
      ...(spec.attempts === undefined ? [] : [limitAttempts]),
      ...(failures === undefined ? [] : [limitFailures(failures)]),
      ...(spec.query ? [checkQuery] : []),
      ...bodyChecks(spec),
      ...(creates ? [once] : []),
    ],
    request: {
      ...bodyAsked(spec),
      ...(spec.query && { query: strict(spec.query) }),
      ...(spec.params && { params: spec.params }),
      ...(creates && { headers: IdempotencyHeader }),
      ...(spec.events && { headers: LastEventId }),
    },
    responses: {
      ...(spec.oauth ? oauthResponses(codes, spec.oauth) : problemResponses(codes)),
      ...Object.fromEntries(returns),
    },
  }
  // zod-openapi infers a handler's input from the literal type of the config; ours is computed above, so it is stated here.
  const made = createRoute(config as unknown as Parameters<typeof createRoute>[0])
  return made as unknown as {
    method: M
    path: P
    middleware: MiddlewareHandler<AppEnv>
    request: Request<B, F, Q, I>
    responses: Responses<R>
  }
}

const EVERY: Code[] = [
  'https_required',
  'tenant_required',
  'tenant_inactive',
  'tenant_not_found',
  'tenant_renamed',
  'tenant_provisioning',
  'tenant_unavailable',
  'rate_limited',
  'internal_error',
  'asset_unavailable',
  'database_unavailable',
]
const AUTHENTICATED: Code[] = [
  'credentials_ambiguous',
  'token_missing',
  'token_invalid',
  'token_expired',
  'token_wrong_tenant',
  'session_ended',
  'forbidden',
  'user_inactive',
  'license_expired',
]
const IDEMPOTENT: Code[] = ['invalid_request', 'idempotency_mismatch', 'illegal_state']
