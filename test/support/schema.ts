/** Every answer that a test meets is held to what its route declares: no field or header less, none more, none of another type. */
import { expect } from 'vitest'
import type { ZodType } from 'zod'
import { app } from '../../src/app.ts'

type Answer = { headers?: Record<string, object>; content?: Record<string, { schema: ZodType }> }
type Declared = { method: string; pattern: RegExp; responses: Record<string, Answer> }

/** Headers that are there whenever they are declared, and declared whenever they are there. */
const ALWAYS = ['ETag', 'Location', 'Retry-After', 'WWW-Authenticate', 'Content-Language', 'X-Trace-Id']
/** Those that need a reason to be there. */
const SOMETIMES = ['Idempotency-Replayed', 'Freehold-License']

const routes: Declared[] = app.openAPIRegistry.definitions.flatMap((definition) =>
  definition.type === 'route'
    ? [
        {
          method: definition.route.method.toUpperCase(),
          pattern: new RegExp(`^${definition.route.path.replace(/\/$/, '').replace(/\{[^}]+\}/g, '[^/]+')}/?$`),
          responses: definition.route.responses as Declared['responses'],
        },
      ]
    : [],
)

/** Fails when an answer is not one that its route declares. Addresses that no route has are not its business. */
export function holdToSchema(method: string, path: string, answer: { status: number; body: unknown; headers: Headers }) {
  const { status, body, headers } = answer
  const found = routes.find((route) => route.method === method && route.pattern.test(path.split('?')[0] ?? ''))
  if (!found) return
  const declared = found.responses[status]
  expect(declared, `${method} ${path} answers ${status}, which it does not declare`).toBeDefined()
  const about = `${method} ${path}, ${status}`
  const names = Object.keys(declared?.headers ?? {})
  // A conflict tells when to try again where that is known.
  for (const name of ALWAYS)
    if (!(name === 'Retry-After' && status === 409))
      expect([name, headers.has(name)], about).toEqual([name, names.includes(name)])
  for (const name of SOMETIMES) if (headers.has(name)) expect(names, about).toContain(name)
  const schema = declared?.content?.['application/json']?.schema ?? declared?.content?.['application/problem+json']?.schema
  if (!schema || typeof body !== 'object') return
  const parsed = schema.safeParse(body)
  expect(parsed.error?.issues ?? [], `${method} ${path} answers ${status} with ${JSON.stringify(body)}`).toEqual([])
  // What the schema does not know it leaves out.
  expect(parsed.data, `${method} ${path}: a field that is not declared`).toEqual(body)
}
