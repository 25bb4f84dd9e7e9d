/**
 * Field types of all rooms. Threat: text that the database cannot store, and timestamps that Postgres and RFC 3339 read
 * differently.
 */
import { z } from '@hono/zod-openapi'

/** No control characters and no lone surrogates, which break databases and log lines. */
const TEXT = /^[^\p{Cc}\p{Cs}]*$/u

/** Text as written, in NFC. */
export const Text = (max: number) =>
  z.string().normalize('NFC').min(1).max(max).regex(TEXT, 'must be text without control characters')
/** A line of text, trimmed, in NFC. */
export const Line = (max: number) =>
  z.string().normalize('NFC').trim().min(1).max(max).regex(TEXT, 'must be text without control characters')

/**
 * A timestamp with any offset; parsed to UTC, within the years that both Postgres and RFC 3339 have. One in UTC keeps its
 * microseconds, one with an offset its milliseconds.
 */
export const Moment = z.iso
  .datetime({ offset: true, error: 'must be a timestamp as in RFC 3339' })
  .refine((written) => /^(?!0000)\d{4}-/.test(utc(written)), 'must lie in the years 1 to 9999')
  .transform((written) => (/^[^.]*(\.\d{1,6})?Z$/.test(written) ? written : utc(written)))

function utc(written: string): string {
  const at = new Date(written)
  return Number.isNaN(at.getTime()) ? '' : at.toISOString()
}
