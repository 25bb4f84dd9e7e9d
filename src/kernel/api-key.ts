/**
 * The format of an API key: `fh_{8 characters}_{secret}{checksum}`, in base62. Threat: guessing, so the secret has 190 random
 * bits; and load, so the checksum (CRC-32 of everything before it) rejects a mistyped or invented key without a database query.
 * The checksum protects nothing else.
 */
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const PREFIX = 8
const SECRET = 32
const CHECKSUM = 6
const FORM = new RegExp(`^fh_([0-9A-Za-z]{${PREFIX}})_[0-9A-Za-z]{${SECRET + CHECKSUM}}$`)

/** A well-formed key: the prefix, which may be displayed, and the SHA-256 (hex) by which its database finds it. */
export type ApiKeyCredential = { prefix: string; hash: string }

/** Random characters, uniformly distributed: bytes beyond the last whole alphabet are discarded. */
function random(length: number): string {
  let text = ''
  while (text.length < length)
    for (const byte of crypto.getRandomValues(new Uint8Array(length)))
      if (byte < 4 * ALPHABET.length && text.length < length) text += ALPHABET[byte % ALPHABET.length]
  return text
}

/** CRC-32 (ISO 3309, as in zip) of ASCII text. */
export function crc32(text: string): number {
  let crc = 0xffffffff
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i)
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

function checksum(text: string): string {
  let [rest, word] = [crc32(text), '']
  for (; word.length < CHECKSUM; rest = Math.floor(rest / ALPHABET.length)) word = `${ALPHABET[rest % ALPHABET.length]}${word}`
  return word
}

/** A new key. `prefix` is the part that may be displayed later. */
export function newKey(): { prefix: string; key: string } {
  const prefix = random(PREFIX)
  const text = `fh_${prefix}_${random(SECRET)}`
  return { prefix, key: text + checksum(text) }
}

/** The prefix of a well-formed key with a correct checksum; null for anything else. */
export function prefixOf(key: string): string | null {
  const [, prefix] = FORM.exec(key) ?? []
  return prefix && checksum(key.slice(0, -CHECKSUM)) === key.slice(-CHECKSUM) ? prefix : null
}
