/**
 * bcrypt (Provos and Mazières, 1999), computed in slices (slices.ts). The libraries compute it in one piece, or yield by the
 * clock, which stands still in a Worker while it computes; none lets its caller count the rounds (decision 16). Held to the
 * published vectors and to bcryptjs.
 */
import { decodeBase64IgnorePadding, encodeBase64NoPadding } from '@oslojs/encoding'
import type { EndSlice } from './slices.ts'

/** Rounds in a slice: 6 to 7 ms of CPU in workerd (decision 16 says how that was measured). */
const SLICE = 128

const STANDARD = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const OWN = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const translate = (text: string, from: string, to: string) => text.replace(/./g, (sign) => to.charAt(from.indexOf(sign)))

/** A cipher's subkeys (18 words), and behind them its four S-boxes (256 words each). */
const SUBKEYS = 18
const WORDS = SUBKEYS + 4 * 256

/**
 * The 31 characters of a bcrypt hash behind its salt. `salt` is 22 characters, of whose last one the upper two bits count. Of the
 * password the first 72 bytes count.
 */
export async function bcrypt(password: string, cost: number, salt: string, endSlice: EndSlice): Promise<string> {
  // The key is cyclic: with its NUL a password would be the same as twice itself, with one between them.
  const key = cycled(new TextEncoder().encode(`${password.replaceAll('\0', '\u{10ffff}')}\0`))
  const last = OWN.charAt(OWN.indexOf(salt.charAt(21)) & 0b110000)
  const salted = cycled(decodeBase64IgnorePadding(translate(salt.slice(0, 21) + last, OWN, STANDARD)))
  const cipher = (await initialWords(endSlice)).slice()
  expand(cipher, key, salted)
  for (let round = 1; round <= 2 ** cost; round++) {
    expand(cipher, key, null)
    expand(cipher, salted, null)
    if (round % SLICE === 0) await endSlice()
  }
  const bytes = new Uint8Array(24)
  const view = new DataView(bytes.buffer)
  new TextEncoder().encodeInto('OrpheanBeholderScryDoubt', bytes)
  for (let at = 0; at < 24; at += 8) {
    const block = Int32Array.of(view.getInt32(at), view.getInt32(at + 4))
    for (let i = 0; i < 64; i++) encipher(cipher, block)
    view.setInt32(at, block[0] as number)
    view.setInt32(at + 4, block[1] as number)
  }
  return translate(encodeBase64NoPadding(bytes.subarray(0, 23)), STANDARD, OWN)
}

/** The first 18 words of these bytes, repeated. */
function cycled(bytes: Uint8Array): Int32Array {
  const view = new DataView(Uint8Array.from({ length: 4 * SUBKEYS }, (_, i) => bytes[i % bytes.length] as number).buffer)
  return Int32Array.from({ length: SUBKEYS }, (_, i) => view.getInt32(4 * i))
}

/** One expansion of a key: replaces all words of the cipher. With a salt (four words, cycled), the expensive one. */
function expand(cipher: Int32Array, key: Int32Array, salt: Int32Array | null): void {
  for (let i = 0; i < SUBKEYS; i++) cipher[i] = (cipher[i] as number) ^ (key[i] as number)
  const block = new Int32Array(2)
  for (let i = 0; i < WORDS; i += 2) {
    if (salt) {
      block[0] = (block[0] as number) ^ (salt[i & 3] as number)
      block[1] = (block[1] as number) ^ (salt[(i & 3) + 1] as number)
    }
    encipher(cipher, block)
    cipher[i] = block[0] as number
    cipher[i + 1] = block[1] as number
  }
}

/** Blowfish: enciphers a block of two words in place. */
function encipher(cipher: Int32Array, block: Int32Array): void {
  let left = block[0] as number
  let right = block[1] as number
  for (let i = 0; i < 16; i += 2) {
    left ^= cipher[i] as number
    right ^= mixed(cipher, left) ^ (cipher[i + 1] as number)
    left ^= mixed(cipher, right)
  }
  block[0] = right ^ (cipher[17] as number)
  block[1] = left ^ (cipher[16] as number)
}

/** Blowfish's function F, by the S-boxes. */
function mixed(cipher: Int32Array, word: number): number {
  const sum = (cipher[18 + (word >>> 24)] as number) + (cipher[274 + ((word >>> 16) & 255)] as number)
  return ((sum ^ (cipher[530 + ((word >>> 8) & 255)] as number)) + (cipher[786 + (word & 255)] as number)) | 0
}

let initial: Int32Array | undefined

/** The words with which a cipher begins: the fraction of pi. Computed once in an isolate, by Machin's formula: 30 ms. */
async function initialWords(endSlice: EndSlice): Promise<Int32Array> {
  if (initial) return initial
  const bits = BigInt(32 * WORDS)
  const guard = 64n
  const arctan = async (inverse: bigint) => {
    let power = (1n << (bits + guard)) / inverse
    let sum = power
    for (let n = 3n; power !== 0n; n += 2n) {
      power = -power / (inverse * inverse)
      sum += power / n
      if (n % 4096n === 1n) await endSlice()
    }
    return sum
  }
  const pi = 16n * (await arctan(5n)) - 4n * (await arctan(239n))
  const hex = BigInt.asUintN(32 * WORDS, pi >> guard)
    .toString(16)
    .padStart(8 * WORDS, '0')
  initial = Int32Array.from({ length: WORDS }, (_, i) => Number.parseInt(hex.slice(8 * i, 8 * i + 8), 16) | 0)
  return initial
}
