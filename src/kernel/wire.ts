/** Wire formats of all rooms: timestamps, rows, entity tags. */
import { type SQL, sql } from 'drizzle-orm'
import { Problem } from './problem.ts'

/** A timestamp column as RFC 3339 in UTC, with the database's microseconds, so that it sorts as text. */
export const rfc3339 = (column: string): SQL => sql.raw(`to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)

/** The rows of a raw SQL statement. */
export const rowsOf = <T>(result: unknown) => (result as { rows: T[] }).rows

/**
 * The tags of an If-Match (RFC 9110 section 13.1.1); null: none, or `*`. Unlike there, the weak form of a tag counts as the tag: a
 * proxy that compresses weakens every tag, and ours name a version of the row, not the bytes of an answer (decision 28).
 */
const tagsOf = (header: string | undefined) =>
  header === undefined || header.trim() === '*'
    ? null
    : header.split(',').map((tag) => /^\s*(?:W\/)?"(.*)"\s*$/.exec(tag)?.[1] ?? '')

/** The condition of an update under If-Match: the row is unchanged since it was read. */
export function matches(column: string, header: string | undefined): SQL {
  const tags = tagsOf(header)
  return tags ? sql`${rfc3339(column)} in (select jsonb_array_elements_text(${JSON.stringify(tags)}::jsonb))` : sql`true`
}

/** Why an update left a visible row unchanged: it was modified since it was read, or the caller may read but not update it. */
export function unchanged(row: { updated_at: string }, header?: string): Problem {
  const is_match = tagsOf(header)?.includes(row.updated_at) ?? true
  return new Problem(is_match ? 'forbidden' : 'etag_mismatch')
}
