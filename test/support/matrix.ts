/** A request for every route of the document, made of the document alone: what a Worker is asked that is of another release than the schema. */
type Schema = {
  $ref?: string
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  enum?: unknown[]
  format?: string
  items?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
  minLength?: number
  pattern?: string
}
type Operation = {
  requestBody?: { content: Record<string, { schema: Schema }> }
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[]
}
/** What is used of an OpenAPI document. */
export type Document = { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Schema> } }
/** A route, and a request that it may take; `at` is the path with its required parameters. */
export type Asking = { name: string; method: string; path: string; at: string; body: unknown }

/** An id that nobody has. */
export const NOBODY = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'

/** What patterns of the document ask for. */
const WORDS = ['user:read', 'REPORT_SENT', 'acme', '20031353204', 'en', 'UTC', '+51987654321', 'x'.repeat(43), '123456']

/** A value that a schema takes, as far as it can be told from it. */
function sample(document: Document, schema: Schema): unknown {
  const known = schema.$ref ? document.components.schemas[schema.$ref.split('/').pop() ?? ''] : schema
  if (!known) return null
  if (known.enum) return known.enum[0]
  const [first] = known.anyOf ?? known.oneOf ?? []
  if (first) return sample(document, first)
  const type = Array.isArray(known.type) ? known.type[0] : known.type
  if (type === 'object')
    return Object.fromEntries((known.required ?? []).map((name) => [name, sample(document, known.properties?.[name] ?? {})]))
  if (type === 'array') return [sample(document, known.items ?? {})]
  if (type === 'boolean') return true
  if (type === 'integer' || type === 'number') return 20
  if (known.format === 'uuid') return NOBODY
  if (known.format === 'email') return 'nobody@acme.test'
  if (known.format === 'date-time') return '2030-01-01T00:00:00Z'
  const plain = 'x'.repeat(Math.max(1, known.minLength ?? 1))
  const { pattern } = known
  return [plain, ...WORDS].find((word) => pattern === undefined || new RegExp(pattern, 'u').test(word)) ?? plain
}

/**
 * A request for each route of a plane; `ids` gives, by the beginning of a path, an id that there is. Last those that end the session which all
 * others use.
 */
export const askings = (document: Document, plane: 'tenant' | 'platform', ids: Record<string, string> = {}): Asking[] =>
  Object.entries(document.paths)
    .filter(([path]) => (plane === 'platform') === path.startsWith('/platform/'))
    .flatMap(([path, operations]) =>
      Object.entries(operations).map(([verb, operation]): Asking => {
        const method = verb.toUpperCase()
        const known = Object.entries(ids).find(([start]) => path.startsWith(`${start}/{`))?.[1] ?? NOBODY
        const parameters = operation.parameters ?? []
        const named = (name: string) => {
          const { schema } = parameters.find((parameter) => parameter.in === 'path' && parameter.name === name) ?? {}
          return schema?.format === 'uuid' ? NOBODY : encodeURIComponent(String(sample(document, schema ?? {})))
        }
        const query = parameters.filter((parameter) => parameter.in === 'query' && parameter.required)
        const said = query.map(({ name, schema }) => `${name}=${encodeURIComponent(String(sample(document, schema)))}`).join('&')
        const content = operation.requestBody?.content['application/json']
        return {
          name: `${method} ${path}`,
          method,
          path,
          at: `${path.replace('/{id}', `/${known}`).replaceAll(/\{(\w+)\}/g, (_, name) => named(name))}${said ? `?${said}` : ''}`,
          body: content && sample(document, content.schema),
        }
      }),
    )
    .sort((a, b) => Number(/logout/.test(a.path)) - Number(/logout/.test(b.path)))
