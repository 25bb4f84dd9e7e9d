/** Threat: a stranger's request of 1 MiB that is answered with more than it is worth, or that fails in a way nobody foresaw. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type WorstBody, worstBodies } from '../../scripts/bench/bodies.ts'
import { type Door, doorsOf } from '../support/doors.ts'
import { type Heard, knock } from '../support/knock.ts'
import { expectOAuthError, expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'worst'
const KIB = 1024
const FIELDS = ['username', 'email', 'password', 'token', 'new_password', 'refresh_token', 'given_name', 'phone']
let open: Door[]

beforeAll(async () => {
  await copyTenant(AT)
  open = (await doorsOf()).filter(({ is_public, method }) => is_public && method !== 'GET')
})

const send = ({ path, on_platform, method }: Door, { type, text }: WorstBody, in_chunks = false): Promise<Heard> =>
  knock(`http://${on_platform ? '' : `${AT}.`}freehold.test${path}`, {
    method,
    headers: { 'Content-Type': type },
    body: in_chunks ? new Blob([text]).stream() : text,
  })

function expectLittle(answer: Heard, about: string) {
  if (answer.body.error) expectOAuthError(answer, answer.status, 'invalid_request', about)
  else expectProblem(answer, answer.status, answer.body.code, about)
  expect([400, 413, 415], about).toContain(answer.status)
  expect(answer.text.length, about).toBeLessThan(64 * KIB)
}

describe('the worst bodies', () => {
  it.each([16, 1024])(
    'of %i KiB are refused in less than 64 KiB at every public route, half of them with a length, half in chunks',
    async (kib) => {
      expect(open.length).toBeGreaterThan(10)
      const bodies = worstBodies(kib * KIB, FIELDS)
      for (const [n, door] of open.entries())
        for (const [m, body] of bodies.entries()) {
          const answer = await send(door, body, (n + m) % 2 === 1)
          expectLittle(answer, `${door.name}: ${body.name} as ${body.type}`)
          if (kib > 16 && door.types.includes(body.type)) expect(answer.status).toBe(413)
        }
    },
  )

  it('are refused so at twenty at once, too', async () => {
    for (const body of worstBodies(16 * KIB, FIELDS)) {
      const doors = Array.from({ length: 20 }, (_, n) => open[n % open.length] as Door)
      const answers = await Promise.all(doors.map((door) => send(door, body)))
      for (const answer of answers) expectLittle(answer, `${body.name} as ${body.type}`)
    }
  })
})
