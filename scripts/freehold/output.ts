import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters, styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** What moves the cursor, changes the terminal, or turns the direction of a text: control characters, and those of Unicode's bidi algorithm. */
const CONTROLS = '\\p{Cc}\\u202A-\\u202E\\u2066-\\u2069'
const ANY_CONTROL = new RegExp(`[${CONTROLS}]+`, 'gu')
/** Our own colours, or a control character other than a line break and a tab. */
const COLOUR_OR_CONTROL = new RegExp(`\\u001b\\[(?:1|2|22|3[1-9]|39)m|(?![\\n\\t])[${CONTROLS}]`, 'gu')
const ESCAPED_IN_JSON = /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Prints the result of a command: the only output on stdout. */
export const print = (text: string) => void process.stdout.write(`${harmless(text)}\n`)

/** Prints the document of --json, on one line where it is one of many. */
export const printJson = (document: unknown, indent = 2) => print(json(document, indent))

/** Prints everything else, on stderr. */
export const tell = (text: string) => void process.stderr.write(`${harmless(text)}\n`)

/** Text from elsewhere without terminal control sequences, on one line. */
export const plain = (text: string) => stripVTControlCharacters(text).replace(ANY_CONTROL, ' ')

/**
 * A text as a terminal may have it: with lines and colours, and without any other control character. All that is printed passes here, so
 * that a text of a server that nobody made `plain` does no more than begin a line.
 */
export const harmless = (text: string) => text.replace(COLOUR_OR_CONTROL, (found) => (found.length > 1 ? found : ''))

/** A document in JSON. JSON.stringify escapes the control characters of ASCII; 0x9b alone begins a sequence, too. */
const json = (document: unknown, indent: number) =>
  JSON.stringify(document, null, indent)?.replace(
    ESCAPED_IN_JSON,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** Colours a text when the stream is a terminal with colours and NO_COLOR is not set. */
export function paint(stream: Partial<Pick<WriteStream, 'isTTY' | 'hasColors'>>, style: Style, text: string): string {
  const coloured = stream.isTTY && !process.env.NO_COLOR && stream.hasColors?.()
  return coloured ? styleText(style, text, { validateStream: false }) : text
}

/** The columns of a stream that is a terminal; Infinity for a file or a pipe, whose lines stay whole. */
export const columnsOf = (stream: Partial<Pick<WriteStream, 'isTTY' | 'columns'>>): number =>
  (stream.isTTY && stream.columns) || Number.POSITIVE_INFINITY

/** A text whose lines are broken at spaces to fit a terminal; what follows keeps the indentation of its line. */
export function wrapped(text: string, stream: Partial<Pick<WriteStream, 'isTTY' | 'columns'>>): string {
  const columns = columnsOf(stream)
  return text
    .split('\n')
    .map((line) => (line.length <= columns ? line : broken(line, columns)))
    .join('\n')
}

function broken(line: string, columns: number): string {
  const given = /^ */.exec(line)?.[0] ?? ''
  const indent = given.length * 2 > columns ? '    ' : given
  const lines = [indent]
  for (const word of line.trim().split(/ +/)) {
    const last = lines.at(-1) ?? ''
    const isFirst = last.trim() === ''
    if (!isFirst && last.length + 1 + word.length > columns) lines.push(`${indent}${indent && '  '}${word}`)
    else lines[lines.length - 1] = isFirst ? last + word : `${last} ${word}`
  }
  return lines.join('\n')
}
