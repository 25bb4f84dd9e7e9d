/**
 * Names that people read to decide: whom they give something, what they give, in which unit. Threat: a name that shows as nothing,
 * or as another one, and so gets what was meant for that. The database compares names of roles by how they look (names.sql).
 */
import { z } from '@hono/zod-openapi'
import { Line } from '../kernel/fields.ts'

/** The name of a permission. */
export const PermissionName = z
  .string()
  .min(1)
  .max(95)
  .regex(/^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$/, 'must be resource:action, in lower case')

// Zero-width characters, controls of the direction, fillers, variation selectors; the empty Braille cell; separators of lines.
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u{FFF9}-\u{FFFB}\u2800]/u
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u
const ALIKE = [/\p{Script=Latin}/u, /\p{Script=Cyrillic}/u, /\p{Script=Greek}/u]

/** Whether a text mixes scripts whose letters look alike. */
const mixes = (text: string) => ALIKE.filter((script) => script.test(text)).length > 1

/** Where a check of a schema says what is wrong. */
type Check = { addIssue(issue: { code: 'custom'; message: string }): void }

/** Joiners in scripts whose spelling needs them, as in Persian: between two letters. */
const LETTER =
  '[\\p{M}\\p{Script=Arabic}\\p{Script=Syriac}\\p{Script=Devanagari}\\p{Script=Bengali}\\p{Script=Gurmukhi}\\p{Script=Gujarati}\\p{Script=Oriya}\\p{Script=Tamil}\\p{Script=Telugu}\\p{Script=Kannada}\\p{Script=Malayalam}\\p{Script=Sinhala}]'
const SPELT = new RegExp(`(?<=${LETTER})[\\u200c\\u200d](?=${LETTER})`, 'gu')

/** For a text that is not empty: every character can be seen, and there is one. */
export const visible = (text: string, check: Check) => {
  if (INVISIBLE.test(text)) check.addIssue({ code: 'custom', message: 'must not contain invisible characters' })
  else if (text !== '' && !VISIBLE.test(text)) check.addIssue({ code: 'custom', message: 'must have a letter, digit or sign' })
}

/** For a name of one word, such as a username. */
export const unmixed = (name: string, check: Check) => {
  if (mixes(name)) check.addIssue({ code: 'custom', message: 'must not mix Latin, Cyrillic and Greek letters' })
}

/** A name on a line, trimmed, in NFC: of a person, a tenant, an API key. */
export const Name = (max: number) => Line(max).superRefine((name, check) => visible(name.replace(SPELT, ''), check))

/**
 * The name of what rights are tied to, roles and units: every character of it can be seen, and no word mixes scripts whose letters
 * look alike.
 */
export const PlainName = (max: number) =>
  Line(max)
    .superRefine(visible)
    .superRefine((name, check) => {
      if (
        name
          .normalize('NFKC')
          .split(/[^\p{L}\p{M}]+/u)
          .some(mixes)
      )
        check.addIssue({ code: 'custom', message: 'must not mix Latin, Cyrillic and Greek letters in a word' })
    })
