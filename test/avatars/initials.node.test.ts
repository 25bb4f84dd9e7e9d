/** Threat: initials that nobody can read on their colour, and a colour that is not the same wherever somebody is shown. */
import { describe, expect, it } from 'vitest'
import { AVATAR_COLOURS, AVATAR_TEXT, colourOf, initialsOf } from '../../src/avatars/initials.ts'
import { contrastOf } from '../../src/settings/contrast.ts'

/** The palette of the requirement, most of which is too light for white text. */
const REQUIRED = ['#1e88e5', '#43a047', '#e53935', '#8e24aa', '#fb8c00', '#00acc1', '#3949ab', '#d81b60']

function hueOf(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
  const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)]
  const part = most === r ? (g - b) / (most - least) : most === g ? 2 + (b - r) / (most - least) : 4 + (r - g) / (most - least)
  return (part * 60 + 360) % 360
}

describe('the colour of somebody', () => {
  it.each(AVATAR_COLOURS.map((colour, i) => [colour, REQUIRED[i] ?? '']))(
    '%s has a contrast of 4.5:1 with its text, and the hue of %s',
    (colour, required) => {
      expect(contrastOf(colour, AVATAR_TEXT)).toBeGreaterThanOrEqual(4.5)
      expect(Math.abs(hueOf(colour) - hueOf(required))).toBeLessThan(1.5)
    },
  )

  it('is one of eight, by the first 8 digits of the sub modulo 8', () => {
    expect(new Set(AVATAR_COLOURS).size).toBe(8)
    const of = (digits: string) => colourOf(`${digits}-0000-4000-8000-000000000000`)
    expect([of('00000000'), of('00000007'), of('00000008'), of('ffffffff'), of('FFFFFFFE')]).toEqual([
      AVATAR_COLOURS[0],
      AVATAR_COLOURS[7],
      AVATAR_COLOURS[0],
      AVATAR_COLOURS[7],
      AVATAR_COLOURS[6],
    ])
    expect(of('0000000a').slice(1)).toMatch(/^[0-9a-f]{6}$/)
  })
})

describe('the initials of somebody', () => {
  it.each([
    [{ given_name: 'Ada', family_name: 'Lovelace' }, 'AL'],
    [{ given_name: 'Ada', family_name: null }, 'AD'],
    [{ given_name: null, family_name: 'Lovelace' }, 'LO'],
    [{ given_name: '', family_name: '', username: 'ada.l' }, 'AD'],
    [{ username: 'x' }, 'X'],
    [{ given_name: ' ñusta', family_name: 'óscar' }, 'ÑÓ'],
    [{ given_name: 'e\u0301mile', family_name: 'Zola' }, 'ÉZ'],
    [{ given_name: '李', family_name: '王' }, '李王'],
    [{ given_name: '<script>', family_name: '&amp;' }, 'SA'],
    [{ given_name: '"', family_name: "'", username: '<&>' }, ''],
    [{}, ''],
  ])('%o are %s', (user, initials) => {
    expect(initialsOf(user)).toBe(initials)
  })
})
