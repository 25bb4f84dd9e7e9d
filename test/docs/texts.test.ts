/** What people read in the document: a text, an example and a subject for each operation, and each of them true. */
import { describe, expect, it } from 'vitest'
import type { ZodType } from 'zod'
import { app } from '../../src/app.ts'
import { BODIES } from '../../src/docs/fields.ts'
import { TEXTS } from '../../src/docs/texts.ts'
import { resolved } from '../support/document.ts'
import { call } from '../support/people.ts'

type Media = { schema: object; examples?: Record<string, { value: unknown }> }
type Operation = {
  operationId: string
  summary: string
  description: string
  tags: string[]
  parameters: { name: string; in: string; description?: string; example?: unknown }[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media> }>
  'x-permission'?: string
  'x-round-trips': number
}
type Document = { paths: Record<string, Record<string, Operation>>; tags: { name: string; description: string }[] }

const document = resolved((await call('', '/openapi.json')).body) as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation, name: `${method.toUpperCase()} ${path}` })),
)
type Declared = { content?: Record<string, { schema: ZodType }> }
const routes = app.openAPIRegistry.definitions.flatMap((one) => (one.type === 'route' ? [one.route] : []))
const routeOf = (path: string, method: string) => routes.find((route) => route.path === path && route.method === method)
const valuesOf = (media: Media | undefined) => Object.values(media?.examples ?? {}).map(({ value }) => value)

describe.each(operations)('$name', ({ path, method, operation }) => {
  it('says in a sentence what it does, what it needs and what it costs', () => {
    const { description, 'x-permission': permission, 'x-round-trips': trips } = operation
    expect(description).toMatch(/^[A-Z`].+\. Needs .+\. Costs \d round trips? to the database\.$/)
    expect(description).toContain(`Costs ${trips} round trip`)
    expect(description).toContain(!permission ? 'no credential' : permission === 'any' ? 'no permission' : `\`${permission}\``)
    expect(document.tags.map(({ name }) => name)).toEqual(expect.arrayContaining(operation.tags))
  })

  it('has an example of its body that it takes, and of each answer that it gives', () => {
    const route = routeOf(path, method)
    const bodies = (route?.request?.body as Declared | undefined)?.content ?? {}
    const [type, declared] = Object.entries(bodies)[0] ?? []
    if (type && declared) {
      const examples = valuesOf(operation.requestBody?.content[type])
      expect(examples.length).toBe(1)
      for (const example of examples) expect(declared.schema.safeParse(example).error?.issues ?? []).toEqual([])
    }
    for (const [status, answer] of Object.entries(operation.responses))
      for (const [kind, media] of Object.entries(answer.content ?? {})) {
        if (!kind.endsWith('json') || kind.endsWith('ndjson')) continue
        const { schema } = (route?.responses[status] as Declared | undefined)?.content?.[kind] ?? {}
        expect(valuesOf(media).length, status).toBeGreaterThan(0)
        for (const example of valuesOf(media)) {
          const parsed = schema?.safeParse(example)
          expect(parsed?.error?.issues ?? [], `${status} ${JSON.stringify(example)}`).toEqual([])
          expect(parsed?.data).toEqual(example)
        }
      }
  })

  it('describes its parameters', () => {
    for (const { name, description } of operation.parameters) expect(description ?? '', name).not.toBe('')
    for (const one of operation.parameters.filter((parameter) => parameter.in === 'path'))
      expect(one.example, one.name).toBeDefined()
  })
})

describe('the document', () => {
  it('has a text and a body for what there is, and for nothing else', () => {
    const names = new Set(routes.map(({ operationId }) => operationId ?? ''))
    expect(Object.keys(TEXTS).filter((name) => !names.has(name))).toEqual([])
    expect([...names].filter((name) => !TEXTS[name])).toEqual([])
    expect(Object.keys(BODIES).filter((name) => !names.has(name))).toEqual([])
  })

  it('has a description for each of its subjects', () => {
    expect(document.tags.length).toBeGreaterThan(20)
    expect(document.tags.map(({ name }) => name)).not.toContain('Other')
    for (const { name, description } of document.tags) expect(description, name).toMatch(/^[A-Z].+\.$/)
  })
})
