/** The accent colour of a page. Threat: a colour that a tenant chose makes a text or a button that nobody can read. */

/** That of mails, too. */
export const DEFAULT_ACCENT = '1f4e79'

type Scheme = { accent: string; on: string }
export type Accent = { light: Scheme; dark: Scheme }

type Rgb = [number, number, number]
const WHITE: Rgb = [255, 255, 255]
const BLACK: Rgb = [0, 0, 0]
/** What accents stand on: the darkest back of the light scheme, and the lightest of the dark one. */
const LIGHT_PAGE: Rgb = [244, 245, 247]
const DARK_BACK: Rgb = [42, 48, 56]
const DARK_INK = '#0b0e12'
/** As WCAG 2.2 asks of text (success criterion 1.4.3). */
const CONTRAST = 4.5

const read = (hex: string): Rgb => [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as Rgb
const write = (rgb: Rgb) => `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, '0')).join('')}`

/** Relative luminance, as WCAG 2.2 defines it. */
function luminance(rgb: Rgb): number {
  const [r = 0, g = 0, b = 0] = rgb.map((part) => (part <= 10 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** The contrast of two colours, from 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}

const mix = (one: Rgb, other: Rgb, share: number) =>
  one.map((part, i) => Math.round(part + ((other[i] ?? 0) - part) * share)) as Rgb

/** The first colour on a way that can be read on `back`; its last if none can. */
function readable(way: Rgb[], back: Rgb): string {
  const from = way.findIndex((colour, i) => i > 0 && contrast(colour, back) >= CONTRAST)
  const [before = BLACK, after = before] = from < 0 ? way.slice(-1) : way.slice(from - 1, from + 1)
  for (let share = 0; share < 1; share += 0.04)
    if (contrast(mix(before, after, share), back) >= CONTRAST) return write(mix(before, after, share))
  return write(after)
}

/** As bright as its hue can be, with the same shares of red, green and blue. */
const brightest = (colour: Rgb) => mix(colour, colour.map((part) => (part * 255) / Math.max(1, ...colour)) as Rgb, 1)

/** An accent, six hexadecimal digits, for either scheme; `on` is what is written on it. */
export const accentOf = (hex: string): Accent => ({
  light: { accent: readable([read(hex), BLACK], LIGHT_PAGE), on: '#ffffff' },
  dark: { accent: readable([read(hex), brightest(read(hex)), WHITE], DARK_BACK), on: DARK_INK },
})
