import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'

// Neon's own description of its API, which ships with its client.

type Json = Record<string, unknown>

interface Operation {
  responses: Record<string, { $ref?: string; content?: { 'application/json'?: { schema: Json } } }>
}

const home = dirname(createRequire(import.meta.url).resolve('@neondatabase/api-client/package.json'))
const document = toJsonSchema(parse(readFileSync(join(home, 'public-v2-for-users.gen.yaml'), 'utf8'))) as {
  paths: Record<string, Record<string, Operation>>
  components: { responses: Record<string, Operation['responses'][string]> }
}
const ajv = new Ajv({ strict: false, allErrors: true, logger: false })
addFormats.default(ajv)
ajv.addSchema(document, 'document')
const compiled = new Map<string, ValidateFunction>()

/** What an answer has that the document does not allow; empty when it keeps to it. */
export function differences(method: string, path: string, status: number, body: unknown): string[] {
  const [template, operation] = findOperation(method, path)
  const declared = operation.responses[status] ?? (status >= 400 ? operation.responses.default : undefined)
  if (!declared) return [`${method} ${template} does not answer ${status}`]
  const response = declared.$ref ? document.components.responses[declared.$ref.split('/').at(-1) ?? ''] : declared
  const schema = response?.content?.['application/json']?.schema
  if (!schema) return body === undefined ? [] : [`${method} ${template} ${status} has no body`]
  const key = `${method} ${template} ${status}`
  const validate = compiled.get(key) ?? ajv.compile(absolute(schema) as Json)
  compiled.set(key, validate)
  return validate(body) ? [] : (validate.errors ?? []).map((error) => `${key}: ${error.instancePath} ${error.message}`)
}

function findOperation(method: string, path: string): [string, Operation] {
  for (const [template, operations] of Object.entries(document.paths).sort(
    ([one], [other]) => wildcards(one) - wildcards(other),
  )) {
    const operation = operations[method.toLowerCase()]
    if (operation && new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`).test(path)) return [template, operation]
  }
  throw new Error(`the document has no ${method} ${path}`)
}

const wildcards = (template: string) => template.split('{').length

/** OpenAPI 3.0 says `nullable` where JSON Schema has a union of types. */
function toJsonSchema(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(toJsonSchema)
  if (typeof node !== 'object' || node === null) return node
  const entries = Object.entries(node).map(([key, value]) => [key, toJsonSchema(value)])
  const { nullable, ...schema } = Object.fromEntries(entries)
  return nullable === true && typeof schema.type === 'string' ? { ...schema, type: [schema.type, 'null'] } : schema
}

function absolute(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(absolute)
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, key === '$ref' ? `document${value}` : absolute(value)]),
  )
}
