import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters, styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** What was asked for: the only thing that goes to stdout. */
export const print = (text: string) => void process.stdout.write(`${text}\n`)

/** The one document of --json. */
export const printJson = (document: unknown) => print(JSON.stringify(document, null, 2))

/** Everything that is said beside it. */
export const tell = (text: string) => void process.stderr.write(`${text}\n`)

/** Text from elsewhere, without what would steer a terminal. */
export const plain = (text: string) => stripVTControlCharacters(text).replace(/\p{Cc}+/gu, ' ')

/** Colours a text when the stream is a terminal that has colours, and NO_COLOR does not forbid it. */
export function paint(stream: Partial<Pick<WriteStream, 'isTTY' | 'hasColors'>>, style: Style, text: string): string {
  const coloured = stream.isTTY && !process.env.NO_COLOR && stream.hasColors?.()
  return coloured ? styleText(style, text, { validateStream: false }) : text
}
