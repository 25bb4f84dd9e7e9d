/** The headers of requests and answers as the OpenAPI document declares them. */
import { z } from '@hono/zod-openapi'
import { type Code, problemCatalogue } from '../kernel/problem.ts'

const said = (description: string, more: object = {}) => ({ description, schema: { type: 'string', ...more } }) as const
const text = (description: string, example: string, more: object = {}) => ({ example, ...said(description, more) }) as const

const TAG = '"2026-03-01T09:30:00.000000Z"'

/**
 * Of requests, besides those that a schema checks (`Idempotency-Key`, `Last-Event-ID`). Without examples: pages on which one tries
 * things out fill them in and send them.
 */
const ASKED = {
  'X-Tenant': said('The subdomain of the tenant, on the base domain. On the host of the tenant it is not needed.', {
    maxLength: 63,
  }),
  'X-Account': said('Which account to use, by the id of its user, if cookies of several accounts are sent.', { format: 'uuid' }),
  'If-Match': said(
    'The `ETag` of the resource as it was read: if it was changed since, nothing is changed now, and the answer is 412 `etag_mismatch`.',
  ),
  'If-None-Match': said(
    'The `ETag` of the resource as the caller has it: if it is the same still, the answer is 304, without it.',
  ),
  Prefer: said('`wait=30` waits up to 30 seconds for the result and then answers 201 instead of 202 (RFC 7240).'),
  'Accept-Language': said('The language of problems: English (`en`, the default) or Spanish (`es`).'),
} as const

/** Of answers. */
const ANSWERED = {
  'X-Trace-Id': text(
    'The trace id of the request: from its `traceparent`, or a new one. The log and the audit have it too.',
    '0af7651916cd43dd8448eb211c80319c',
    { pattern: '^[0-9a-f]{32}$' },
  ),
  ETag: text('The version of the resource. Send it as `If-Match` to change this version and no other.', TAG),
  Location: text(
    'The address of the resource, or of the work that has begun.',
    '/api/v1/users/01932f7e-6c1a-7b3e-9f25-3a1c5d7e9b10',
    {
      format: 'uri-reference',
    },
  ),
  'Retry-After': { description: 'The seconds after which to try again.', example: 2, schema: { type: 'integer', minimum: 0 } },
  'RateLimit-Policy': text(
    'The limits that the request counted for: so many (`q`) in so many seconds (`w`).',
    '"requests";q=600;w=60',
  ),
  RateLimit: text('The limit that is used up, and for how many seconds (`t`).', '"requests";r=0;t=60'),
  'WWW-Authenticate': text('The challenge of RFC 6750; of `step_up_required` that of RFC 9470.', 'Bearer realm="freehold"'),
  'Content-Language': text('The language of the problem.', 'en', { enum: ['en', 'es'] }),
  'Freehold-License': text(
    'Of a tenant whose license ends within 30 days, or has ended: when.',
    'expires="2026-12-31T23:59:59Z", read-only-from="2027-01-07T23:59:59Z"',
  ),
  'Idempotency-Replayed': text('The request was answered before, and this is the same answer.', 'true', { enum: ['true'] }),
} as const

export type Asked = keyof typeof ASKED
type Answered = keyof typeof ANSWERED

/** The parameter of a header. */
export const asked = (name: Asked) => ({ name, in: 'header', required: false, ...ASKED[name] }) as const

/** The headers of an answer, with those that any answer may have. */
export const answered = (...names: (Answered | false | null | undefined)[]) =>
  Object.fromEntries(
    ['X-Trace-Id', 'Freehold-License', ...names.filter((name) => !!name)].map((name) => [name, ANSWERED[name as Answered]]),
  )

/** True for the schema of a resource that has an entity tag (answer.ts). */
export const isTagged = (schema: z.ZodType | null) => schema instanceof z.ZodObject && 'updated_at' in schema.shape

/** The credentials that a route takes: none, one of these, or with `or_session` either. */
export const securityOf = ({ public: is_public, by }: { public?: true | 'or_session'; by?: 'session' | 'any-session' }) => {
  const session = [{ bearer: [] }, { cookie: [] }]
  if (is_public) return is_public === true ? [] : [{}, ...session]
  return by ? session : [...session, { api_key: [] }]
}

const ProblemDocument = z
  .object({
    type: z.url(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(Object.keys(problemCatalogue) as [Code]),
    trace_id: z.string(),
    url: z.url().optional().openapi({ description: 'Of `tenant_renamed`: where the tenant is now' }),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .openapi('Problem')

/** The problems of a route, by their status. */
export function problemResponses(codes: Iterable<Code>) {
  const content = { 'application/problem+json': { schema: ProblemDocument } }
  const byStatus = Map.groupBy(codes, (code) => problemCatalogue[code][0])
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => {
      const headers = answered(
        'Content-Language',
        status === 401 && 'WWW-Authenticate',
        [429, 503].includes(status) && 'Retry-After',
        status === 429 && 'RateLimit-Policy',
        status === 429 && 'RateLimit',
      )
      return [status, { description: same.join(', '), headers, content }]
    }),
  )
}
