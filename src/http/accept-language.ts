/** Which language a caller reads. Threat: a header that makes the choosing work hard, so it is bounded. */
import { parseAccept } from 'hono/utils/accept'
import { ENGLISH, SPANISH } from '../i18n/language.ts'
import type { Language } from '../kernel/problem.ts'

/** No browser sends as much; whoever does is told in English. */
const LONGEST_HEADER = 500

/**
 * The language that an Accept-Language asks for (RFC 9110 section 12.5.4), of English and Spanish, of whatever region: the one of the higher
 * quality, of two alike the earlier, never Spanish with `q=0`; English where nothing asks for Spanish.
 */
export function languageOf(header: string | undefined): Language {
  if (!header || header.length > LONGEST_HEADER) return ENGLISH
  // In the order of their quality.
  const ranges = parseAccept(header).map(({ type, q }) => ({ language: type.toLowerCase().split('-')[0], q }))
  const placeOf = (language: string) => {
    const named = ranges.findIndex((range) => range.language === language)
    const place = named < 0 ? ranges.findIndex((range) => range.language === '*') : named
    return ranges[place]?.q ? place : ranges.length
  }
  return placeOf('es') < placeOf('en') ? SPANISH : ENGLISH
}
