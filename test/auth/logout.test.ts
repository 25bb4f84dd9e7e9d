import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

let realm: Inside

beforeAll(async () => {
  await copyTenant('leaving')
  realm = await inside('leaving')
  for (const username of ['cy', 'dee']) await addPerson(realm, username)
})

const enter = (username = 'cy') => login('leaving', { body: { username, password: 'Violet-Anchor-38' } })

const leave = (token: string, more: Record<string, unknown> = {}) =>
  call('leaving', '/api/v1/auth/logout', { token, method: 'POST', ...more })
const me = (token: string) => call('leaving', '/api/v1/auth/me', { token })

describe('a logout', () => {
  it('ends this session at once, and this one only', async () => {
    const phone = await enter()
    const desk = await enter()
    const dee = await enter('dee')
    const answer = await leave(phone.access_token)
    expect([answer.status, answer.body, answer.trips]).toEqual([204, '', 1])
    expectProblem(await me(phone.access_token), 401, 'session_ended')
    for (const other of [desk, dee]) expect((await me(other.access_token)).status).toBe(200)
    expect((await call('leaving', '/api/v1/auth/refresh', { body: { refresh_token: desk.refresh_token } })).status).toBe(200)
  })

  it('ends every access token of the session, older and newer', async () => {
    const first = await enter()
    const second = (await call('leaving', '/api/v1/auth/refresh', { body: { refresh_token: first.refresh_token } })).body
    expect((await leave(first.access_token)).status).toBe(204)
    for (const token of [first.access_token, second.access_token]) expectProblem(await me(token), 401, 'session_ended')
    for (const { refresh_token } of [first, second])
      expectProblem(await call('leaving', '/api/v1/auth/refresh', { body: { refresh_token } }), 401, 'refresh_invalid')
  })

  it('happens once: a second one is 401, and does not change when the session ended', async () => {
    const { access_token } = await enter()
    expect((await leave(access_token)).status).toBe(204)
    const ended = () =>
      realm.asOwner(sql`select ended_at::text, ended_because from freehold.sessions order by created_at desc limit 1`)
    const before = await ended()
    expectProblem(await leave(access_token), 401, 'session_ended')
    expect(await ended()).toEqual(before)
    expect(before[0]?.ended_because).toBe('logout')
  })

  it('asked for many times at once ends the session, and is in the audit once', async () => {
    const { access_token } = await enter()
    const session = (await call('leaving', '/api/v1/auth/whoami', { token: access_token })).body.session.id
    const answers = await Promise.all(Array.from({ length: 8 }, () => leave(access_token)))
    for (const answer of answers) expect([204, 401]).toContain(answer.status)
    expectProblem(await me(access_token), 401, 'session_ended')
    const rows = await realm.asOwner(
      sql`select 1 from freehold.audit_log where activity_type = 'LOGOUT' and resource_id = ${session}`,
    )
    expect(rows).toHaveLength(1)
  })

  it('needs a token', async () =>
    expectProblem(await call('leaving', '/api/v1/auth/logout', { method: 'POST' }), 401, 'token_missing'))

  it('takes a body that says nothing, and none', async () => {
    for (const raw of ['{}', '']) expect((await leave((await enter()).access_token, { raw })).status).toBe(204)
  })
})
