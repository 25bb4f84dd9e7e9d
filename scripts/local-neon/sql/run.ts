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

/** What happens before a transaction commits; when it fails, the transaction is not committed. */
export type BeforeCommit = ((session: Session) => Promise<void>) | undefined

/** Runs one query and returns the body that answers it. */
export async function runSingle(session: Session, query: Query, output: Output, before: BeforeCommit): Promise<string> {
  if (before) await session.run('begin')
  const results = await session.execute([query], output.maxBytes)
  await before?.(session)
  if (before) await session.run('commit')
  const [result] = await show(session, results, [query], output)
  return write(result, output)
}

/** Runs the queries in one transaction: in one round trip, unless one of them ends or starts transactions itself. */
export async function runBatch(
  session: Session,
  queries: Query[],
  { transaction, output, before }: { transaction: Transaction; output: Output; before: BeforeCommit },
): Promise<string> {
  const work = [{ text: begin(transaction), values: [] }, ...queries]
  const commit = { text: 'COMMIT', values: [] }
  const isAlone = queries.some(mustGoAlone)
  const groups = isAlone ? [...work, commit].map((statement) => [statement]) : before ? [work, [commit]] : [[...work, commit]]
  const results: Result[] = []
  for (const group of groups) {
    if (!isAlone && group[0] === commit) await before?.(session)
    results.push(...(await session.execute(group, output.maxBytes)))
  }
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
