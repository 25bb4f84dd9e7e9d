/**
 * What the Worker uses of Neon's driver: SQL over HTTP. wrangler bundles this file wherever `@neondatabase/serverless` is imported
 * (wrangler.toml, alias), also by drizzle. The package is one file with all of node-postgres and WebSockets, of which nothing can be left
 * out. Values are read by the same parsers, those of `pg-types`. test/dev/neon-http.node.test.ts has both send and read the same.
 */
import type { HTTPQueryOptions, HTTPTransactionOptions, ParameterizedQuery } from '@neondatabase/serverless'
import builtins from 'pg-types/lib/builtins.js'
import textParsers from 'pg-types/lib/textParsers.js'

type Parser = (value: string) => unknown
const parsers = new Map<number, Parser>()
textParsers.init((oid, parser) => parsers.set(oid, parser))
// Its own makes a Buffer, which the runtime does not have.
parsers.set(builtins.BYTEA, (value) => Uint8Array.from(value.slice(2).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)))

/** As drizzle uses them. A type without a parser is text. */
export const types = {
  builtins,
  setTypeParser: (oid: number, parser: Parser) => void parsers.set(oid, parser),
  getTypeParser: (oid: number): Parser => parsers.get(oid) ?? String,
}

const FIELDS = [
  'severity',
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const

/** An error of the database, with its fields; or of the way to it, with none. */
export class NeonDbError extends Error {
  override name = 'NeonDbError'
  code: string | undefined
  detail: string | undefined
  hint: string | undefined
  constraint: string | undefined
  sourceError: Error | undefined
}

type Endpoint = string | ((host: string, port: string) => string)
export const neonConfig: {
  fetchEndpoint: Endpoint
  fetchFunction: ((url: string, init: object) => Promise<Response>) | undefined
} = {
  fetchEndpoint: (host) => `https://${host.replace(/^[^.]+\./, 'api.')}/sql`,
  fetchFunction: undefined,
}

/** Where a connection string leads. The host of `postgresql:` is not special, so that it is read as one of `http:`. */
function endpointOf(connection: string): string {
  const [, rest] = /^postgres(?:ql)?:(.*)$/s.exec(connection) ?? []
  const url = rest === undefined ? null : URL.parse(`http:${rest}`)
  if (!url?.username || !url.hostname || url.pathname.length < 2)
    throw new NeonDbError('Wrong URL scheme or missing user, host or database in connection parameters')
  const { fetchEndpoint } = neonConfig
  return typeof fetchEndpoint === 'string' ? fetchEndpoint : fetchEndpoint(url.hostname, url.port)
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength)

/** A parameter as text, as node-postgres makes it: a list is an array of Postgres, any other object JSON. */
function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (ArrayBuffer.isView(value)) return `\\x${hex(bytesOf(value))}`
  if (value instanceof Date) return value.toISOString().replace('Z', '+00:00')
  if (Array.isArray(value)) return arrayOf(value)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function arrayOf(list: unknown[]): string {
  const elements = list.map((value) => {
    if (value === null || value === undefined) return 'NULL'
    if (Array.isArray(value)) return arrayOf(value)
    return `"${textOf(value)?.replace(/[\\"]/g, '\\$&')}"`
  })
  return `{${elements.join(',')}}`
}

type Options = Pick<HTTPQueryOptions<boolean, boolean>, 'arrayMode' | 'fullResults'>
type Answer = { fields: { name: string; dataTypeID: number }[]; rows: unknown[] }

/** The rows of an answer, read: lists with `arrayMode`, else objects; with `fullResults` all that the answer says. */
function read(answer: Answer, { arrayMode = false, fullResults = false }: Options) {
  const columns = answer.fields.map(({ name, dataTypeID }) => ({ name, parse: types.getTypeParser(dataTypeID) }))
  const rows = (answer.rows as (string | null)[][]).map((row) => {
    const values = row.map((value, i) => (value === null ? null : columns[i]?.parse(value)))
    return arrayMode ? values : Object.fromEntries(values.map((value, i) => [columns[i]?.name, value]))
  })
  if (!fullResults) return rows
  return Object.assign(answer, { viaNeonFetch: true, rowAsArray: arrayMode, rows })
}

async function failureOf(answer: Response): Promise<NeonDbError> {
  if (answer.status !== 400) return new NeonDbError(`Server error (HTTP status ${answer.status}): ${await answer.text()}`)
  const said = (await answer.json()) as Record<string, unknown>
  return Object.assign(
    new NeonDbError(String(said.message)),
    Object.fromEntries(FIELDS.map((name) => [name, said[name] ?? undefined])),
  )
}

/** A statement that is sent when it is awaited, or as part of a transaction. */
class Statement implements PromiseLike<unknown> {
  readonly query: ParameterizedQuery
  readonly options: Options
  readonly #send: (statement: Statement) => Promise<unknown>

  constructor(query: ParameterizedQuery, options: Options, send: (statement: Statement) => Promise<unknown>) {
    this.query = query
    this.options = options
    this.#send = send
  }

  // biome-ignore lint/suspicious/noThenProperty: as the package's own, it is sent when it is awaited.
  then<A, B>(done?: ((value: unknown) => A | PromiseLike<A>) | null, failed?: ((reason: unknown) => B | PromiseLike<B>) | null) {
    return this.#send(this).then(done, failed)
  }
}

/** A client of a connection string. It holds no connection: each statement, or each transaction, is one request. */
export function neon(connection: string, { fetchOptions, readOnly }: HTTPTransactionOptions<boolean, boolean> = {}) {
  const post = async (body: object, headers: object = {}) => {
    const init = {
      method: 'POST',
      body: JSON.stringify(body),
      headers: {
        'Neon-Connection-String': connection,
        'Neon-Raw-Text-Output': 'true',
        'Neon-Array-Mode': 'true',
        ...headers,
      },
      ...fetchOptions,
    }
    const endpoint = endpointOf(connection)
    const answer = await (neonConfig.fetchFunction ?? fetch)(endpoint, init).catch((error: Error) => {
      throw Object.assign(new NeonDbError(`Error connecting to database: ${error}`), { sourceError: error })
    })
    if (!answer.ok) throw await failureOf(answer)
    return answer.json()
  }
  const sent = ({ query, params }: ParameterizedQuery) => ({ query, params: params.map(textOf) })
  const one = async ({ query, options }: Statement) => read((await post(sent(query))) as Answer, options)
  const query = (text: string, params: unknown[] = [], options: Options = {}) =>
    new Statement({ query: text, params }, options, one)
  const transaction = async (statements: Statement[]) => {
    const headers = readOnly === undefined ? {} : { 'Neon-Batch-Read-Only': String(readOnly) }
    const { results } = (await post({ queries: statements.map((statement) => sent(statement.query)) }, headers)) as {
      results?: Answer[]
    }
    if (!Array.isArray(results)) throw new NeonDbError('Neon internal error: unexpected result format')
    return results.map((answer, i) => read(answer, statements[i]?.options ?? {}))
  }
  return { query, transaction }
}
