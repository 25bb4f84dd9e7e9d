/**
 * CSV (RFC 4180). Threat: a spreadsheet that opens an export runs a formula that an attacker wrote into a name or a user agent.
 * So a field that would be read as a formula is prefixed with an apostrophe.
 */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/

/** One line with its line break. null is an empty field; other values that are not text are written as JSON. */
export const csvLine = (values: readonly unknown[]): string => `${values.map(field).join(',')}\r\n`

function field(value: unknown): string {
  const text = value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value)
  const safe = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
