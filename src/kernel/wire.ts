/** What crosses the wire the same way in every room: moments, rows, entity tags. */
import { type SQL, sql } from 'drizzle-orm'
import { Problem } from './problem.ts'

/** A column as the wire shows a moment: RFC 3339, UTC, with the database's microseconds, so that text sorts as time does. */
export const rfc3339 = (column: string): SQL => sql.raw(`to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)

/** The rows of a statement that was written by hand. */
export const rowsOf = <T>(result: unknown) => (result as { rows: T[] }).rows

/** The tags of an If-Match (RFC 9110 section 13.1.1); null: none, or `*`. A weak one is no moment of ours, and matches nothing. */
const tagsOf = (header: string | undefined) =>
  header === undefined || header.trim() === '*' ? null : header.split(',').map((tag) => /^\s*"(.*)"\s*$/.exec(tag)?.[1] ?? '')

/** The condition of a change under If-Match: that the row is as it was read. */
export function matches(column: string, header: string | undefined): SQL {
  const tags = tagsOf(header)
  return tags ? sql`${rfc3339(column)} in (select jsonb_array_elements_text(${JSON.stringify(tags)}::jsonb))` : sql`true`
}

/** Why a row that is seen was not changed: it is not as it was read, or it is seen further than it is changed. */
export function unchanged(row: { updated_at: string }, header?: string): Problem {
  const is_match = tagsOf(header)?.includes(row.updated_at) ?? true
  return new Problem(is_match ? 'forbidden' : 'etag_mismatch')
}
