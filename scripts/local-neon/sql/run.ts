import { isUnknown } from './cook.ts'
import { ResponseTooLarge, type Result } from './pipeline.ts'
import type { Query } from './request.ts'
import { showResult } from './result.ts'
import type { Session } from './session.ts'
import { begin, mustGoAlone, type Transaction } from './transaction.ts'

export interface Output {
  /** Every value as the text that Postgres sent. */
  raw: boolean
  /** Rows as lists, for queries that do not specify it. */
  arrayMode: boolean
  maxBytes: number
}

/** Runs one query and returns the body that answers it. */
export async function runSingle(session: Session, query: Query, output: Output): Promise<string> {
  const [result] = await show(session, await session.execute([query], output.maxBytes), [query], output)
  return write(result, output)
}

/** Runs the queries in one transaction: in one round trip, unless one of them ends or starts transactions itself. */
export async function runBatch(session: Session, queries: Query[], transaction: Transaction, output: Output): Promise<string> {
  const statements = [{ text: begin(transaction), values: [] }, ...queries, { text: 'COMMIT', values: [] }]
  const groups = queries.some(mustGoAlone) ? statements.map((statement) => [statement]) : [statements]
  const results: Result[] = []
  for (const group of groups) results.push(...(await session.execute(group, output.maxBytes)))
  return write({ results: await show(session, results.slice(1, -1), queries, output) }, output)
}

async function show(session: Session, results: Result[], queries: Query[], { raw, arrayMode }: Output) {
  const elements = raw ? new Map<number, number>() : await elementTypes(session, results)
  return results.map((result, place) => showResult(result, { raw, arrayMode: queries[place]?.arrayMode ?? arrayMode, elements }))
}

/** Checks the limit again: JSON takes more room than what Postgres sent. */
function write(body: unknown, { maxBytes }: Output) {
  const text = JSON.stringify(body)
  if (text.length > maxBytes) throw new ResponseTooLarge()
  return text
}

/** The element types of the user-defined array types in the results. */
async function elementTypes(session: Session, results: Result[]) {
  const unknown = new Set(results.flatMap(({ fields }) => fields.map((field) => field.dataTypeID)).filter(isUnknown))
  if (unknown.size === 0) return new Map<number, number>()
  const text = "select oid, typelem from pg_catalog.pg_type where typcategory = 'A' and oid = any ($1::oid[])"
  const [found] = await session.execute([{ text, values: [`{${[...unknown].join()}}`] }], Number.MAX_SAFE_INTEGER)
  return new Map(found?.rows.map(([array, element]) => [Number(array), Number(element)]))
}
