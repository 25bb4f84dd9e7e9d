/** Threat: what has ended goes on by its refresh token; somebody says of themselves how often they may be logged in. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'turnstile'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
})
const enter = (username: string, password = 'Violet-Anchor-38') => login(AT, { body: { username, password } })
const refresh = (refresh_token: string) => call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })

describe('what has ended', () => {
  it.each<[string, (who: { id: string; username: string }) => Promise<unknown>]>([
    [
      'by the limit',
      async ({ id, username }) => {
        await realm.asOwner(sql`update freehold.users set max_sessions = 1 where id = ${id}`)
        await enter(username)
      },
    ],
    ['by an administrator', ({ id }) => call(AT, `/api/v1/users/${id}/sessions`, { token: admin, method: 'DELETE' })],
    ['by a reset', ({ id }) => call(AT, `/api/v1/users/${id}/reset-password`, { token: admin, body: {} })],
  ])('%s is not refreshed, nor with what it was refreshed to', async (how, end) => {
    const who = await addMember(realm, `cid-${how.length}`)
    const first = await enter(who.username)
    const second = (await refresh(first.refresh_token)).body
    await end(who)
    for (const { refresh_token } of [first, second]) expectProblem(await refresh(refresh_token), 401, 'refresh_invalid')
    expectProblem(await call(AT, '/api/v1/auth/me', { token: second.access_token }), 401, 'session_ended')
  })
})

describe('max_sessions', () => {
  it('of oneself is not for who reaches no further, and is a whole number from 1 to 1000', async () => {
    const soil = await addUnit(realm, 'team', 'soil')
    await addRole(realm, 'lead', ['user:read', 'user:update'], 'team')
    const lead = await addMember(realm, 'eli', { roles: ['lead'], unit_id: soil })
    const patch = (id: string, body: unknown, token = admin) => call(AT, `/api/v1/users/${id}`, { token, method: 'PATCH', body })
    expectProblem(await patch(lead.id, { max_sessions: 1000 }, lead.token), 403, 'forbidden')
    for (const max_sessions of [0, -1, 1.5, 1001, '5', true, []])
      expectProblem(await patch(lead.id, { max_sessions }), 400, 'invalid_request')
    expect((await patch(lead.id, { max_sessions: 2 })).body.max_sessions).toBe(2)
    expect((await patch(lead.id, { max_sessions: null })).body.max_sessions).toBe(null)
  })
})
