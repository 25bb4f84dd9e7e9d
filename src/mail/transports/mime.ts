/**
 * A message as sent (RFC 5322, RFC 2045, RFC 2047): text and HTML, both in base64, so that no line begins with a dot or is too
 * long.
 */
import type { Address, Message } from './transport.ts'

const utf8 = new TextEncoder()

/** The whole message with CRLF line ends, without the final dot of SMTP. */
export function compose({ id, from, to, subject, text, html }: Message): string {
  const boundary = `=_${id}`
  const part = (type: string, content: string) => [
    `--${boundary}`,
    `Content-Type: text/${type}; charset=utf-8`,
    'Content-Transfer-Encoding: base64',
    '',
    wrapped(base64(content)),
  ]
  return [
    `From: ${sender(from)}`,
    `To: <${to}>`,
    `Subject: ${encoded(subject)}`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: ${messageId(id, from)}`,
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    `Content-Type: multipart/alternative;\r\n boundary="${boundary}"`,
    '',
    ...part('plain', text),
    ...part('html', html),
    `--${boundary}--`,
    '',
  ].join('\r\n')
}

/** Stable across the attempts of a mail. */
export const messageId = (id: string, { address }: Address) => `<${id}@${domainOf(address)}>`

export const domainOf = (address: string) => address.slice(address.lastIndexOf('@') + 1)

const sender = ({ name, address }: Address) => (name === null ? address : `${encoded(name)} <${address}>`)

/**
 * Encoded words in lines of at most 76 characters (RFC 2047 section 2), without splitting a character. ASCII is encoded too, so
 * that no value can be a header.
 */
function encoded(text: string): string {
  const words: string[] = []
  let word = ''
  for (const character of text) {
    if (utf8.encode(word + character).length > 39) {
      words.push(word)
      word = ''
    }
    word += character
  }
  return [...words, word].map((part) => `=?utf-8?B?${base64(part)}?=`).join('\r\n ')
}

const base64 = (text: string) => btoa(Array.from(utf8.encode(text), (byte) => String.fromCharCode(byte)).join(''))
const wrapped = (text: string) => text.replace(/.{76}(?=.)/g, '$&\r\n')
