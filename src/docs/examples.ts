/** Examples of the document: bodies as they are in fields.ts, answers made from their schemas, problems from the catalogue. */
import { type Code, problemCatalogue } from '../kernel/problem.ts'
import { ID, VALUES } from './fields.ts'

export type Schema = {
  $ref?: string
  type?: string | string[]
  format?: string
  description?: string
  default?: unknown
  example?: unknown
  enum?: unknown[]
  minimum?: number
  items?: Schema
  properties?: Record<string, Schema>
  allOf?: Schema[]
  oneOf?: Schema[]
  anyOf?: Schema[]
}
export type Schemas = Record<string, Schema>

const OF_FORMAT: Record<string, unknown> = {
  uuid: ID,
  'date-time': '2026-03-01T09:30:00.000000Z',
  date: '2026-03-01',
  email: 'ann@acme.example',
  uri: 'https://acme.example.com',
}

/** The name of a component that a schema refers to. */
export const nameOf = ({ $ref = '' }: Schema) => $ref.split('/').at(-1) ?? ''

const isOf = (value: unknown, types: (string | undefined)[], { items }: Schema): boolean =>
  Array.isArray(value)
    ? types.includes('array') && items?.type === 'string'
    : types.includes(typeof value === 'number' ? 'integer' : typeof value)

/** An example of a schema; `name` is that of the field. What may be null, and is nothing that fields.ts knows, is null. */
export function exampleOf(schema: Schema, schemas: Schemas, name = ''): unknown {
  if (schema.$ref) return exampleOf(schemas[nameOf(schema)] ?? {}, schemas, name)
  const first = (schema.oneOf ?? schema.anyOf)?.[0]
  if (first) return exampleOf(first, schemas, name)
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => exampleOf(part, schemas, name)))
  if (schema.example !== undefined) return schema.example
  if (schema.default !== undefined) return schema.default
  if (schema.enum) return schema.enum[0]
  const types = [schema.type].flat()
  if (name in VALUES && isOf(VALUES[name], types, schema)) return VALUES[name]
  if (schema.format && schema.format in OF_FORMAT && !types.includes('null')) return OF_FORMAT[schema.format]
  if (types.includes('null')) return null
  if (schema.items) return [exampleOf(schema.items, schemas, name)]
  if (types.includes('object'))
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([key, part]) => [key, exampleOf(part, schemas, key)]))
  if (types.includes('string')) return name || 'text'
  if (types.includes('boolean')) return true
  return types.includes('integer') || types.includes('number') ? (schema.minimum ?? 1) : undefined
}

/** An example of a problem. */
export function problemExample(code: Code, base: string) {
  const [status, title, detail] = problemCatalogue[code]
  const trace_id = VALUES.trace_id
  return { type: `${base}/problems/${code}`, title, status, detail, instance: `/api/v1/users/${ID}`, code, trace_id }
}
