/** What is shown of somebody without a picture: initials, on a colour that is theirs for ever. Of the Worker and of `freehold/client`. */

/** White text has a contrast of 4.5:1 and more on each (test/avatars/initials.node.test.ts). */
export const AVATAR_COLOURS = ['#1a77c8', '#37843b', '#da3632', '#8e24aa', '#ae6100', '#008191', '#3949ab', '#d81b60'] as const
export const AVATAR_TEXT = '#ffffff'

/** The colour of a user: the first 8 hexadecimal digits of their `sub`, modulo 8. */
export const colourOf = (sub: string): string =>
  AVATAR_COLOURS[Number.parseInt(sub.slice(0, 8), 16) % AVATAR_COLOURS.length] ?? AVATAR_COLOURS[0]

type Named = { given_name?: string | null; family_name?: string | null; username?: string | null }

/** One letter of each name, two of the only one, or two of the username; letters as readers count them. */
export function initialsOf({ given_name, family_name, username }: Named): string {
  const [given, family] = [lettersOf(given_name), lettersOf(family_name)]
  const [one = [], other = []] = given.length ? [given, family] : [family, []]
  const letters = one.length ? (other.length ? [one[0], other[0]] : one.slice(0, 2)) : lettersOf(username).slice(0, 2)
  return letters.join('').toUpperCase()
}

/** Letters and digits of a name, each with its marks. */
const lettersOf = (name: string | null | undefined): string[] => (name ?? '').normalize('NFC').match(/[\p{L}\p{N}]\p{M}*/gu) ?? []
