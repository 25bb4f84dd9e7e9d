/** Threat: a name that is put into a sentence, made so that finding its Spanish is work. */
import { describe, expect, it } from 'vitest'
import { learnSpanish, SPANISH } from '../../src/i18n/language.ts'
import { spanish } from '../../src/i18n/spanish/spanish.ts'

learnSpanish(spanish)

const took = (work: () => unknown) => {
  const from = performance.now()
  work()
  return performance.now() - from
}

describe('a sentence', () => {
  it('that nobody knows stays as it is', () => {
    expect(SPANISH.sentence('Nobody wrote this.')).toBe('Nobody wrote this.')
    expect(SPANISH.sentence('')).toBe('')
  })

  it('keeps its values as they are, whatever they look like', () => {
    const name = '$1 $& {role} \\ is taken.\n(.*)'
    expect(SPANISH.sentence(`The subdomain ${name} is taken.`)).toBe(`El subdominio ${name} está ocupado.`)
  })

  it('puts a list into Spanish phrase by phrase, and a remedy within another sentence', () => {
    expect(SPANISH.sentence('The tenant is erasing, not active or inactive.')).toBe(
      'El estado del inquilino es erasing, no active o inactive.',
    )
    expect(SPANISH.sentence('The permission a:b is in use: the roles x, y; overrides of ana.')).toBe(
      'El permiso a:b está en uso: los roles x, y; excepciones de ana.',
    )
    expect(SPANISH.sentence('The unit still contains users.')).toBe('La unidad todavía contiene usuarios.')
    const again = 'Try again; name the trace id when you report it.'
    expect(
      SPANISH.sentence(`${again} The result of the lines after the last one reported is unknown: send the file again.`),
    ).toMatch(/^Inténtalo de nuevo; si das aviso.* Se desconoce el resultado/)
  })

  it('goes into the pattern that says most of it', () => {
    expect(SPANISH.sentence('The role a is b belongs to the system and keeps its name.')).toBe(
      'El rol a is b es del sistema y conserva su nombre.',
    )
  })

  it('of more than a thousand characters is not looked for', () => {
    const long = `There is no tenant ${'x'.repeat(1000)}.`
    expect(SPANISH.sentence(long)).toBe(long)
  })

  it('made of nothing but beginnings of patterns costs at most some milliseconds', () => {
    SPANISH.sentence('warm')
    const hostile = [
      `The role ${'is '.repeat(330)}`,
      `You do not hold ${' at scope '.repeat(95)}`,
      `The tenant is ${', not '.repeat(160)}`,
      ' is not a role of this tenan'.repeat(35),
      `The permission ${'is in use: '.repeat(89)}`,
    ]
    for (const sentence of hostile) {
      expect(sentence.length).toBeLessThanOrEqual(1000)
      expect(Math.min(...[1, 2, 3].map(() => took(() => SPANISH.sentence(sentence)))), sentence.slice(0, 30)).toBeLessThan(20)
    }
  })
})
