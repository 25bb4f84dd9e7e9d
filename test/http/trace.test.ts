import { describe, expect, it } from 'vitest'
import { traceId } from '../../src/http/trace.ts'

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
