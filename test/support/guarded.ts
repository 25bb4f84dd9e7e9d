/** The headers that keep browsers from what an answer is not for. */
type Answered = { headers: Headers }

const API = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
const PAGE = /^\/((docs|problems|pages|login|register|verify-email|reset-password|email-change|account)(\/|$)|$)/

/** What an answer lacks of them, or has otherwise; `more` are those that a route declares for itself. */
export function unguarded(path: string, { headers }: Answered, more: Record<string, string> = {}): string[] {
  const expected = {
    'Content-Security-Policy': API,
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': PAGE.test(path.split('?')[0] ?? '') ? 'same-origin' : 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    ...more,
  }
  return Object.entries(expected).flatMap(([name, value]) =>
    headers.get(name) === value ? [] : [`${name}: ${headers.get(name)} instead of ${value}`],
  )
}
