/** A JSON document that is stored as it is. Threat: one that jsonb cannot hold, or of a size or depth that costs whoever reads it. */
import { z } from '@hono/zod-openapi'

const MAX_DEPTH = 16

/** True for a value that jsonb can hold and that is nested at most MAX_DEPTH deep. */
function isStorable(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  return depth < MAX_DEPTH && Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner, depth + 1))
}

const MAX_PATCH = 16_384

/**
 * A document, or a change of one. The database limits what is stored to 8 KiB; a change that is larger than all that it could add
 * and take away does not reach it.
 */
export const StoredDocument = z
  .record(z.string(), z.unknown())
  .refine((doc) => new TextEncoder().encode(JSON.stringify(doc)).length <= MAX_PATCH, {
    error: 'must be at most 16 KiB',
    abort: true,
  })
  .refine((doc) => isStorable(doc), `must be JSON nested at most ${MAX_DEPTH} deep, without NUL or lone surrogates`)
