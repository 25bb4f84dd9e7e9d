/** The headers of requests and answers as the OpenAPI document declares them. */
import { z } from '@hono/zod-openapi'

const text = (description: string, more: object = {}) => ({ description, schema: { type: 'string', ...more } }) as const
const seconds = (description: string) => ({ description, schema: { type: 'integer', minimum: 0 } }) as const

/** Of requests, besides those that a schema checks (`Idempotency-Key`, `Last-Event-ID`). */
const ASKED = {
  'X-Tenant': text('The subdomain of the tenant, on the base domain. On the host of the tenant it is not needed.', {
    maxLength: 63,
    example: 'acme',
  }),
  'X-Account': text('Which account to use, by the id of its user, if cookies of several accounts are sent.', {
    format: 'uuid',
  }),
  'If-Match': text(
    'The `ETag` of the resource as it was read: if it was changed since, nothing is changed now, and the answer is 412 `etag_mismatch`.',
    { example: '"2026-03-01T09:30:00.000000Z"' },
  ),
  Prefer: text('`wait=30` waits up to 30 seconds for the result and then answers 201 instead of 202 (RFC 7240).', {
    example: 'wait=30',
  }),
  'Accept-Language': text('The language of problems: English (`en`, the default) or Spanish (`es`).', { example: 'es' }),
} as const

/** Of answers. */
const ANSWERED = {
  'X-Trace-Id': text('The trace id of the request: from its `traceparent`, or a new one. The log and the audit have it too.', {
    pattern: '^[0-9a-f]{32}$',
  }),
  ETag: text('The version of the resource. Send it as `If-Match` to change this version and no other.'),
  Location: text('The address of the resource, or of the work that has begun.', { format: 'uri-reference' }),
  'Retry-After': seconds('The seconds after which to try again.'),
  'WWW-Authenticate': text('The challenge of RFC 6750.'),
  'Content-Language': text('The language of the problem.', { enum: ['en', 'es'] }),
  'Freehold-License': text('Of a tenant whose license ends within 30 days, or has ended: when.'),
  'Idempotency-Replayed': text('The request was answered before, and this is the same answer.', { enum: ['true'] }),
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
