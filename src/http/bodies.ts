/**
 * What a route says of its body: what is asked of it before it is read, and what the document tells of it. Threat: a body that a route
 * without one does not read, and lets pass whatever it holds. So every route that changes something says which body it takes, or takes none.
 */
import { z } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from './app-env.ts'
import { type FileBody, FORMS, fileBody, JSON_TYPE, noBody, PATCH_TYPE, strictBody, typed, URLENCODED } from './body.ts'

/** Bodies of JSON lines (NDJSON), which the handler reads and writes itself: the schema of one line of each; `csv`: or a table. */
export type Lines = { takes: z.ZodType; gives: z.ZodType; csv?: true }
type Bodied = { operationId: string; method: string; body?: unknown; form?: unknown; lines?: Lines; file?: FileBody }

export const NDJSON = 'application/x-ndjson'
const CSV = 'text/csv'
/** The bytes of a file, in a body or an answer. */
export const FILE = z.string().openapi({ format: 'binary' })

const typesOf = ({ csv }: Lines) => (csv ? [NDJSON, CSV] : [NDJSON])
const takesOne = ({ body, form, lines, file }: Bodied) => body ?? form ?? lines ?? file

/** The checks of a body, in their order. */
export function bodyChecks(spec: Bodied): MiddlewareHandler<AppEnv>[] {
  const { method, body, form, lines, file } = spec
  return [
    ...(body ? strictBody([JSON_TYPE, ...(form ? FORMS : []), ...(method === 'patch' ? [PATCH_TYPE] : [])]) : []),
    ...(!body && form ? strictBody([URLENCODED]) : []),
    ...(lines ? [typed(typesOf(lines), typesOf(lines).join(' or '))] : []),
    ...(file ? fileBody(file) : []),
    ...(takesOne(spec) || method === 'get' ? [] : noBody),
  ]
}

/** What a body may be refused with. */
export function codesOfBody(spec: Bodied) {
  const codes = ['invalid_request', 'body_too_large', 'unsupported_media_type'] as const
  return takesOne(spec) ? codes : spec.method === 'get' ? [] : codes.slice(0, 2)
}

/** The body in the document. */
export function bodyAsked(spec: Bodied) {
  const { body, form, lines, file } = spec
  const json = { 'application/json': { schema: bodyOf(spec) } }
  const content = {
    ...(body ? json : {}),
    ...(form ? contentOf({ [URLENCODED]: form as z.ZodType }) : {}),
    ...(lines && contentOf({ [NDJSON]: lines.takes, ...(lines.csv && { [CSV]: z.string() }) })),
    ...(file && contentOf(Object.fromEntries(file.types.map((type) => [type, FILE])))),
  }
  return takesOne(spec) ? { body: { content, ...(!(body && form) && { required: true }) } } : {}
}

export const contentOf = (files: Record<string, z.ZodType>) =>
  Object.fromEntries(Object.entries(files).map(([type, schema]) => [type, { schema }]))

export const strict = <S>(schema: S): S => (schema instanceof z.ZodObject ? (schema.strict() as S) : schema)

/** The body of a route, once in the document: `CreateRoleBody`. */
const bodyOf = ({ body, operationId }: Bodied) =>
  body instanceof z.ZodType ? strict(body).openapi(`${operationId.charAt(0).toUpperCase()}${operationId.slice(1)}Body`) : body
