/** Every answer that a test meets is held to what its route declares: no field less, none more, none of another type. */
import { expect } from 'vitest'
import type { ZodType } from 'zod'
import { app } from '../../src/app.ts'

type Declared = { method: string; pattern: RegExp; responses: Record<string, { content?: Record<string, { schema: ZodType }> }> }

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
export function holdToSchema(method: string, path: string, { status, body }: { status: number; body: unknown }) {
  const found = routes.find((route) => route.method === method && route.pattern.test(path.split('?')[0] ?? ''))
  if (!found) return
  const declared = found.responses[status]
  expect(declared, `${method} ${path} answers ${status}, which it does not declare`).toBeDefined()
  const schema = declared?.content?.['application/json']?.schema ?? declared?.content?.['application/problem+json']?.schema
  if (!schema || typeof body !== 'object') return
  const parsed = schema.safeParse(body)
  expect(parsed.error?.issues ?? [], `${method} ${path} answers ${status} with ${JSON.stringify(body)}`).toEqual([])
  // What the schema does not know it leaves out.
  expect(parsed.data, `${method} ${path}: a field that is not declared`).toEqual(body)
}
