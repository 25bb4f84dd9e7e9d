/** Threat: text of 1 MiB that is normalised, and grows, before anybody looks at its length. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Line, Moment, Text } from '../../src/kernel/fields.ts'
import { Email } from '../../src/names/addresses.ts'
import { Phone, Username } from '../../src/users/fields.ts'

/** Eighteen characters in NFKC. */
const GROWS = 'ﷺ'

afterEach(() => vi.restoreAllMocks())

const fields = [
  ['Text', Text(64), 64],
  ['Line', Line(64), 64],
  ['Email', Email, 255],
  ['Username', Username, 64],
  ['Phone', Phone, 32],
] as const

describe('a text that is far too long', () => {
  it.each(fields)('as %s is refused by its length before it is normalised', (_, field, max) => {
    const normalize = vi.spyOn(String.prototype, 'normalize')
    const { error } = field.safeParse(GROWS.repeat(350_000))
    expect(error?.issues.map(({ message }) => message)).toEqual([`must have at most ${max} characters`])
    expect(normalize).not.toHaveBeenCalled()
  })

  it.each(fields)(
    'as %s is measured as it is stored: what is written with three characters for one has room',
    (_, field, max) => {
      const { error } = field.safeParse('ǖ'.normalize('NFD').repeat(max))
      expect(error?.issues.filter(({ code }) => code === 'too_big') ?? []).toEqual([])
      expect(field.safeParse('x'.repeat(max + 1)).error?.issues.some(({ code }) => code === 'too_big')).toBe(true)
    },
  )
})

describe('a timestamp', () => {
  it.each([
    ['yesterday', 'must be a timestamp as in RFC 3339'],
    ['2026-13-40T25:00:00Z', 'must be a timestamp as in RFC 3339'],
    ['0000-01-01T00:00:00Z', 'must lie in the years 1 to 9999'],
  ])('%s is refused for one reason', (written, reason) => {
    expect(Moment.safeParse(written).error?.issues.map(({ message }) => message)).toEqual([reason])
  })
})
