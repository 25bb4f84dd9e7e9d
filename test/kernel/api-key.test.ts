import { describe, expect, it } from 'vitest'
import { crc32, newKey, prefixOf } from '../../src/kernel/api-key.ts'

describe('an API key', () => {
  it('has a prefix to be known by, a secret of at least 190 random bits, and a checksum', () => {
    const { prefix, key } = newKey()
    expect(key).toMatch(/^fh_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}$/)
    expect(prefixOf(key)).toBe(prefix)
    expect(32 * Math.log2(62)).toBeGreaterThan(190)
  })

  it('is made of all 62 characters, each as often as any other', () => {
    const seen = new Map<string, number>()
    for (let i = 0; i < 2_000; i++) for (const letter of newKey().key.slice(12, -6)) seen.set(letter, (seen.get(letter) ?? 0) + 1)
    const mean = (2_000 * 32) / 62
    expect(seen.size).toBe(62)
    // Six standard deviations: that a fair alphabet fails is less likely than once in ten million runs.
    for (const [letter, times] of seen) expect(Math.abs(times - mean), letter).toBeLessThan(6 * Math.sqrt(mean))
  })

  it('has the CRC-32 of zip and of GitHub’s tokens', () => {
    expect(crc32('123456789')).toBe(0xcbf43926)
    expect(crc32('')).toBe(0)
    expect(crc32('The quick brown fox jumps over the lazy dog')).toBe(0x414fa339)
  })

  it('is known to be wrong by any one character that is another, by two that changed places, and by length', () => {
    const { key } = newKey()
    const typed: string[] = [
      key.slice(0, -1),
      key.slice(1),
      `${key}a`,
      ` ${key}`,
      `${key}\n`,
      key.replace('_', ''),
      '',
      'fh_',
      'x'.repeat(8_000),
    ]
    typed.push(key.replace('fh_', 'FH_'), key.replace('fh_', 'gh_'), key.toUpperCase(), key.toLowerCase())
    for (let i = 0; i < key.length; i++) {
      const [left, one = '', two = '', right] = [key.slice(0, i), key[i], key[i + 1], key.slice(i + 2)]
      for (const other of ['a', 'B', '7', '_', '-', 'ä', '0']) if (other !== one) typed.push(left + other + key.slice(i + 1))
      if (two && one !== two) typed.push(left + two + one + right)
    }
    for (const wrong of typed.filter((text) => text !== key)) expect(prefixOf(wrong), wrong).toBeNull()
  })
})
