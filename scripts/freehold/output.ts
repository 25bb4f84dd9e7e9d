import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters, styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** Prints the result of a command: the only output on stdout. */
export const print = (text: string) => void process.stdout.write(`${text}\n`)

/** Prints the document of --json. */
export const printJson = (document: unknown) => print(JSON.stringify(document, null, 2))

/** Prints everything else, on stderr. */
export const tell = (text: string) => void process.stderr.write(`${text}\n`)

/** Text from elsewhere without terminal control sequences. */
export const plain = (text: string) => stripVTControlCharacters(text).replace(/\p{Cc}+/gu, ' ')

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
