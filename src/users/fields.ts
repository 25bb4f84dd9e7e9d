/** The fields of a user. Threat: two values that look the same and that the database takes for different ones. */
import { z } from '@hono/zod-openapi'
import { written } from '../kernel/fields.ts'
import { StoredDocument } from '../names/document.ts'
import { unmixed, visible } from '../names/names.ts'

const NOT_A_USERNAME = 'must begin with a letter or digit, and have letters, digits, ".", "_" and "-" only'
/** What the OpenAPI document can say of it in a pattern without flags: all ASCII characters, and of the others anything. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it refuses.
const ASCII_OF_USERNAME = /^[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x9f][^\x00-\x2c\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x9f]*$/

/**
 * Normalised for storage and for the comparison at login: NFKC, trimmed, lower case. It must not mix the scripts whose letters look
 * alike, nor contain invisible characters.
 */
export const Username = written(64)
  .normalize('NFKC')
  .trim()
  .toLowerCase()
  .min(1)
  .max(64)
  .regex(ASCII_OF_USERNAME, { error: NOT_A_USERNAME, abort: true })
  .refine((written) => /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u.test(written), NOT_A_USERNAME)
  // \p{L} and \p{M} contain invisible characters too: fillers, variation selectors.
  .superRefine(visible)
  .superRefine(unmixed)

const accepted = (take: () => unknown) => {
  try {
    take()
    return true
  } catch {
    return false
  }
}

const NOT_A_PHONE = 'must be a phone number: digits, and "+", blanks, "(", ")", ".", "/" or "-" between them'
/** A phone number in free notation; verification codes are sent to it. */
export const Phone = written(32)
  .normalize('NFKC')
  .trim()
  .max(32)
  .regex(/^\+?[0-9][0-9 ()./-]*$/, NOT_A_PHONE)
  // The address of a network is none.
  .refine((said) => !/^\d{1,3}(\.\d{1,3}){3}$/.test(said), NOT_A_PHONE)

/** A language tag (BCP 47), such as `es-PE`. */
export const Locale = z
  .string()
  .min(2)
  .max(35)
  .refine((tag) => accepted(() => Intl.getCanonicalLocales(tag)), 'must be a language tag (BCP 47)')

/** The name of a time zone (IANA), such as `America/Lima`. */
export const TimeZone = z
  .string()
  .min(1)
  .max(64)
  .refine(
    (zone) => /^[A-Za-z]/.test(zone) && accepted(() => new Intl.DateTimeFormat('en', { timeZone: zone })),
    'must be the name of a time zone (IANA)',
  )

/** Settings that frontends keep for a user, or a change of them. */
export const Preferences = StoredDocument
