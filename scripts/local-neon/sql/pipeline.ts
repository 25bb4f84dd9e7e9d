import type { Connection, Submittable } from 'pg'

export interface Statement {
  text: string
  /** In Postgres' text format; null is NULL. */
  values: (string | null)[]
}

export interface Field {
  name: string
  tableID: number
  columnID: number
  dataTypeID: number
  dataTypeSize: number
  dataTypeModifier: number
}

export interface Result {
  fields: Field[]
  rows: (string | null)[][]
  /** The command tag, such as `INSERT 0 1`. Empty for an empty statement. */
  tag: string
}

export class ResponseTooLarge extends Error {}

interface Message {
  length: number
}

/** The callbacks of node-postgres. Its own query class sends one statement at a time and hides the command tag. */
interface Pipeline extends Submittable {
  handleRowDescription(message: Message & { fields: Field[] }): void
  handleDataRow(message: Message & { fields: (string | null)[] }): void
  handleCommandComplete(message: Message & { text: string }): void
  handleEmptyQuery(): void
  handlePortalSuspended(): void
  handleCopyInResponse(connection: Connection): void
  handleCopyData(message: Message): void
  handleError(error: Error): void
  handleReadyForQuery(): void
}

/**
 * Sends all statements at once, with one Sync after the last: Postgres skips everything after the first failure. Every statement
 * is parsed without parameter types and bound as text, as Neon's proxy does, even when it has no parameters.
 */
export function pipeline(
  statements: Statement[],
  maxBytes: number,
  done: (results: Result[]) => void,
  fail: (error: Error) => void,
): Pipeline {
  const results: Result[] = []
  let current: Result = { fields: [], rows: [], tag: '' }
  let bytes = 0
  let over = false

  function finish(tag: string) {
    current.tag = tag
    results.push(current)
    current = { fields: [], rows: [], tag: '' }
  }

  function stop(error: Error) {
    if (over) return
    over = true
    fail(error)
  }

  function take(size: number) {
    bytes += size
    if (bytes > maxBytes) stop(new ResponseTooLarge())
    return !over
  }

  return {
    submit(connection) {
      connection.stream.cork()
      for (const { text, values } of statements) {
        connection.parse({ name: '', text, types: [] }, true)
        connection.describe({ type: 'S', name: '' }, true)
        connection.bind({ values }, true)
        connection.execute(null, true)
      }
      connection.sync()
      connection.stream.uncork()
    },
    handleRowDescription({ fields }) {
      current.fields = fields
    },
    handleDataRow({ length, fields }) {
      if (take(length)) current.rows.push(fields)
    },
    handleCommandComplete: ({ text }) => finish(text),
    handleEmptyQuery: () => finish(''),
    handlePortalSuspended: () => undefined,
    handleCopyInResponse: () => stop(new Error('COPY FROM STDIN is not supported')),
    handleCopyData: ({ length }) => void take(length),
    handleError: stop,
    handleReadyForQuery() {
      if (!over) done(results)
    },
  }
}
