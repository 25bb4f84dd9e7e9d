/**
 * Field types of all rooms. Threat: text that the database cannot store, timestamps that Postgres and RFC 3339 read differently,
 * and text of a mebibyte that is normalised, where it grows to eighteen times its length, before it is found to be too long.
 */
import { z } from '@hono/zod-openapi'

const NOT_TEXT = 'must be text without control characters'

/**
 * No control characters and no lone surrogates, which break databases and log lines. The pattern is in the OpenAPI document, so it
 * means the same in other languages, and without flags.
 */
export const plain = (text: ReturnType<typeof written>) =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it refuses.
    .regex(/^[^\x00-\x1f\x7f-\x9f]*$/, NOT_TEXT)
    .refine((written) => written.isWellFormed(), NOT_TEXT)

/**
 * Text that will be normalised and then have at most `max` characters. Nothing further is done to a text that is four times as
 * long: normalising makes three characters into one at most.
 */
export const written = (max: number) => z.string().max(4 * max, { error: `must have at most ${max} characters`, abort: true })

/** Text as written, in NFC. */
export const Text = (max: number) => plain(written(max).normalize('NFC').min(1).max(max))
/** A line of text, trimmed, in NFC. */
export const Line = (max: number) => plain(written(max).normalize('NFC').trim().min(1).max(max))

/**
 * A timestamp with any offset; parsed to UTC, within the years that both Postgres and RFC 3339 have. One in UTC keeps its
 * microseconds, one with an offset its milliseconds.
 */
export const Moment = z.iso
  .datetime({ offset: true, error: 'must be a timestamp as in RFC 3339', abort: true })
  .refine((written) => /^(?!0000)\d{4}-/.test(utc(written)), 'must lie in the years 1 to 9999')
  .transform((written) => (/^[^.]*(\.\d{1,6})?Z$/.test(written) ? written : utc(written)))

function utc(written: string): string {
  const at = new Date(written)
  return Number.isNaN(at.getTime()) ? '' : at.toISOString()
}

/** A whole number in a query, in plain digits: `0x5` and `1e2` are none. The document has it as the number that it is. */
export const Whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, 'must be a whole number in digits')
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .openapi({ type: 'integer', minimum: min, maximum: max })
