/**
 * Reads JSON strictly: RFC 8259 with what RFC 7493 (I-JSON) asks for. Threat: what is stored is not what was sent, or not what a
 * reader in front of us saw: bytes that are not UTF-8 become U+FFFD, of two fields with one name the last one wins, a number is
 * rounded, `__proto__` is lost, half of a surrogate pair cannot be stored. JSON.parse decides what is JSON; what it passes over is
 * looked for afterwards. Decision 30 says why this is our own.
 */
import { invalid } from '../kernel/problem.ts'

/** Fatal, so that no byte is replaced. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of bytes in UTF-8. Fails with invalid_request. */
export function textOf(bytes: ArrayBuffer | Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid('', 'is not UTF-8')
  }
}

/**
 * The value of a JSON text. Linear in its length. Fails with invalid_request, and the place: not JSON, nested too deeply, a name
 * twice in one object, `__proto__`, half of a surrogate pair, a number that JavaScript has no equal of.
 */
export function jsonOf(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('', 'is not valid JSON')
  }
  check(text)
  return value
}

const MAX_DEPTH = 100
const QUOTE = 0x22
const COMMA = 0x2c
const PLUS = 0x2b
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const LARGE_E = 0x45
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const SMALL_E = 0x65
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** An object or array that is open: the names in an object so far, and which of its values is being read. */
type Open = { names: Set<string> | null; name: string; index: number }

/** Refuses what JSON.parse passes over in a text that it took. */
function check(text: string): void {
  const open: Open[] = []
  let here: Open | undefined
  const hasEscapes = text.includes('\\u')
  let isName = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      const end = closingQuote(text, i + 1)
      if (isName && here?.names) {
        const known = here.names.size
        here.name = unquoted(text, i, end)
        if (here.names.add(here.name).size === known) throw invalid(pointerTo(open), 'is there twice')
        if (here.name === '__proto__') throw invalid(pointerTo(open), 'is not a name that can be used')
        isName = false
      }
      if (hasEscapes && !unquoted(text, i, end).isWellFormed()) throw invalid(pointerTo(open), 'holds half of a surrogate pair')
      i = end
    } else if (code === COMMA) {
      if (here?.names) isName = true
      else if (here) here.index++
    } else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      const end = endOfNumber(text, i)
      if (!isExact(text, i, end)) throw invalid(pointerTo(open), 'is a number that cannot be kept exactly: send it as a string')
      i = end - 1
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      isName = code === OPEN_OBJECT
      here = { names: isName ? new Set() : null, name: '', index: 0 }
      if (open.push(here) > MAX_DEPTH) throw invalid('', 'is nested too deeply')
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
      isName = false
      open.pop()
      here = open[open.length - 1]
    }
  }
}

/** Where a string ends: at the next quote that no backslash escapes. */
function closingQuote(text: string, from: number): number {
  for (let end = text.indexOf('"', from); ; end = text.indexOf('"', end + 1)) {
    let before = end - 1
    while (text.charCodeAt(before) === BACKSLASH) before--
    if ((end - before) % 2 === 1) return end
  }
}

/** Where a number ends: before what is no digit, sign, point or exponent. */
function endOfNumber(text: string, from: number): number {
  let end = from
  for (let code = MINUS; isOfNumber(code); code = text.charCodeAt(end)) end++
  return end
}

const isOfNumber = (code: number) =>
  (code >= ZERO && code <= NINE) || code === POINT || code === MINUS || code === PLUS || code === SMALL_E || code === LARGE_E

/** The string between two quotes. */
function unquoted(text: string, from: number, to: number): string {
  const written = text.slice(from + 1, to)
  return written.includes('\\') ? JSON.parse(text.slice(from, to + 1)) : written
}

/** Where in the value we are (RFC 6901), cut at 200 characters. */
const pointerTo = (open: Open[]) =>
  open
    .map(({ names, name, index }) => (names ? name.slice(0, 200).replaceAll('~', '~0').replaceAll('/', '~1') : index))
    .join('/')
    .slice(0, 200)
    // A cut escape is none (RFC 6901).
    .replace(/~$/, '')
    .toWellFormed()

/** Whether a number is what its digits say. Up to fifteen always are, and an exponent takes two characters. */
function isExact(text: string, from: number, to: number): boolean {
  const digits = to - from > 2 ? text.slice(from, to) : ''
  if (digits.length <= 15 && !digits.includes('e') && !digits.includes('E')) return true
  const value = Number(digits)
  return Number.isFinite(value) && decimal(digits) === decimal(String(value))
}

/** A decimal number in one spelling: its significant digits, and the power of ten of the last one. */
function decimal(text: string): string {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(text) ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  // Not by a pattern, which would try each row of zeros anew.
  let end = digits.length
  while (digits.charCodeAt(end - 1) === ZERO) end--
  return end === 0 ? '0' : `${digits.slice(0, end)}e${Number(exponent) - fraction.length + digits.length - end}`
}
