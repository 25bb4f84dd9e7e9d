/** Chooses the language of a response. Threat: a header that makes the choice expensive, so its length is bounded. */
import { parseAccept } from 'hono/utils/accept'
import { ENGLISH, SPANISH } from '../i18n/language.ts'
import type { Language } from '../kernel/problem.ts'

/** Longer than any browser sends; a longer header is ignored, and the response is in English. */
const LONGEST_HEADER = 500

/**
 * The language that Accept-Language asks for (RFC 9110 section 12.5.4), English or Spanish of any region. The higher quality
 * wins, then the earlier position; `q=0` excludes a language. English by default.
 */
export function languageOf(header: string | undefined): Language {
  if (!header || header.length > LONGEST_HEADER) return ENGLISH
  // parseAccept sorts by quality.
  const ranges = parseAccept(header).map(({ type, q }) => ({ language: type.toLowerCase().split('-')[0], q }))
  const rankOf = (language: string) => {
    const exact = ranges.findIndex((range) => range.language === language)
    const rank = exact < 0 ? ranges.findIndex((range) => range.language === '*') : exact
    return ranges[rank]?.q ? rank : ranges.length
  }
  return rankOf('es') < rankOf('en') ? SPANISH : ENGLISH
}
