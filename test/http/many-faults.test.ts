/** Threat: a small request of a stranger that is answered with a large one, and holds an isolate while that is written. */
import { beforeAll, describe, expect, it } from 'vitest'
import { call, makeTenant } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'

beforeAll(() => makeTenant('faulty'))

const keys = (count: number) => Array.from({ length: count }, (_, n) => `k${n}`)
const wrong = (count: number) => JSON.stringify(Object.fromEntries(keys(count).map((key) => [key, 0])))
/** As many wrong keys as fit into the 16 KiB of a login, and into the 1 MiB of other bodies. */
const [FEW, MANY] = [1_500, 90_000]
const size = ({ body }: { body: unknown }) => JSON.stringify(body).length
const LOGIN = '/api/v1/auth/login'

describe('a body of nothing but faults', () => {
  it.each([['JSON', { raw: wrong(FEW) }, {}]])(
    'as %s is told the first twenty and how many more there are, in little',
    async (_, body, headers) => {
      const answer = await call('faulty', LOGIN, { ...body, headers, method: 'POST' })
      expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request'])
      expect(answer.body.errors).toHaveLength(21)
      expect(answer.body.errors.at(-1)).toEqual({ pointer: '#', detail: expect.stringMatching(/^and \d+ more$/) })
      expect(size(answer)).toBeLessThan(8_192)
    },
  )

  it('is told in Spanish, too', async () => {
    const headers = { 'Accept-Language': 'es' }
    const answer = await call('faulty', LOGIN, { raw: wrong(FEW), headers, method: 'POST' })
    expect(answer.body.errors.at(-1).detail).toMatch(/^y \d+ más$/)
  })

  it('with names of 10,000 characters is told of them in 200', async () => {
    const long = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}${'~/'.repeat(5_000)}`, 0]))
    const answer = await call('faulty', '/api/v1/units', { body: long, token: await tokenOf('faulty') })
    expect(answer.status).toBe(400)
    for (const { pointer } of answer.body.errors) expect(pointer.length).toBeLessThanOrEqual(200)
    expect(size(answer)).toBeLessThan(8_192)
  })

  it('of 1 MiB, ninety thousand faults, is told in no more, and twenty of them at once each', async () => {
    const token = await tokenOf('faulty')
    const raw = wrong(MANY)
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('faulty', '/api/v1/units', { raw, token, method: 'POST' })),
    )
    for (const answer of answers) expect([answer.status, size(answer) < 8_192]).toEqual([400, true])
  })
})
