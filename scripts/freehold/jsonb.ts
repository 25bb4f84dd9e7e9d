/**
 * JSON as Postgres writes a `jsonb`, because hashes of the audit are made of that text. Threat: a number that JavaScript rounds
 * would make an intact detail look changed. So numbers keep the text that they had.
 */

/** A number of a JSON text, as it was written. */
export class Numeral {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

// TypeScript does not declare the third argument yet (ECMAScript 2026).
type Reviver = (key: string, value: unknown, context: { source: string }) => unknown
const exact: Reviver = (_, value, { source }) => (typeof value === 'number' ? new Numeral(source) : value)

/** Parses a JSON text. Its numbers become Numerals. */
export const parseExactly = (text: string): unknown => JSON.parse(text, exact as (key: string, value: unknown) => unknown)

/** A value as the text of a `jsonb`: keys by length and then by bytes, a space after each colon and comma. */
export function jsonbText(value: unknown): string {
  if (value instanceof Numeral) return value.text
  if (Array.isArray(value)) return `[${value.map(jsonbText).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const parts = Object.entries(value).map(([key, part]) => ({
    key: Buffer.from(key),
    text: `${JSON.stringify(key)}: ${jsonbText(part)}`,
  }))
  parts.sort((a, b) => a.key.length - b.key.length || Buffer.compare(a.key, b.key))
  return `{${parts.map(({ text }) => text).join(', ')}}`
}
