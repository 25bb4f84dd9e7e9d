/** The list of planted faults keeps up with the sources: one that is not there any more is noticed in seconds, and not by `npm run test:faults`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../house/sources.ts'
import { FAULTS, type Fault } from './faults.ts'
import { timesFound } from './plant.ts'

describe.each(FAULTS.map((fault): [string, Fault] => [fault.name, fault]))('the fault “%s”', (_, fault) => {
  it('replaces a text that is in its file once', () => expect(timesFound(fault)).toBe(1))

  it('changes something, and names tests that there are', () => {
    expect(fault.becomes).not.toBe(fault.text)
    expect(existsSync(join(ROOT, fault.noticed[0]))).toBe(true)
  })
})

it('no two faults have one name', () => expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length))
