/** What may stand in a field of any room. Threat: text that the database cannot keep, and moments that Postgres and RFC 3339 read differently. */
import { z } from '@hono/zod-openapi'

/** Without control characters and halves of characters, neither of which a database or a line of a log takes well. */
const TEXT = /^[^\p{Cc}\p{Cs}]*$/u

/** Text as it was written. */
export const Text = (max: number) =>
  z.string().normalize('NFC').min(1).max(max).regex(TEXT, 'must be text without control characters')
/** A line of text, without blanks around it. */
export const Line = (max: number) =>
  z.string().normalize('NFC').trim().min(1).max(max).regex(TEXT, 'must be text without control characters')

/**
 * A moment as the caller writes it, with any offset; in UTC afterwards, in years that Postgres and RFC 3339 both have. One in UTC keeps its
 * microseconds, one with an offset its milliseconds.
 */
export const Moment = z.iso
  .datetime({ offset: true, error: 'must be a moment as in RFC 3339' })
  .refine((written) => /^(?!0000)\d{4}-/.test(utc(written)), 'must lie in the years 1 to 9999')
  .transform((written) => (/^[^.]*(\.\d{1,6})?Z$/.test(written) ? written : utc(written)))

function utc(written: string): string {
  const at = new Date(written)
  return Number.isNaN(at.getTime()) ? '' : at.toISOString()
}
