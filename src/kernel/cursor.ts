/**
 * Pagination cursors. Threat: a forged cursor that asks for rows that no page would return, or breaks the statement; an e-mail or a
 * name that is read in a URL, in a history or a log. So each is encrypted under its realm's key, for one list in one order.
 */
import { z } from '@hono/zod-openapi'
import { decodeBase64urlIgnorePadding } from '@oslojs/encoding'
import type { Realm } from './context.ts'
import { Whole } from './fields.ts'
import { decrypt, encrypt, type KeyRing } from './keyring.ts'
import { Problem } from './problem.ts'

/** The query parameters of every list. */
export const Page = z.object({
  limit: Whole(1, 100).default(50),
  // Two names of 255 characters are up to 1,532 bytes, and more in base64.
  cursor: z.string().max(4096).optional(),
})

/** The response of every list. */
export const pageOf = <T extends z.ZodType>(item: T) => z.object({ data: z.array(item), next_cursor: z.string().nullable() })

/** The key of a realm's cursors, derived from its refresh key (HKDF, RFC 5869). */
async function ringOf(refresh_key: string): Promise<KeyRing> {
  const raw = new Uint8Array(decodeBase64urlIgnorePadding(refresh_key))
  const secret = await crypto.subtle.importKey('raw', raw, 'HKDF', false, ['deriveBits'])
  const hkdf = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: new TextEncoder().encode('freehold cursors') }
  return [{ id: 'c', key: new Uint8Array(await crypto.subtle.deriveBits(hkdf, secret, 256)) }]
}

const fieldOf = (name: string) => `cursor:${name}`

/** The values of a cursor of the list `name`; null for the first page. Fails with invalid_cursor. */
export async function readCursor(realm: Realm, name: string, cursor: string | undefined): Promise<string[] | null> {
  if (cursor === undefined) return null
  // The decoder takes more: padding, and further parts.
  if (!/^c(\.[\w-]+){2}$/.test(cursor)) throw new Problem('invalid_cursor')
  const opened = async (key: string) => JSON.parse(await decrypt(await ringOf(key), realm.id, fieldOf(name), cursor))
  const { refresh_key, other_refresh_key: other } = realm
  return opened(refresh_key)
    .catch((error) => (other ? opened(other) : Promise.reject(error)))
    .catch((cause) => {
      throw new Problem('invalid_cursor', undefined, { cause })
    })
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
  const last = rows.length > limit ? data.at(-1) : undefined
  if (!last) return { data, next_cursor: null }
  return { data, next_cursor: await encrypt(await ringOf(realm.refresh_key), realm.id, fieldOf(name), JSON.stringify(at(last))) }
}
