/**
 * CSV as RFC 4180 has it. Threat: whoever opens an export in a spreadsheet runs what somebody wrote into a name or a user agent; so a field
 * that would be read as a formula begins with an apostrophe.
 */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/

/** One line, with its end. null is an empty field; what is not text is written as JSON. */
export const csvLine = (values: readonly unknown[]): string => `${values.map(field).join(',')}\r\n`

function field(value: unknown): string {
  const text = value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value)
  const safe = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
