/** Threat: who sets a password can be that person. So nobody does it for who holds more, for themselves, or out of their reach. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'helpdesk'
let realm: Inside
let admin: string
let soil: string
let water: string
let lead: Awaited<ReturnType<typeof addMember>>

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('helpdesk-next')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  soil = await addUnit(realm, 'team', 'soil')
  water = await addUnit(realm, 'team', 'water')
  await addRole(realm, 'lead', ['user:read', 'user:update', 'session:read', 'session:delete'], 'team')
  lead = await addMember(realm, 'lea', { roles: ['lead', 'user'], unit_id: soil })
})

const reset = (id: string, body: unknown, token = admin) => call(AT, `/api/v1/users/${id}/reset-password`, { token, body })
const enter = (username: string, password: string) => call(AT, '/api/v1/auth/login', { body: { username, password } })

describe('a reset', () => {
  it('with a password that is given: it must be changed, all sessions end, the person is mailed a link, and it is recorded', async () => {
    const moe = await addMember(realm, 'moe')
    const answer = await reset(moe.id, { new_password: 'Copper-Window-17' })
    expect([answer.status, answer.body]).toEqual([200, { user_id: moe.id, must_change_password: true }])
    expectProblem(await call(AT, '/api/v1/auth/me', { token: moe.token }), 401, 'session_ended')
    expectProblem(await enter('moe', moe.password), 401, 'invalid_credentials')
    const entered = await enter('moe', 'Copper-Window-17')
    expect(entered.body.must_change_password).toBe(true)
    expectProblem(await call(AT, '/api/v1/auth/whoami', { token: entered.body.access_token }), 403, 'password_change_required')
    expect(await sentTo(realm, moe.email)).toEqual(['password_reset_by_admin'])
    const [entry] = await realm.asOwner(
      sql`select l.user_id, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'PASSWORD_RESET' and l.resource_id = ${moe.id}`,
    )
    expect(entry?.user_id).not.toBe(moe.id)
    expect(entry?.after).toEqual({ because: 'reset_by_administrator' })
  })

  it('without one: it is generated, good for the policy, and shown this once; the link of the mail sets the person’s own', async () => {
    const nan = await addMember(realm, 'nan')
    const { body, status } = await reset(nan.id, {})
    expect(status).toBe(200)
    expect(body.initial_password).toMatch(/^.{20,}$/)
    expect((await enter('nan', body.initial_password)).body.must_change_password).toBe(true)
    const token = await secretOf(realm, 'password_reset_by_admin', nan.email)
    const confirmed = await call(AT, '/api/v1/auth/password-reset/confirm', { body: { token, new_password: 'Marble-Kettle-52' } })
    expect(confirmed.status).toBe(204)
    expect((await enter('nan', 'Marble-Kettle-52')).body.must_change_password).toBe(false)
  })

  it('works by auth/reset-password too, and need not be changed when it says so', async () => {
    const oli = await addMember(realm, 'oli')
    const body = { user_id: oli.id, new_password: 'Copper-Window-17', must_change_password: false }
    expect((await call(AT, '/api/v1/auth/reset-password', { token: admin, body })).status).toBe(200)
    expect((await enter('oli', 'Copper-Window-17')).body.must_change_password).toBe(false)
  })

  it('without one must be changed: no flag turns that off, and nothing changes then', async () => {
    const opa = await addMember(realm, 'opa')
    for (const answer of [
      await reset(opa.id, { must_change_password: false }),
      await call(AT, '/api/v1/auth/reset-password', { token: admin, body: { user_id: opa.id, must_change_password: false } }),
    ]) {
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.errors).toEqual([
        { pointer: '#/must_change_password', detail: 'cannot be false for a generated password' },
      ])
    }
    expect((await enter('opa', opa.password)).status).toBe(200)
  })

  it('names every rule that the password breaks, and changes nothing then', async () => {
    const pat = await addMember(realm, 'pat')
    const answer = await reset(pat.id, { new_password: 'pat' })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer).length).toBeGreaterThan(1)
    expect(pointers(await reset(pat.id, { new_password: pat.password }))).toEqual(['#/new_password'])
    expect((await enter('pat', pat.password)).status).toBe(200)
  })

  it('opens the lock', async () => {
    const quo = await addMember(realm, 'quo')
    for (let i = 0; i < 5; i++) await enter('quo', 'Wrong-1')
    await reset(quo.id, { new_password: 'Copper-Window-17' })
    expect((await enter('quo', 'Copper-Window-17')).status).toBe(200)
  })

  it('is not for oneself: who found an open session must not need the password', async () => {
    const [bo] = await realm.asOwner(sql`select id from freehold.users where username = 'bo'`)
    expectProblem(await reset(bo?.id, {}), 403, 'forbidden')
    const rex = await addMember(realm, 'rex')
    expectProblem(await reset(rex.id, {}, rex.token), 403, 'forbidden')
  })

  it('by who leads a team reaches the team, and nobody who holds more', async () => {
    const sue = await addMember(realm, 'sue', { unit_id: soil })
    const far = await addMember(realm, 'tom', { unit_id: water })
    const boss = await addMember(realm, 'una', { roles: ['admin'], unit_id: soil })
    expect((await reset(sue.id, {}, lead.token)).status).toBe(200)
    expectProblem(await reset(far.id, {}, lead.token), 404, 'not_found')
    expectProblem(await reset(boss.id, {}, lead.token), 403, 'forbidden')
    expect((await enter('una', boss.password)).status).toBe(200)
  })

  it('of nobody, of somebody elsewhere, with a bad id or a field too many is refused', async () => {
    const there = await addPerson(await inside('helpdesk-next'), 'vera')
    expectProblem(await reset(crypto.randomUUID(), {}), 404, 'not_found')
    expectProblem(await reset(there.id, {}), 404, 'not_found')
    expectProblem(await reset('7', {}), 400, 'invalid_request')
    expect(pointers(await reset(there.id, { password: 'x' }))).toEqual(['#/password'])
    expect(pointers(await reset(there.id, { new_password: 'x'.repeat(1025) }))).toEqual(['#/new_password'])
  })

  it('is refused without a token, with another tenant’s, and without the permission', async () => {
    const wes = await addMember(realm, 'wes')
    await addRole(realm, 'reader', ['user:read'], 'all')
    const reader = await addMember(realm, 'xia', { roles: ['reader'] })
    const mallory = await tokenOf('helpdesk-next')
    const path = `/api/v1/users/${wes.id}`
    for (const [door, body] of [
      ['reset-password', {}],
      ['unlock', undefined],
    ] as const) {
      const ask = { method: 'POST', ...(body && { body }) }
      expectProblem(await call(AT, `${path}/${door}`, ask), 401, 'token_missing')
      expectProblem(await call(AT, `${path}/${door}`, { ...ask, token: mallory }), 401, 'token_wrong_tenant')
      expectProblem(await call(AT, `${path}/${door}`, { ...ask, token: reader.token }), 403, 'forbidden')
    }
    expect((await enter('wes', wes.password)).status).toBe(200)
  })
})

describe('unlocking', () => {
  const unlock = (id: string, token = admin) => call(AT, `/api/v1/users/${id}/unlock`, { method: 'POST', token })

  it('lets somebody in at once, and is recorded', async () => {
    const yan = await addMember(realm, 'yan')
    for (let i = 0; i < 5; i++) await enter('yan', 'Wrong-1')
    expectProblem(await enter('yan', yan.password), 401, 'invalid_credentials')
    expect((await unlock(yan.id)).status).toBe(204)
    expect((await enter('yan', yan.password)).status).toBe(200)
    const entries = await realm.asOwner(
      sql`select 1 from freehold.audit_log where activity_type = 'USER_UNLOCKED' and resource_id = ${yan.id}`,
    )
    expect(entries).toHaveLength(1)
  })

  it('reaches as far as the permission, and not oneself', async () => {
    const zed = await addMember(realm, 'zed', { unit_id: water })
    expectProblem(await unlock(zed.id, lead.token), 404, 'not_found')
    expectProblem(await unlock(lead.id, lead.token), 403, 'forbidden')
    expectProblem(await unlock(crypto.randomUUID()), 404, 'not_found')
    const chief = await addMember(realm, 'zoe', { roles: ['admin'], unit_id: soil })
    expectProblem(await unlock(chief.id, lead.token), 403, 'forbidden')
  })
})

it('operators are looked after in the same way', async () => {
  const platform = await inside('')
  const owner = await operatorToken()
  const pia = await addPerson(platform, 'pia', { roles: ['auditor'] })
  const door = `/platform/v1/operators/${pia.id}`
  const { body } = await call('', `${door}/reset-password`, { token: owner, body: {} })
  const entered = await call('', '/platform/v1/auth/login', { body: { username: 'pia', password: body.initial_password } })
  expect(entered.body.must_change_password).toBe(true)
  expect((await call('', `${door}/unlock`, { token: owner, method: 'POST' })).status).toBe(204)
  expectProblem(await call('', door, { token: entered.body.access_token }), 403, 'password_change_required')
})
