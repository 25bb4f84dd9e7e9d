/** What may stand in a field of a person. Threat: text that two people write alike and the database keeps apart. */
import { z } from '@hono/zod-openapi'

/**
 * As they are stored and as a login compares them: NFKC (what looks alike by its width or form is one), without blanks around, lower case. An
 * address is of ASCII then; a username is of one of the alphabets whose letters look alike, and of nothing that is not seen.
 */
export const Email = z.string().normalize('NFKC').trim().toLowerCase().max(255).email('must be an e-mail address')
const ALIKE = [/\p{Script=Latin}/u, /\p{Script=Cyrillic}/u, /\p{Script=Greek}/u]
export const Username = z
  .string()
  .normalize('NFKC')
  .trim()
  .toLowerCase()
  .min(1)
  .max(64)
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u,
    'must begin with a letter or digit, and have letters, digits, ".", "_" and "-" only',
  )
  // Among letters and marks too: fillers, variation selectors.
  .refine((name) => !/\p{Default_Ignorable_Code_Point}/u.test(name), 'must not have characters that nobody sees')
  .refine((name) => ALIKE.filter((script) => script.test(name)).length <= 1, 'must not mix Latin, Cyrillic and Greek letters')

const accepted = (take: () => unknown) => {
  try {
    take()
    return true
  } catch {
    return false
  }
}

/** A number as people write it; codes are sent there. */
export const Phone = z
  .string()
  .normalize('NFKC')
  .trim()
  .max(32)
  .regex(/^\+?[0-9][0-9 ()./-]*$/, 'must be a phone number: digits, and "+", blanks, "(", ")", ".", "/" or "-" between them')

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

const MAX_DEPTH = 16

/** True for what jsonb can hold, and not so deep that walking it is work. */
function isKept(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  return depth < MAX_DEPTH && Object.entries(value).every(([key, inner]) => isKept(key) && isKept(inner, depth + 1))
}

/** A person's own settings of frontends; how large they may be, the database says. */
export const Preferences = z
  .record(z.string(), z.unknown())
  .refine((doc) => isKept(doc), `must be JSON at most ${MAX_DEPTH} deep, of whole characters`)
