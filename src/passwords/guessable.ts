/**
 * What is guessed first. Threat: a password that keeps every rule about its length and characters, and that a cracking program makes
 * in its first minute: a common one, the name of the tenant or a season, in leet, with a year and a sign behind it. So a password is
 * folded before it is compared: accents and case go, `@` and `4` are an `a`. Digits and signs around words do not count. Only the
 * whole is compared, never a part: a common word among others is what passphrases are made of.
 */
import { assetText } from '../assets/assets.ts'
import type { Realm } from '../kernel/context.ts'
import { STANDS_FOR, unpacked } from './commonest.ts'
import { COMMONEST } from './commonest-sum.ts'
import { GUESSED_WORDS, PRODUCT } from './guessed-words.ts'

/** Where a password is set: names that its owner thinks of. */
export type Surroundings = Pick<Realm, 'subdomain' | 'legal_name' | 'url'>

/** One character: the letter that it is or stands for (none: ''), and whether it is one. */
type Sign = { as: string; is_letter: boolean }

/** A word of fewer letters is none: it would be found in anything. */
const LEAST = 3
/** `welcome-to-acme` is refused, a passphrase of four words and more is not, whatever they are. */
const MOST_WORDS = 3
/** How many digits and signs beside the letters may be letters: `dem0-2026`. */
const MOST_EDGE = 3
/** How many runs of characters are a sequence together. */
const MOST_RUNS = 3
/** What is on the keys of 1 to 9 and 0. */
const SHIFTED = '!@#$%^&*()'
/** A row of the alphabet, of digits or of a keyboard. */
const ROWS = [
  'abcdefghijklmnopqrstuvwxyz',
  '012345678901234567890',
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p',
  '1q2w3e4r5t6y7u8i9o0p',
].flatMap((row) => [row, [...row].reverse().join('')])

/** A text without accents and case. */
export const plain = (text: string) => text.normalize('NFKD').toLowerCase().replace(/\p{M}/gu, '')

/** A text without what is no letter at both ends. */
const withoutEdges = (text: string) => /\p{L}(.*\p{L})?/su.exec(text)?.[0] ?? ''

const signsOf = (text: string): Sign[] =>
  [...plain(text)].map((sign) => {
    const is_letter = /\p{L}/u.test(sign)
    return { as: STANDS_FOR.get(sign) ?? (is_letter ? sign : ''), is_letter }
  })

/** A text as one word of letters: `P@ss-w0rd` is `password`. */
export const folded = (text: string) =>
  [...plain(text)]
    .map((sign) => STANDS_FOR.get(sign) ?? sign)
    .join('')
    .replace(/\P{L}+/gu, '')

let common: Set<string> | undefined

/** The commonest passwords folded. Read when an isolate is first asked for them. */
const commonWords = async () => (common ??= unpacked(await assetText(COMMONEST.path, COMMONEST.checksum)))

/** What a password may mean: its letters, with more or fewer of the digits and signs at both ends read as letters. */
function readings(signs: Sign[]): string[] {
  const first = signs.findIndex(({ is_letter }) => is_letter)
  const last = signs.findLastIndex(({ is_letter }) => is_letter)
  const read = (from: number, to: number) =>
    signs
      .slice(from, to)
      .map(({ as }) => as)
      .join('')
  if (first < 0) return [read(0, signs.length)]
  const edge = [...Array(MOST_EDGE + 1).keys()]
  const starts = new Set([0, ...edge.map((n) => Math.max(0, first - n))])
  const ends = new Set([signs.length, ...edge.map((n) => Math.min(signs.length, last + 1 + n))])
  return [...starts].flatMap((start) => [...ends].map((end) => read(start, end)))
}

/** The shortest text that a text is whole repetitions of: itself, unless it repeats. */
const unitOf = (text: string) => text.slice(0, `${text}${text}`.indexOf(text, 1))

/** Letters and digits of a text, and of these what is left without digits at both ends. */
function coresOf(password: string): string[] {
  const text = plain(password).replace(/[^\p{L}\p{N}]+/gu, '')
  return [text, withoutEdges(text)]
}

/**
 * True for one of the commonest passwords, also twice and more, and with digits behind each. Fails with `asset_unavailable` when the list
 * cannot be read: nothing is taken unchecked.
 */
export async function isCommon(password: string): Promise<boolean> {
  const words = await commonWords()
  return [password, ...coresOf(password).map(unitOf)]
    .flatMap((text) => readings(signsOf(text)))
    .some((word) => words.has(word) || words.has(unitOf(word)))
}

/**
 * True for one to three characters over and over, and for a part of the alphabet or of a keyboard, with digits and signs around; also
 * for up to three runs, each of these or of one character, of three characters on average: `0123456789ab`. A shifted digit is one.
 */
export function isSequence(password: string): boolean {
  const repeats = (text: string) => unitOf(text).length <= 3 && unitOf(text) !== text
  const isRow = (text: string) => repeats(text) || ROWS.some((row) => row.includes(text))
  const isRuns = (text: string) => text.length >= LEAST && LEAST * runsIn(text) <= text.length && runsIn(text) <= MOST_RUNS
  const unshifted = plain(password).replace(/[!@#$%^&*()]/g, (sign) => String((SHIFTED.indexOf(sign) + 1) % 10))
  return (
    new Set(password).size === 1 ||
    coresOf(password).some((text) => text.length >= LEAST && isRow(text)) ||
    [...new Set([password, unshifted])].some((text) => isRuns(coresOf(text)[0] ?? ''))
  )
}

/** The least number of runs that a text is made of, each of one character or a part of a row; counts up to one more than MOST_RUNS. */
function runsIn(text: string): number {
  let rest = text
  let runs = 0
  // The longest run first is best: a part of a run is a run.
  for (; rest && runs <= MOST_RUNS; runs++) {
    let length = /^(.)\1*/su.exec(rest)?.[0].length ?? 1
    for (const row of ROWS) while (length < rest.length && row.includes(rest.slice(0, length + 1))) length++
    rest = rest.slice(length)
  }
  return runs
}

/**
 * True for up to three words, each a name of where the password is set or one that is guessed first, with digits and signs
 * anywhere between them; also for such a text twice and more.
 */
export function isMadeOfWords(password: string, at: Surroundings): boolean {
  const words = [...guessedWords(), ...namesOf(at)]
  return [password, ...coresOf(password).map(unitOf)].some((text) => coveredBy(signsOf(text), words))
}

/** Whether all letters of a text are in words, in three at most. */
function coveredBy(signs: Sign[], words: string[]): boolean {
  /** How few words the text takes up to each place. */
  const least = Array<number>(signs.length + 1).fill(Number.POSITIVE_INFINITY)
  least[0] = 0
  for (const [at, { is_letter, as }] of signs.entries()) {
    const taken = least[at] ?? Number.POSITIVE_INFINITY
    if (taken > MOST_WORDS) continue
    if (!is_letter) least[at + 1] = Math.min(least[at + 1] ?? 0, taken)
    if (!as) continue
    for (const word of words) {
      const end = endOf(word, signs, at)
      if (end) least[end] = Math.min(least[end] ?? 0, taken + 1)
    }
  }
  const all = least[signs.length] ?? 0
  return all >= 1 && all <= MOST_WORDS
}

/** Where a word ends that is read from a place, over signs that stand for no letter; 0 if it is not there. */
function endOf(word: string, signs: Sign[], from: number): number {
  let place = from
  for (const letter of word) {
    while (place > from && signs[place]?.as === '' && !signs[place]?.is_letter) place++
    if (signs[place]?.as !== letter) return 0
    place++
  }
  return place
}

let guessed: string[] | undefined

const guessedWords = () =>
  (guessed ??= [PRODUCT, ...Object.values(GUESSED_WORDS).flatMap((text) => text.split(/\s+/))].map(folded))

/** The names of the tenant, of the platform's host and of their parts, also without digits at their ends. */
function namesOf({ subdomain, legal_name, url }: Surroundings): string[] {
  const names = [subdomain ?? '', legal_name, new URL(url).hostname]
  const parts = names.flatMap((name) => [name, ...name.split(/[^\p{L}\p{N}]+/u)])
  return [...new Set([...parts, ...parts.map(withoutEdges)].map(folded))].filter((word) => word.length >= LEAST)
}
