/**
 * Colours for a page, made of the one that a tenant chose. Threat: a text that cannot be read on the colour of a company. So every
 * pair has a contrast of at least 4.5:1 as WCAG 2.2 computes it (success criterion 1.4.3), whatever was chosen.
 */

/** What is used where a tenant chose none. */
export const DEFAULT_ACCENT = '#1f4e79'
/** The backgrounds of pages on which a colour is hardest to read: the darkest of the light scheme, the lightest of the dark one. */
export const BACKGROUNDS = { light: '#f4f5f7', dark: '#2a3038' }
const CONTRAST = 4.5
const [BLACK, WHITE] = ['#000000', '#ffffff']
const STEPS = 100

/** `accent` can be read on the background of its scheme, and `text` on `accent`. */
export type Colours = { accent: string; text: string }

const hexOf = (channel: number) => Math.round(channel).toString(16).padStart(2, '0')
const channelsOf = (colour: string) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))

/** The relative luminance of a colour `#rrggbb`: 0 for black, 1 for white. */
export function luminanceOf(colour: string): number {
  const [r = 0, g = 0, b = 0] = channelsOf(colour).map((channel) => {
    const part = channel / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** The contrast of two colours, from 1 to 21. */
export function contrastOf(one: string, other: string): number {
  const [a, b] = [luminanceOf(one), luminanceOf(other)]
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
}

/** Black or white, whichever is read better on a colour: one of them always has 4.5:1. */
export const textOn = (colour: string) => (contrastOf(colour, WHITE) >= contrastOf(colour, BLACK) ? WHITE : BLACK)

/** `parts` of a hundred of the way from one colour to another. */
function mixed(from: string, to: string, parts: number): string {
  const ends = channelsOf(to)
  return `#${channelsOf(from)
    .map((channel, i) => hexOf(channel + (((ends[i] ?? 0) - channel) * parts) / STEPS))
    .join('')}`
}

/** As bright as a hue can be, with the same shares of red, green and blue. */
function brightest(colour: string): string {
  const most = Math.max(1, ...channelsOf(colour))
  return `#${channelsOf(colour)
    .map((channel) => hexOf((channel * 255) / most))
    .join('')}`
}

/** The colour as chosen where it can be read on a background, else as little darker or lighter as it takes. */
export function readableOn(background: string, colour: string): string {
  const end = textOn(background)
  // What is made lighter keeps its hue as long as it can.
  const way = end === WHITE ? [colour, brightest(colour), end] : [colour, end]
  for (const [i, to] of way.slice(1).entries())
    for (let parts = 0; parts < STEPS; parts++) {
      const made = mixed(way[i] ?? to, to, parts)
      if (contrastOf(made, background) >= CONTRAST) return made
    }
  return end
}

/** The colours of a tenant's pages in both schemes, made of `#rrggbb`; null: of the default. */
export function schemesOf(chosen: string | null): { light: Colours; dark: Colours } {
  const on = (background: string): Colours => {
    const accent = readableOn(background, chosen ?? DEFAULT_ACCENT)
    return { accent, text: textOn(accent) }
  }
  return { light: on(BACKGROUNDS.light), dark: on(BACKGROUNDS.dark) }
}
