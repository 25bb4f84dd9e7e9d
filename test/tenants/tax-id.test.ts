import { describe, expect, it } from 'vitest'
import { taxIdFault } from '../../src/tenants/provisioning/tax-id.ts'
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
