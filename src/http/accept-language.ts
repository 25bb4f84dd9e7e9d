/** Chooses the language of a response. Threat: a header that makes the choice expensive, so its length is bounded. */
import { parseAccept } from 'hono/utils/accept'
import { ENGLISH, SPANISH, speaksSpanish } from '../i18n/language.ts'
import type { Language } from '../kernel/problem.ts'

/** Longer than any browser sends; a longer header is ignored, and the response is in English. */
const LONGEST_HEADER = 500

/**
 * Whether Accept-Language asks for Spanish (RFC 9110 section 12.5.4), of any region, rather than for English. The higher quality
 * wins, then the earlier position; `q=0` excludes a language. English by default.
 */
export function asksForSpanish(header: string | undefined): boolean {
  if (!header || header.length > LONGEST_HEADER) return false
  // parseAccept sorts by quality.
  const ranges = parseAccept(header).map(({ type, q }) => ({ language: type.toLowerCase().split('-')[0], q }))
  const rankOf = (language: string) => {
    const exact = ranges.findIndex((range) => range.language === language)
    const rank = exact < 0 ? ranges.findIndex((range) => range.language === '*') : exact
    return ranges[rank]?.q ? rank : ranges.length
  }
  return rankOf('es') < rankOf('en')
}

/** The language of a response. Spanish, where it is asked for and was read (arrive.ts). */
export const languageOf = (header: string | undefined): Language =>
  speaksSpanish() && asksForSpanish(header) ? SPANISH : ENGLISH
