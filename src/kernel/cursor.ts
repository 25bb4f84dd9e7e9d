/**
 * Pagination cursors. Threat: a forged cursor that asks for rows that no page would return, or breaks the statement. So each
 * carries a MAC under its realm's key, for one list in one order.
 */
import { z } from '@hono/zod-openapi'
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'
import type { Realm } from './context.ts'
import { Whole } from './fields.ts'
import { Problem } from './problem.ts'
import { successorOf } from './token.ts'

/** The query parameters of every list. */
export const Page = z.object({
  limit: Whole(1, 100).default(50),
  // Two names of 255 characters are up to 1,532 bytes, and more in base64.
  cursor: z.string().max(4096).optional(),
})

/** The response of every list. */
export const pageOf = <T extends z.ZodType>(item: T) => z.object({ data: z.array(item), next_cursor: z.string().nullable() })

const MAC = 22

/** The cursor after a row of the list `name`; `values`: the values that the list is sorted by, as text. */
export async function writeCursor({ refresh_key }: Realm, name: string, values: string[]): Promise<string> {
  const text = encodeBase64urlNoPadding(new TextEncoder().encode(JSON.stringify(values)))
  return `${text}.${(await successorOf(refresh_key, `cursor:${name}:${text}`)).slice(0, MAC)}`
}

/** The values of a cursor of the list `name`; null for the first page. Fails with invalid_cursor. */
export async function readCursor({ refresh_key }: Realm, name: string, cursor: string | undefined): Promise<string[] | null> {
  if (cursor === undefined) return null
  const [text = '', mac] = cursor.split('.')
  if ((await successorOf(refresh_key, `cursor:${name}:${text}`)).slice(0, MAC) !== mac) throw new Problem('invalid_cursor')
  return JSON.parse(new TextDecoder().decode(decodeBase64urlIgnorePadding(text)))
}

/** A page of `rows`, of which `limit + 1` were queried. `at` returns the values that a row is sorted by. */
export async function paged<T>(
  realm: Realm,
  name: string,
  rows: T[],
  limit: number,
  at: (row: T) => string[],
): Promise<{ data: T[]; next_cursor: string | null }> {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  return { data, next_cursor: rows.length > limit && last ? await writeCursor(realm, name, at(last)) : null }
}
