import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import type { Client } from 'pg'

const dialect = new PgDialect()

/** A node of a plan of EXPLAIN (ANALYZE); its numbers are averages over its loops. */
type Node = {
  'Relation Name'?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: Node[]
}

/** The times of a statement, the rows that it returned, and the rows of a table that it read for them. */
export type Explained = { planning: number; execution: number; shown: number; read: number }

/** Runs a statement that was built elsewhere. */
export const run = async <T extends object>(client: Client, statement: SQL): Promise<T[]> => {
  const { sql, params } = dialect.sqlToQuery(statement)
  return (await client.query<T>(sql, params)).rows
}

/** Explains a statement; `table` is the one whose rows are counted. */
export async function explain(client: Client, statement: SQL, table: string): Promise<Explained> {
  const { sql, params } = dialect.sqlToQuery(statement)
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Node; 'Planning Time': number; 'Execution Time': number }] }>(
    `explain (analyze, buffers, format json) ${sql}`,
    params,
  )
  const told = rows[0]?.['QUERY PLAN'][0]
  if (!told) throw new Error('Postgres explained nothing.')
  const { Plan, 'Planning Time': planning, 'Execution Time': execution } = told
  return { planning, execution, shown: Plan['Actual Rows'] ?? 0, read: rowsRead(Plan, table) }
}

const rowsRead = (node: Node, table: string): number => {
  const touched =
    (node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
  const own = node['Relation Name'] === table ? touched * (node['Actual Loops'] ?? 0) : 0
  return (node.Plans ?? []).reduce((sum, inner) => sum + rowsRead(inner, table), own)
}
