/**
 * Backup codes: ten texts of 60 random bits, each of which works once. Threat: a copy of the database is enough to log in, or a person
 * copies one wrong. So the database keeps a MAC of their hash, and reading one forgives case, hyphens, spaces, and the letters that
 * Crockford's base32 leaves out.
 */
import { encodeHexLowerCase } from '@oslojs/encoding'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const HOW_MANY = 10
const LENGTH = 12

/** Ten new codes, such as `7Q2M-XK4D-9RTP`. */
export const newBackupCodes = (): string[] =>
  Array.from({ length: HOW_MANY }, () => {
    const letters = [...crypto.getRandomValues(new Uint8Array(LENGTH))].map((byte) => ALPHABET[byte % ALPHABET.length]).join('')
    return letters.replace(/(.{4})(?=.)/g, '$1-')
  })

/** A code as somebody typed it, as it was meant; null: it cannot be one. */
export function readBackupCode(typed: string): string | null {
  const letters = typed.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1')
  return letters.length === LENGTH && [...letters].every((letter) => ALPHABET.includes(letter)) ? letters : null
}

/** What the database is given of a code: the SHA-256, in hex, of how it was meant. */
export async function backupHash(code: string): Promise<string> {
  const meant = new TextEncoder().encode(readBackupCode(code) ?? code)
  return encodeHexLowerCase(new Uint8Array(await crypto.subtle.digest('SHA-256', meant)))
}
