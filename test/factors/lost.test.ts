/** Threat: an administrator takes the second factor of somebody who may do more; the person is not told. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { addMember, addRole } from '../users/cast.ts'
import { challengeOf, enter, post, protectedPerson, switchOn } from './cast.ts'

const AT = 'lost-phones'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const reset = (id: string, token: string) => call(AT, `/api/v1/users/${id}/reset-mfa`, { token, method: 'POST' })
const shown = async (id: string, token = admin) => (await call(AT, `/api/v1/users/${id}`, { token })).body

describe('a lost second factor', () => {
  it('is taken away by an administrator, whose user is told, logged out, and logs in with the password alone', async () => {
    const who = await protectedPerson(realm, 'ann')
    const open = await challengeOf(AT, who)
    expect((await shown(who.id)).factors).toEqual(['totp'])
    expect(JSON.stringify(await shown(who.id))).not.toContain(who.secret)
    const answer = await reset(who.id, admin)
    expect([answer.status, answer.trips]).toEqual([204, 1])
    expect((await shown(who.id)).factors).toEqual([])
    expect(await sentTo(realm, who.email)).toEqual(['mfa_enabled', 'mfa_reset'])
    expectProblem(await call(AT, '/api/v1/auth/me', { token: who.token }), 401, 'session_ended')
    // A login that was open ends with it.
    expectProblem(await post(AT, 'mfa/verify', { mfa_token: open, code: codeOf(who.secret) }), 401, 'invalid_credentials')
    const { access_token } = (await enter(AT, who)).body
    await switchOn(AT, access_token)
    const entries = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.activity_type = 'MFA_DISABLED' and l.resource_id = ${who.id}`,
    )
    expect(entries.map(({ after }) => after)).toEqual([{ reason: 'reset', factors: ['totp'] }])
  })

  it('is taken by who has one themselves with it alone: a password is not enough, and the answer says what is', async () => {
    const boss = await protectedPerson(realm, 'chief')
    await realm.asOwner(
      sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${boss.id}, r.id from freehold.roles r where r.name = 'admin'`,
    )
    const { id } = await protectedPerson(realm, 'cay')
    // The session in which the app was set up is of one factor.
    const refused = await reset(id, boss.token)
    expectProblem(refused, 401, 'step_up_required')
    expect(refused.headers.get('WWW-Authenticate')).toMatch(/error="insufficient_user_authentication".*acr_values="aal2"$/)
    expect((await shown(id)).factors).toEqual(['totp'])
    const raised = await post(AT, 'step-up', { code: codeOf(boss.secret) }, boss.token)
    expect(decodeJwt(raised.body.access_token).acr).toBe('aal2')
    expect((await reset(id, boss.token)).status).toBe(204)
  })

  it('is not there to be taken from somebody who has none, or from nobody', async () => {
    const who = await addMember(realm, 'ben')
    expectProblem(await reset(who.id, admin), 409, 'illegal_state')
    expectProblem(await reset(crypto.randomUUID(), admin), 404, 'not_found')
  })

  it('stays where the caller holds less, reaches nobody, or is the user', async () => {
    await addRole(realm, 'clerk', ['user:read', 'user:update'], 'all')
    await addRole(realm, 'reader', ['user:read'], 'all')
    const [clerk, reader] = [
      await addMember(realm, 'clerk', { roles: ['clerk'] }),
      await addMember(realm, 'reader', { roles: ['reader'] }),
    ]
    const boss = await addMember(realm, 'boss', { roles: ['admin'] })
    await switchOn(AT, boss.token)
    expectProblem(await reset(boss.id, clerk.token), 403, 'forbidden')
    expectProblem(await reset(boss.id, reader.token), 403, 'forbidden')
    await realm.asOwner(sql`update freehold.sessions set aal = 2 where user_id = ${boss.id}`)
    expectProblem(await reset(boss.id, boss.token), 403, 'forbidden')
    expect((await shown(boss.id)).factors).toEqual(['totp'])
  })
})
