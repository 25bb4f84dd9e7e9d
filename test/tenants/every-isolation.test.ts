/**
 * Threat: what holds of a tenant of one isolation does not of another, and nobody looks, because the first was looked at. So every route
 * is asked of a tenant of each isolation, as its administrator, and must answer the same. That the proof of each finds what is broken by hand: test/faults/proof.test.ts.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import type { Isolation } from '../support/faults.ts'
import { askings, NOBODY } from '../support/matrix.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { adopt, makeIsolated, type Stranger, strangersDatabase } from '../support/stranger.ts'

const ISOLATIONS: Isolation[] = ['database', 'branch', 'project', 'external']
const nameOf = (isolation: Isolation) => `same-${isolation}`
const document = (await call('', '/openapi.json')).body
const tenantRoutes = askings(document, 'tenant')

let token: string
let shop: Stranger
const made = new Map<Isolation, { id: string; session: { access_token: string; refresh_token: string } }>()
const of = (isolation: Isolation) => {
  const found = made.get(isolation)
  if (!found) throw new Error(`There is no tenant of isolation ${isolation}.`)
  return found
}

beforeAll(async () => {
  token = await operatorToken()
  shop = await strangersDatabase('same')
  await Promise.all(
    ISOLATIONS.map(async (isolation) => {
      const name = nameOf(isolation)
      const { id } =
        isolation === 'external' ? (await adopt(name, shop.url, {}, {}, token)).body : await makeIsolated(name, isolation, token)
      made.set(isolation, { id, session: await plantSession(name) })
    }),
  )
})

describe('a route answers a tenant of each isolation the same', () => {
  it.each(tenantRoutes.map((asking) => [asking.name, asking] as const))('%s', async (_, { method, path, at, body: sample }) => {
    const answers = await Promise.all(
      ISOLATIONS.map(async (isolation) => {
        const { session } = of(isolation)
        const body = /refresh/.test(path) ? { refresh_token: session.refresh_token } : /\/login$/.test(path) ? ADMIN : sample
        const answer = await call(nameOf(isolation), at, {
          // A stream does not end while it is read.
          method: path.endsWith('/stream') ? 'HEAD' : method,
          token: session.access_token,
          ...(body === undefined ? {} : { body }),
        })
        expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500)
        const keys = answer.body && typeof answer.body === 'object' ? Object.keys(answer.body).sort() : typeof answer.body
        return { status: answer.status, code: answer.body?.code, keys, trips: answer.trips }
      }),
    )
    const [first, ...others] = answers
    for (const other of others) expect(other).toEqual(first)
  })

  it('of which there are many', () => expect(tenantRoutes.length).toBeGreaterThan(80))
})

/** Routes whose answer depends on the isolation: what each answers, in the order of ISOLATIONS. */
const DIFFERENT: Record<string, RegExp[]> = {
  'POST /platform/v1/tenants/{id}/restore-point': Array<RegExp>(4).fill(/^409 illegal_state /),
  'PUT /platform/v1/tenants/{id}/connection-string': [
    ...Array<RegExp>(3).fill(/^409 illegal_state "The database of this tenant was not adopted\."$/),
    /^400 invalid_request .*must be a connection string/,
  ],
  'POST /platform/v1/tenants/{id}/undo-migration': [
    /^409 illegal_state "A tenant of isolation database has no branch of its own/,
    ...Array<RegExp>(2).fill(/^409 illegal_state "There is nothing to undo/),
    /^409 illegal_state "A tenant of isolation external has no branch of its own/,
  ],
  'POST /platform/v1/tenants/{id}/move': [
    /^409 illegal_state "The tenant has isolation database/,
    // Their keys were rotated a moment ago.
    ...Array<RegExp>(3).fill(/^409 illegal_state /),
  ],
}
const about = askings(document, 'platform', { '/platform/v1/tenants': NOBODY }).filter(
  ({ path, name }) => path.includes('/tenants/{id}') && !/events$/.test(path) && !name.startsWith('DELETE'),
)

describe('an operator’s route answers about a tenant of each isolation the same', () => {
  it.each(about.map((asking) => [asking.name, asking] as const))('%s', async (name, { method, at, body: sample }) => {
    const answers: string[] = []
    for (const isolation of ISOLATIONS) {
      const answer = await call('', at.replace(NOBODY, of(isolation).id), {
        method,
        token,
        ...(sample === undefined ? {} : { body: sample }),
      })
      expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500)
      answers.push(
        `${answer.status} ${answer.body?.code ?? ''} ${answer.status >= 400 ? JSON.stringify(answer.body.errors ?? answer.body.detail) : ''}`,
      )
    }
    const wanted = DIFFERENT[name]
    if (!wanted) expect(answers).toEqual(ISOLATIONS.map(() => answers[0]))
    else for (const [i, words] of wanted.entries()) expect(answers[i], ISOLATIONS[i]).toMatch(words)
  })
})
