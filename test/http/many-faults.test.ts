/** Threat: a small request of a stranger that is answered with a large one, and holds an isolate while that is written. */
import { beforeAll, describe, expect, it } from 'vitest'
import { call, makeTenant } from '../support/people.ts'

beforeAll(() => makeTenant('faulty'))

/** Wrong keys in a body of nearly 1 MiB. */
const KEYS = 90_000
const wrong = Object.fromEntries(Array.from({ length: KEYS }, (_, n) => [`k${n}`, 0]))
const size = ({ body }: { body: unknown }) => JSON.stringify(body).length

describe('a body with ninety thousand faults', () => {
  it.each([
    ['JSON', { raw: JSON.stringify(wrong) }, {}],
    ['a form', { raw: Object.keys(wrong).join('=&') }, { 'Content-Type': 'application/x-www-form-urlencoded' }],
  ])('as %s is told the first twenty and how many more there are, in little', async (_, body, headers) => {
    const answer = await call('faulty', '/api/v1/auth/login', { ...body, headers, method: 'POST' })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request'])
    expect(answer.body.errors).toHaveLength(21)
    expect(answer.body.errors.at(-1)).toEqual({ pointer: '#', detail: expect.stringMatching(/^and \d+ more$/) })
    expect(size(answer)).toBeLessThan(8_192)
  })

  it('is told in Spanish, too', async () => {
    const answer = await call('faulty', '/api/v1/auth/login', {
      raw: JSON.stringify(wrong),
      headers: { 'Accept-Language': 'es' },
      method: 'POST',
    })
    expect(answer.body.errors.at(-1).detail).toMatch(/^y \d+ más$/)
  })

  it('with names of 10,000 characters is told of them in 200', async () => {
    const long = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}${'~/'.repeat(5_000)}`, 0]))
    const answer = await call('faulty', '/api/v1/auth/login', { body: long })
    expect(answer.status).toBe(400)
    for (const { pointer } of answer.body.errors) expect(pointer.length).toBeLessThanOrEqual(200)
    expect(size(answer)).toBeLessThan(8_192)
  })

  it('of twenty requests at once each is answered so', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('faulty', '/api/v1/auth/login', { raw: JSON.stringify(wrong), method: 'POST' })),
    )
    for (const answer of answers) expect([answer.status, size(answer) < 8_192]).toEqual([400, true])
  })
})
