/** The codes of RFC 6238, in the runtime that computes them. */
import { describe, expect, it } from 'vitest'
import { newBackupCodes, readBackupCode } from '../../src/factors/backup-codes.ts'
import { newSecret, qrOf, stepOf, uriOf } from '../../src/factors/totp.ts'

/** "12345678901234567890" in base32: the key of the RFC's test vectors. */
const KEY = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'

describe('a code', () => {
  // Appendix B, of which six digits are the last of eight.
  it.each([
    [59, '287082'],
    [1111111109, '081804'],
    [1111111111, '050471'],
    [1234567890, '005924'],
    [2000000000, '279037'],
    [20000000000, '353130'],
  ])('at %i s is %s, as the RFC says', (seconds, code) => {
    expect(stepOf(KEY, code, seconds * 1000)).toBe(Math.floor(seconds / 30))
  })

  it.each([
    [-60, null],
    [-30, 2],
    [0, 2],
    [30, 2],
    [60, null],
  ])('of a clock that is %i s ahead is of the step %s', (ahead, step) => {
    expect(stepOf(KEY, '359152', (75 + ahead) * 1000)).toBe(step)
  })

  it.each(['000000', '28708', '2870822', 'abcdef', ''])('%s is right for no step', (code) => {
    expect(stepOf(KEY, code, 59_000)).toBe(null)
  })
})

describe('a secret', () => {
  it('has 160 bits and is another each time', () => {
    const secrets = Array.from({ length: 50 }, newSecret)
    expect(new Set(secrets).size).toBe(50)
    for (const secret of secrets) expect(secret).toMatch(/^[A-Z2-7]{32}$/)
  })

  it('is told to apps with what every one of them understands', () => {
    const url = new URL(uriOf(KEY, 'Acme & Co: S.A.C.', 'cy'))
    expect([url.protocol, url.host]).toEqual(['otpauth:', 'totp'])
    expect(Object.fromEntries(url.searchParams)).toMatchObject({ secret: KEY, algorithm: 'SHA1', digits: '6', period: '30' })
    expect(decodeURIComponent(url.href)).toContain('cy')
  })

  it('is a QR code of runs, without script, below 24 KiB', () => {
    const svg = qrOf(uriOf(KEY, 'A name of a tenant that is as long as the settings allow it to be, 70 of', 'x'.repeat(64)))
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox="0 0 \d+ \d+"[^>]*>(<path [^>]*\/>){2}<\/svg>$/)
    expect(svg.length).toBeLessThan(24_576)
  })
})

describe('backup codes', () => {
  it('are ten, of 60 bits each, and all different', () => {
    const codes = Array.from({ length: 20 }, newBackupCodes).flat()
    expect(new Set(codes).size).toBe(200)
    for (const code of codes) expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}$/)
  })

  it.each(['7Q2M-XK4D-9RT1', '7q2mxk4d9rt1', ' 7Q2M XK4D 9RTI ', '7Q2M-XK4D-9RTl'])('are read as meant: %s', (typed) =>
    expect(readBackupCode(typed)).toBe('7Q2MXK4D9RT1'),
  )

  it.each(['7Q2M-XK4D-9RT', '7Q2M-XK4D-9RT12', '7Q2M-XK4D-9RTU', 'ﬁ2M-XK4D-9RTAA', '', '123456'])('%s is none', (typed) =>
    expect(readBackupCode(typed)).toBe(null),
  )
})
