/** Threat: an operator is told a code that the guide does not explain, or deletes what the guide calls harmless. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CODES, type Code } from '../../src/tenants/doctor/findings.ts'

const guide = readFileSync(new URL('../../docs/guides/doctor.md', import.meta.url), 'utf8')
/** The rows of the guide's tables, by the check that they stand under: code, meaning, what to do. */
const rows = guide.split(/^## /m).flatMap((section) =>
  [...section.matchAll(/^\| `(\w+)` +\| (.+?) +\| (.+?) +\|$/gm)].map(([, code, , remedy]) => ({
    check: section.split(':')[0],
    code: code as Code,
    fix: /^(safe|ask):/.exec(remedy ?? '')?.[1] ?? null,
  })),
)

describe('the guide', () => {
  it('explains each code once, under its check, and says of each whether it is fixed and what is asked', () => {
    const known = Object.entries(CODES).map(([code, { check, fix }]) => ({ check, code, fix }))
    expect(rows).toEqual(known)
  })
})
