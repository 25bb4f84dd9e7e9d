import { optionalString } from './body.ts'
import { ApiError } from './error.ts'

const MAX_DAYS = 30
const DAY_MS = 86_400_000
const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** When a branch expires, if the body says so. Fails unless that is in the near future. */
export function readExpiry(body: Record<string, unknown>): string | undefined {
  const text = optionalString(body, 'expires_at', 40)
  if (text === undefined) return undefined
  const at = Date.parse(text)
  if (!ZONED.test(text) || Number.isNaN(at)) throw new ApiError(400, 'expires_at must be a time with a zone')
  if (at <= Date.now()) throw new ApiError(400, 'expires_at must be in the future')
  if (at > Date.now() + MAX_DAYS * DAY_MS) throw new ApiError(400, `expires_at must be at most ${MAX_DAYS} days away`)
  return text
}
