import { expect, it } from 'vitest'
import { accentOf, contrast } from '../../src/pages/colours.ts'

const rgb = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number]

it.each(['1f4e79', '000000', 'ffffff', 'ffff00', 'ff0000', '00ff00', '0000ff', '777777', 'e91e63', '0b0e12'])(
  'whatever colour a tenant chose (%s) can be read in both schemes, as a text and under one',
  (hex) => {
    const { light, dark } = accentOf(hex)
    for (const [accent, back] of [
      [light.accent, '#f4f5f7'],
      [light.accent, light.on],
      [dark.accent, '#171b21'],
      [dark.accent, '#2a3038'],
      [dark.accent, dark.on],
    ] as const)
      expect(contrast(rgb(accent), rgb(back)), `${accent} on ${back}`).toBeGreaterThanOrEqual(4.5)
  },
)

it('a colour that can be read already stays as it is', () => {
  expect(accentOf('1f4e79').light.accent).toBe('#1f4e79')
  expect(accentOf('7fb2ff').dark.accent).toBe('#7fb2ff')
})
