import { Refusal } from './refusal.ts'

export interface Query {
  text: string
  values: (string | null)[]
  arrayMode?: boolean
}

export type Payload = { single: Query } | { batch: Query[] }

/** Reads the body: one `query`, or a list of `queries`. Their texts are translated on the way. */
export function readPayload(text: string, translate: (text: string) => string): Payload {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (error) {
    throw unreadable(error instanceof Error ? error.message : String(error))
  }
  if (isObject(body) && Array.isArray(body.queries)) return { batch: body.queries.map((item) => readQuery(item, translate)) }
  return { single: readQuery(body, translate) }
}

const unreadable = (why: string) => new Refusal(`could not parse the HTTP request body: ${why}`)

function readQuery(item: unknown, translate: (text: string) => string): Query {
  const params = isObject(item) ? (item.params ?? []) : undefined
  if (!isObject(item) || typeof item.query !== 'string' || !Array.isArray(params)) {
    throw unreadable('data did not match any variant of untagged enum Payload')
  }
  if (item.query.includes('\0') || params.length > MAX_PARAMS) throw new Refusal('error encoding message to server')
  const query = { text: translate(item.query), values: params.map(asText) }
  return typeof item.arrayMode === 'boolean' ? { ...query, arrayMode: item.arrayMode } : query
}

/** The protocol counts them in two bytes. */
const MAX_PARAMS = 65_535

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A parameter as Postgres reads it. */
function asText(value: unknown): string | null {
  if (value === null) return null
  if (typeof value === 'string') return value
  return Array.isArray(value) ? asArray(value) : JSON.stringify(value)
}

/** An array literal; JSON's quoting of strings happens to be the one that Postgres reads. */
function asArray(values: unknown[]): string {
  const items = values.map((value) => {
    if (value === null) return 'NULL'
    if (Array.isArray(value)) return asArray(value)
    return JSON.stringify(typeof value === 'object' ? JSON.stringify(value) : value)
  })
  return `{${items.join(',')}}`
}
