/**
 * The commonest passwords as the Worker compares them. commonest.txt has them as people write them, 155 KB; `npm run passwords` folds,
 * sorts and packs them into commonest-packed.txt, which is half as large. It is an asset of the Worker.
 */

/** Letters, each with what stands for it. `1` and `!` stand for i and for l, so these two are one letter, in words too. */
export const STANDS_FOR = new Map(
  'a4@ b8 c( e3€ g69 i1l!|¡£ o0 s5$§ t7+ z2'.split(' ').flatMap(([letter = '', ...signs]) => signs.map((sign) => [sign, letter])),
)

/** A word of fewer letters is none. */
const LEAST = 4
/** How many letters a packed word shares with the one before, as a capital: A for none, Z for 25. */
const A = 65
const MOST_SHARED = 25

/** The passwords of a list, folded, whole and without what is around their letters. Its lines are ASCII in lower case; `#` begins a comment. */
export function wordsOf(list: string): Set<string> {
  const words = new Set<string>()
  for (const line of list.split('\n')) {
    if (line.startsWith('#')) continue
    for (const text of [line, line.replace(/^[^a-z]+|[^a-z]+$/g, '')]) {
      const word = [...text].map((sign) => STANDS_FOR.get(sign) ?? (/[a-z]/.test(sign) ? sign : '')).join('')
      if (word.length >= LEAST) words.add(word)
    }
  }
  return words
}

/** Words of a to z as one text: sorted, each without the letters that it shares with the one before. */
export function packed(words: Iterable<string>): string {
  let before = ''
  return [...words]
    .sort()
    .map((word) => {
      let shared = 0
      while (shared < MOST_SHARED && shared < before.length && before[shared] === word[shared]) shared++
      before = word
      return String.fromCharCode(A + shared) + word.slice(shared)
    })
    .join('')
}

/** The words of a packed text. Lines that begin with `#` are none. */
export function unpacked(text: string): Set<string> {
  const words = new Set<string>()
  let word = ''
  for (const [, capital = '', rest] of text.replace(/^#.*\n/gm, '').matchAll(/([A-Z])([a-z]*)/g)) {
    word = word.slice(0, capital.charCodeAt(0) - A) + rest
    words.add(word)
  }
  return words
}
