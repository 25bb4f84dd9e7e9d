/** Threat: a text that cannot be read on the colour that a tenant chose. */
import { describe, expect, it } from 'vitest'
import {
  BACKGROUNDS,
  contrastOf,
  DEFAULT_ACCENT,
  luminanceOf,
  readableOn,
  schemesOf,
  textOn,
} from '../../src/settings/contrast.ts'

/** `#rrggbb` of a hue in degrees, with saturation and lightness from 0 to 1 (CSS Color 4, section 7.1). */
function hsl(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12
    const part = lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))
    return Math.round(part * 255)
      .toString(16)
      .padStart(2, '0')
  }
  return `#${channel(0)}${channel(8)}${channel(4)}`
}

const HUES = Array.from({ length: 360 }, (_, hue) => hue)
const LIGHTNESSES = [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1]

describe('the contrast is that of WCAG', () => {
  it.each([
    ['#000000', '#ffffff', 21],
    ['#ffffff', '#ffffff', 1],
    ['#777777', '#ffffff', 4.48],
    ['#767676', '#ffffff', 4.54],
    ['#ff0000', '#ffffff', 4],
    ['#0000ff', '#ffffff', 8.59],
    ['#1f4e79', '#ffffff', 8.65],
  ])('of %s and %s: %d', (one, other, contrast) => {
    expect(contrastOf(one, other)).toBeCloseTo(contrast, 1)
    expect(contrastOf(other, one)).toBe(contrastOf(one, other))
  })

  it('of which the luminance of the primaries is what they weigh', () => {
    expect(['#ff0000', '#00ff00', '#0000ff'].map((colour) => luminanceOf(colour).toFixed(4))).toEqual([
      '0.2126',
      '0.7152',
      '0.0722',
    ])
  })
})

describe('4.5:1 is reached', () => {
  it.each([1, 0.5, 0])('by every hue at saturation %d, on both backgrounds and by the text on it', (saturation) => {
    const wrong = HUES.flatMap((hue) =>
      LIGHTNESSES.flatMap((lightness) => {
        const chosen = hsl(hue, saturation, lightness)
        const schemes = schemesOf(chosen)
        const pairs: [string, string][] = [
          [chosen, textOn(chosen)],
          [schemes.light.accent, BACKGROUNDS.light],
          [schemes.light.accent, schemes.light.text],
          [schemes.dark.accent, BACKGROUNDS.dark],
          [schemes.dark.accent, schemes.dark.text],
        ]
        return pairs.filter(([one, other]) => contrastOf(one, other) < 4.5).map((pair) => [chosen, ...pair])
      }),
    )
    expect(wrong).toEqual([])
  })

  it('also on a background of any grey', () => {
    const greys = Array.from({ length: 256 }, (_, i) => `#${i.toString(16).padStart(2, '0').repeat(3)}`)
    expect(greys.filter((grey) => contrastOf(readableOn(grey, grey), grey) < 4.5)).toEqual([])
  })
})

describe('a colour', () => {
  it('stays as it was chosen where it can be read', () => {
    expect(schemesOf('#1f4e79').light.accent).toBe('#1f4e79')
    expect(schemesOf('#ffd400').dark.accent).toBe('#ffd400')
  })

  it('changes as little as it takes: one step less would not do', () => {
    const made = readableOn('#ffffff', '#ffd400')
    expect(contrastOf(made, '#ffffff')).toBeGreaterThanOrEqual(4.5)
    expect(contrastOf(made, '#ffffff')).toBeLessThan(4.7)
  })

  it('that nobody chose is the default', () => expect(schemesOf(null)).toEqual(schemesOf(DEFAULT_ACCENT)))
})
