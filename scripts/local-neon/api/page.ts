import { ApiError } from './error.ts'

/** One page of a list. The cursor is opaque to callers: the place after the last item. */
export function page<T>(all: T[], query: URLSearchParams, { standard, max }: { standard: number; max: number }) {
  const limit = whole(query, 'limit', standard)
  if (limit < 1 || limit > max) throw new ApiError(400, `limit must be between 1 and ${max}`)
  const start = whole(query, 'cursor', 0)
  const items = all.slice(start, start + limit)
  const cursor = items.length > 0 ? String(start + items.length) : undefined
  return { items, cursor }
}

function whole(query: URLSearchParams, name: string, absent: number) {
  const text = query.get(name)
  if (text === null || text === '') return absent
  if (!/^\d{1,9}$/.test(text)) throw new ApiError(400, `${name} is not valid`)
  return Number(text)
}
