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
