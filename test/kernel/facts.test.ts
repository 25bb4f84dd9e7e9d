import { describe, expect, it } from 'vitest'
import { traceId } from '../../src/kernel/trace.ts'
import { taxIdFault } from '../../src/tenants/tax-id.ts'
import { newRuc } from '../support/people.ts'

describe('a tax id', () => {
  it.each(['20100070970', '20131312955', '20100047218', '20100053455', '20100190797', '20503840121'])(
    'of Peru that is real is right: %s',
    (ruc) => {
      expect(taxIdFault('PE', ruc)).toBeNull()
    },
  )

  it('of Peru has one right check digit of ten', () => {
    for (let i = 0; i < 50; i++) {
      const head = newRuc().slice(0, 10)
      const right = Array.from({ length: 10 }, (_, digit) => taxIdFault('PE', `${head}${digit}`)).filter(
        (fault) => fault === null,
      )
      expect(right).toHaveLength(1)
    }
  })

  it('of Peru is wrong when two neighbours that differ change places', () => {
    const ruc = '20131312955'
    for (let i = 0; i < 9; i++) {
      if (ruc[i] === ruc[i + 1]) continue
      const changed = `${ruc.slice(0, i)}${ruc[i + 1]}${ruc[i]}${ruc.slice(i + 2)}`
      expect(taxIdFault('PE', changed), changed).not.toBeNull()
    }
  })

  it.each([
    '',
    '2010007097',
    '201000709700',
    '2010007097x',
    ' 20100070970',
    '20100070970\n',
    '２０１０００７０９７０',
    '-0100070970',
    '2e100070970',
  ])('of Peru has 11 digits, which %j has not', (ruc) => {
    expect(taxIdFault('PE', ruc)).toBe('must have 11 digits (RUC)')
  })

  it.each([
    ['ES', 'B-12345678', null],
    ['US', '1', null],
    ['DE', 'x'.repeat(32), null],
    ['DE', 'x'.repeat(33), 'must have at most 32 characters'],
  ])('of %s is free: %s', (country, text, fault) => expect(taxIdFault(country, text)).toBe(fault))
})

describe('a trace id', () => {
  const GIVEN = '4bf92f3577b34da6a3ce929d0e0e4736'

  it('is the caller’s', () => expect(traceId(`00-${GIVEN}-00f067aa0ba902b7-01`)).toBe(GIVEN))

  it.each([
    undefined,
    '',
    GIVEN,
    `00-${GIVEN}-00f067aa0ba902b7`,
    `00-${GIVEN.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `ff-${GIVEN}-00f067aa0ba902b7-01`,
    `00-${GIVEN}-00f067aa0ba902b7-01\n`,
    `00-${GIVEN}-00f067aa0ba902b7-01-x`,
    `00-${GIVEN.slice(1)}-00f067aa0ba902b7-01`,
    `00-${GIVEN.slice(0, 28)}'or'-00f067aa0ba902b7-01`,
  ])('is a new one for %j', (traceparent) => {
    const made = traceId(traceparent)
    expect(made).toMatch(/^[0-9a-f]{32}$/)
    expect(made).not.toBe(GIVEN)
    expect(traceId(traceparent)).not.toBe(made)
  })
})

describe('what Cloudflare refuses in production only', () => {
  it('is refused here too: more than 100,000 iterations in one call', async () => {
    const material = await crypto.subtle.importKey('raw', new TextEncoder().encode('x'), 'PBKDF2', false, [
      'deriveBits',
      'deriveKey',
    ])
    const algorithm = (iterations: number) => ({ name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(16), iterations })
    const aes = { name: 'AES-GCM', length: 256 }
    for (const iterations of [600_000, 100_001]) {
      const error = await crypto.subtle.deriveBits(algorithm(iterations), material, 256).catch((e: Error) => e)
      expect(error).toMatchObject({ name: 'NotSupportedError', message: expect.stringContaining('100000 are not supported') })
      await expect(crypto.subtle.deriveKey(algorithm(iterations), material, aes, false, ['encrypt'])).rejects.toThrow(
        'not supported',
      )
    }
    expect((await crypto.subtle.deriveBits(algorithm(100_000), material, 256)).byteLength).toBe(32)
  })
})
