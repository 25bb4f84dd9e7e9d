/** Threat: the ids of the Worker's keys are told to whoever asks; or with them a key. */
import { beforeAll, describe, expect, it } from 'vitest'
import { settings } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = '/platform/v1/keys'
let owner: string

beforeAll(async () => {
  owner = await operatorToken()
  await copyTenant('keyed-ids')
})

/** An operator with a role. */
async function operator(name: string, role: string): Promise<string> {
  const email = `${name}@freehold.test`
  const { body: made } = await call('', '/platform/v1/operators', { token: owner, body: { email, role } })
  const password = { new_password: 'Quiet-Ledger-52', must_change_password: false }
  const reset = await call('', `/platform/v1/operators/${made.id}/reset-password`, { token: owner, body: password })
  expect(reset.status, JSON.stringify(reset.body)).toBe(200)
  const entered = await call('', '/platform/v1/auth/login', { body: { email, password: password.new_password } })
  expect(entered.status, JSON.stringify(entered.body)).toBe(200)
  return entered.body.access_token
}

describe('the keys of the Worker', () => {
  it('are told to an owner by their ids, in their order, and nothing of a key is', async () => {
    const { ENCRYPTION_KEYS, OWNER_KEYS } = settings()
    const ids = (ring: { id: string }[]) => ring.map(({ id }) => id)
    const answer = await call('', AT, { token: owner })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body).toEqual({ encryption_keys: ids(ENCRYPTION_KEYS), owner_keys: ids(OWNER_KEYS) })
    expect(answer.headers.get('Cache-Control')).toContain('no-store')
    const many = await Promise.all(Array.from({ length: 20 }, () => call('', AT, { token: owner })))
    expect(many.map(({ status }) => status)).toEqual(Array(20).fill(200))
  })

  it('are not told to who is no owner', async () => {
    expectProblem(await call('', AT), 401, 'token_missing')
    expectProblem(await call('', AT, { token: await tokenOf('keyed-ids') }), 401, 'token_wrong_tenant')
    expectProblem(await call('keyed-ids', AT, { token: owner }), 404, 'not_found')
    for (const role of ['auditor', 'operator'])
      expectProblem(await call('', AT, { token: await operator(`keyed-${role}`, role) }), 403, 'forbidden')
  })

  it('cannot be written', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      expect((await call('', AT, { token: owner, method, body: {} })).status, method).toBeGreaterThanOrEqual(404)
  })
})
