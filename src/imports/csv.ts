/**
 * Reads CSV (RFC 4180) as it arrives, with commas or semicolons. Threat: a quote that never ends, which swallows the rows after it
 * and fills the memory; a column that is left out or misspelt, so that every row loses what stood in it; a row whose values stand
 * under the wrong names. So a row has at most as many bytes as a line, the first row is compared with the columns that there are
 * before anything is created, and a row has as many values as there are columns. A cell is text: a formula stays what was written.
 */
import { textOf } from '../http/json.ts'
import { type Issue, Problem } from '../kernel/problem.ts'
import { MAX_LINE, type Valued } from './batches.ts'
import { linesOf } from './ndjson.ts'

const QUOTE = 34
const LF = Uint8Array.of(10)
const MAX_COLUMNS = 100

type Row = { line: number; last?: true } & ({ text: string } | { faults: Issue[] })
const fault = (issue: Issue): { faults: Issue[] } => ({ faults: [issue] })
const quotesIn = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + Number(byte === QUOTE), 0)

/** The text of a row, or that it has none. */
function said(bytes: Uint8Array): { text: string } | { faults: Issue[] } {
  try {
    return { text: textOf(bytes) }
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return fault({ pointer: '#', detail: 'is not UTF-8: save the file as CSV in UTF-8' })
  }
}

/** The rows of a body by the lines that they begin on. A line break within quotes is part of a value. */
async function* rowsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Row, void> {
  let line = 0
  let open: { line: number; parts: Uint8Array[]; size: number } | null = null
  for await (const bytes of linesOf(body, MAX_LINE)) {
    line++
    if (open) {
      open.size += (bytes?.length ?? MAX_LINE) + 1
      if (!bytes || open.size > MAX_LINE) break
      open.parts.push(LF, bytes)
      if (quotesIn(bytes) % 2 === 0) continue
      yield { line: open.line, ...said(new Uint8Array(await new Blob(open.parts).arrayBuffer())) }
      open = null
    } else if (!bytes) yield { line, ...fault({ pointer: '#', detail: `is longer than ${MAX_LINE} bytes` }) }
    else if (quotesIn(bytes) % 2) open = { line, parts: [bytes], size: bytes.length }
    else yield { line, ...said(bytes) }
  }
  if (open) yield { line: open.line, ...fault({ pointer: '#', detail: 'has a quote that does not end' }), last: true }
}

/** The values of a row; null: a quote stands where none may. */
function valuesOf(text: string, separator: string): string[] | null {
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${separator}]*))(${separator}|$)`, 'y')
  const values: string[] = []
  for (;;) {
    const found = cell.exec(text)
    if (!found) return null
    values.push((found[1]?.replaceAll('""', '"') ?? found[2] ?? '').trim())
    if (!found[3]) return values
  }
}

/** What a cell says: an apostrophe that keeps a formula from being run, as exports write it, is no part of it. */
const unescaped = (cell: string) => cell.replace(/^'(?=[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20])/, '')

const pointerTo = (column: string) => `#/${column.slice(0, 100).toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1')}`

/** What is wrong with the names of the columns. */
function faultsIn(names: string[], columns: readonly string[], required: readonly string[]): Issue[] {
  const missing = required.filter((name) => !names.includes(name))
  return [
    ...missing.map((name) => ({ pointer: pointerTo(name), detail: 'is missing: the first row names the columns' })),
    ...names
      .filter((name) => !columns.includes(name))
      .map((name) => ({ pointer: pointerTo(name), detail: 'is not a column that these files have' })),
    ...names
      .filter((name, i) => columns.includes(name) && names.indexOf(name) !== i)
      .map((name) => ({ pointer: pointerTo(name), detail: 'is there twice' })),
  ].slice(0, 20)
}

/**
 * The rows of a table as objects, without the cells that are empty. Its first row is read at once. Fails with invalid_request: it does
 * not name the columns.
 */
export async function csvLines(
  body: ReadableStream<Uint8Array>,
  columns: readonly string[],
  required: readonly string[],
): Promise<AsyncGenerator<Valued, void>> {
  const rows = rowsOf(body)
  const first = (await rows.next()).value
  const refuse = async (errors: Issue[]): Promise<never> => {
    await rows.return()
    throw new Problem('invalid_request', undefined, { errors })
  }
  if (!first) return refuse([{ pointer: '#', detail: 'is missing: the first row names the columns' }])
  if ('faults' in first) return refuse(first.faults)
  const separator = first.text.includes(';') && !first.text.includes(',') ? ';' : ','
  const names = valuesOf(first.text, separator)?.map((name) => name.toLowerCase()) ?? []
  const faults = faultsIn(names.slice(0, MAX_COLUMNS), columns, required)
  if (faults.length) return refuse(faults)

  const valued = (text: string): { value: unknown } | { faults: Issue[] } | null => {
    const cells = valuesOf(text, separator)
    if (!cells) return fault({ pointer: '#', detail: 'has a quote in the middle of a value' })
    if (cells.every((cell) => cell === '')) return null
    if (cells.length !== names.length)
      return fault({ pointer: '#', detail: `has ${cells.length} values for ${names.length} columns` })
    return { value: Object.fromEntries(names.flatMap((name, i) => (cells[i] ? [[name, unescaped(cells[i])]] : []))) }
  }
  return (async function* () {
    for await (const row of rows) {
      const found = 'text' in row ? valued(row.text) : row
      if (found) yield { ...found, line: row.line, ...(row.last && { last: true as const }) }
    }
  })()
}
