/**
 * Threat: whoever must have a second factor goes on without one: in a session of before the rule, by a role that inherits from the one
 * that the rule names, or with a password where they have a passkey.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { newAuthenticator } from '../passkeys/authenticator.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { addMember, addRole } from '../users/cast.ts'
import { enter, post, switchOn } from './cast.ts'

const AT = 'factor-needed'
const BY_ROLE = 'factor-by-role'
let realm: Inside
let by_role: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(BY_ROLE), copyTenant('factor-settings')])
  realm = await inside(AT)
  by_role = await inside(BY_ROLE)
})

const patch = async (at: string, body: object, token?: string) =>
  call(at, `${at ? '/api' : '/platform'}/v1/settings`, { method: 'PATCH', token: token ?? (await tokenOf(at)), body })
const me = (at: string, token: string) => call(at, '/api/v1/auth/me', { token })
const whoami = async (at: string, token: string) => (await call(at, '/api/v1/auth/whoami', { token })).body.mfa
/** Something that takes nothing but a session. */
const own = (at: string, token: string) => call(at, '/api/v1/api-keys', { token })
const roleId = async (at: Inside, name: string) => {
  const [role] = await at.asOwner(sql`select id from freehold.roles where name = ${name}`)
  return String(role?.id)
}
const inDays = (days: number) => Date.now() + days * 86_400_000
const near = (at: string, days: number) => Math.abs(Date.parse(at) - inDays(days)) < 600_000

/** Where an answer says that something is not valid. */
function faultsAt(answer: Awaited<ReturnType<typeof call>>): string[] {
  expectProblem(answer, 400, 'invalid_request')
  return pointers(answer)
}

/** A passkey of somebody who has just logged in. */
async function addPasskey(at: string, token: string) {
  const key = await newAuthenticator(originOf(at))
  const options = (await post(at, 'passkeys/register/options', {}, token)).body
  const made = await post(at, 'passkeys/register', { credential: await key.create(options) }, token)
  expect(made.status, JSON.stringify(made.body)).toBe(200)
  return key
}
const answered = async (at: string, key: Awaited<ReturnType<typeof newAuthenticator>>) =>
  key.get((await post(at, 'passkeys/login/options', {})).body)
const login = async (at: string, person: Person) => (await enter(at, person)).body

describe('a second factor that everybody must have', () => {
  it('has days of grace, which logins and whoami name; after them a session can only set one up, and goes on then', async () => {
    const who = await addPerson(realm, 'ann')
    expect((await login(AT, who)).mfa_due_at).toBeUndefined()
    const token = (await login(AT, who)).access_token
    expect((await patch(AT, { mfa_required: true })).body).toMatchObject({ mfa_required: true, mfa_grace_days: 14 })
    expect((await own(AT, token)).status).toBe(200)
    expect(near((await whoami(AT, token)).due_at, 14)).toBe(true)
    const later = await login(AT, who)
    expect(near(later.mfa_due_at, 14)).toBe(true)
    const renewed = await post(AT, 'refresh-token', { refresh_token: later.refresh_token })
    expect(near(renewed.body.mfa_due_at, 14)).toBe(true)

    await realm.asOwner(
      sql`update freehold.tenant set mfa_required_since = now() - interval '15 days'`,
      sql`update freehold.users set created_at = now() - interval '14 days 1 minute' where id = ${who.id}`,
    )
    expectProblem(await own(AT, token), 403, 'mfa_setup_required')
    expect((await me(AT, token)).status).toBe(200)
    await realm.asOwner(sql`update freehold.sessions set created_at = now() - interval '11 minutes' where user_id = ${who.id}`)
    expectProblem(await post(AT, 'mfa/setup', undefined, token), 401, 'step_up_required')
    expect((await post(AT, 'step-up', { password: who.password }, token)).status).toBe(200)
    const { secret, backup_codes } = await switchOn(AT, token)
    expect((await own(AT, token)).status).toBe(200)
    expect(await whoami(AT, token)).toEqual({ methods: ['totp', 'backup_code'], backup_codes_left: 10, due_at: null })
    const off = { password: who.password, backup_code: backup_codes[0] }
    expect((await post(AT, 'mfa/disable', off, token)).status).toBe(204)
    expectProblem(await own(AT, token), 403, 'mfa_setup_required')
    expect(secret.length).toBeGreaterThan(10)
  })

  it('gives the same days to who came later, and none of it asks an API key', async () => {
    const who = await addMember(realm, 'bea')
    const made = await call(AT, '/api/v1/api-keys', {
      token: (await login(AT, who)).access_token,
      body: { name: 'nightly', permissions: ['user:read'] },
    })
    expect(near((await whoami(AT, who.token)).due_at, 14)).toBe(true)
    await realm.asOwner(sql`update freehold.users set created_at = now() - interval '15 days' where id = ${who.id}`)
    expectProblem(await own(AT, who.token), 403, 'mfa_setup_required')
    const key = made.body.key ?? made.body.secret
    if (made.status === 201)
      expect((await call(AT, '/api/v1/auth/whoami', { headers: { 'X-API-Key': key } })).status).not.toBe(403)
  })

  it('is a passkey, too: a login with the password asks for it, and one with the passkey for nothing', async () => {
    const who = await addPerson(realm, 'cy')
    const { access_token } = await login(AT, who)
    await realm.asOwner(sql`update freehold.users set created_at = now() - interval '15 days' where id = ${who.id}`)
    expectProblem(await own(AT, access_token), 403, 'mfa_setup_required')
    const key = await addPasskey(AT, access_token)
    expect((await own(AT, access_token)).status).toBe(200)

    const open = await login(AT, who)
    expect(open).toMatchObject({ mfa_required: true, methods: ['passkey'] })
    const ended = await post(AT, 'mfa/verify', { mfa_token: open.mfa_token, passkey: await answered(AT, key) })
    expect([ended.status, ended.trips]).toEqual([200, 2])
    expect(decodeJwt(ended.body.access_token)).toMatchObject({ sub: who.id, amr: ['pwd', 'hwk', 'user'], acr: 'aal2' })
    const direct = await post(AT, 'passkeys/login', { credential: await answered(AT, key) })
    expect([direct.status, (await own(AT, direct.body.access_token)).status]).toEqual([200, 200])
  })
})

describe('a passkey that is lost', () => {
  it('is taken away by an administrator, and its owner comes in with the password to set another factor up', async () => {
    const who = await addPerson(realm, 'lou')
    const token = await tokenOf(realm, 'lou')
    await addPasskey(AT, token)
    expect(await login(AT, who)).toMatchObject({ methods: ['passkey'] })
    const reset = () => call(AT, `/api/v1/users/${who.id}/reset-mfa`, { method: 'POST', token: admin })
    const admin = await tokenOf(AT)
    await realm.asOwner(sql`update freehold.users set created_at = now() - interval '15 days' where id = ${who.id}`)
    await realm.asOwner(
      sql`update freehold.users set factors = '{totp}' where username = 'bo'`,
      sql`update freehold.sessions s set aal = 2 from freehold.users u where u.id = s.user_id and u.username = 'bo'`,
    )
    const done = await reset()
    expect([done.status, done.trips]).toEqual([204, 1])
    expectProblem(await own(AT, token), 401, 'session_ended')
    const { access_token } = await login(AT, who)
    expectProblem(await own(AT, access_token), 403, 'mfa_setup_required')
    await addPasskey(AT, access_token)
    expect((await own(AT, access_token)).status).toBe(200)
    await realm.asOwner(sql`update freehold.passwords set replaced_at = now() where user_id = ${who.id}`)
    expectProblem(await reset(), 409, 'illegal_state')
    await realm.asOwner(sql`update freehold.users set factors = '{}' where username = 'bo'`)
  })
})

describe('a passkey as the second factor', () => {
  const person = async (name: string) => {
    const who = await addPerson(realm, name)
    return { who, key: await addPasskey(AT, (await login(AT, who)).access_token) }
  }

  it('of somebody else ends no login, and counts as a wrong code does', async () => {
    const [dan, eve] = [await person('dan'), await person('eve')]
    const { mfa_token } = await login(AT, dan.who)
    for (let i = 0; i < 5; i++) {
      const refused = await post(AT, 'mfa/verify', { mfa_token, passkey: await answered(AT, eve.key) })
      expectProblem(refused, 401, 'invalid_credentials')
    }
    expectProblem(await post(AT, 'mfa/verify', { mfa_token, passkey: await answered(AT, dan.key) }), 401, 'invalid_credentials')
    const reasons = await realm.asOwner(
      sql`select distinct d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.user_id = ${dan.who.id} and l.activity_type = 'LOGIN_FAILED' order by 1`,
    )
    expect(reasons.map(({ reason }) => reason)).toEqual(['challenge_ended', 'unknown_passkey'])
  })

  it('ends one login, once: of twenty at once with one answer a single one', async () => {
    const { who, key } = await person('fay')
    const { mfa_token } = await login(AT, who)
    const body = { mfa_token, passkey: await answered(AT, key) }
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(AT, 'mfa/verify', body)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of answers) if (answer.status !== 200) expectProblem(answer, 401, 'invalid_credentials')
    expectProblem(await post(AT, 'passkeys/login', { credential: body.passkey }), 401, 'invalid_credentials')
  })

  it('is given alone, whole, and for a login of this tenant', async () => {
    const { who, key } = await person('gil')
    const { mfa_token } = await login(AT, who)
    const passkey = await answered(AT, key)
    for (const [body, pointer] of [
      [{ mfa_token, passkey, code: '123456' }, '#/code'],
      [{ mfa_token, passkey: { ...passkey, id: '%' } }, '#/passkey/id'],
      [{ mfa_token, passkey: 'x' }, '#/passkey'],
      [{ passkey }, '#/code'],
    ] as const)
      expect(faultsAt(await post(AT, 'mfa/verify', body))).toContain(pointer)
    expectProblem(await post(BY_ROLE, 'mfa/verify', { mfa_token, passkey }), 401, 'invalid_credentials')
    expectProblem(await post(AT, 'mfa/verify', { mfa_token: 'x', passkey }), 401, 'invalid_credentials')
    expect((await post(AT, 'mfa/verify', { mfa_token, passkey })).status).toBe(200)
  })

  it('is no must where none is required: the password is still a way in', async () => {
    const who = await addPerson(by_role, 'hal')
    await addPasskey(BY_ROLE, (await login(BY_ROLE, who)).access_token)
    expect(await login(BY_ROLE, who)).toMatchObject({ token_type: 'Bearer' })
  })

  it('stands beside an authenticator app', async () => {
    const who = await addPerson(by_role, 'ida')
    const { access_token } = await login(BY_ROLE, who)
    const key = await addPasskey(BY_ROLE, access_token)
    // Whoever has a passkey shows it before there is an app beside it.
    await by_role.asOwner(sql`update freehold.sessions set aal = 2 where user_id = ${who.id}`)
    await switchOn(BY_ROLE, access_token)
    const open = await login(BY_ROLE, who)
    expect(open.methods).toEqual(['totp', 'passkey', 'backup_code'])
    const ended = await post(BY_ROLE, 'mfa/verify', { mfa_token: open.mfa_token, passkey: await answered(BY_ROLE, key) })
    expect(ended.status).toBe(200)
  })
})

describe('a second factor that a role must have', () => {
  it('is asked of who holds it or inherits from it, from the next request on, and of nobody else', async () => {
    await addRole(by_role, 'keeper', ['user:read'], 'all')
    await addRole(by_role, 'chief', [], 'all')
    await by_role.asOwner(
      sql`update freehold.roles set parent_id = (select id from freehold.roles where name = 'keeper') where name = 'chief'`,
    )
    const [keeper, chief, other] = [
      await addMember(by_role, 'jo', { roles: ['keeper'] }),
      await addMember(by_role, 'kim', { roles: ['chief'] }),
      await addMember(by_role, 'lee'),
    ]
    const set = await patch(BY_ROLE, { mfa_required_roles: [await roleId(by_role, 'keeper')], mfa_grace_days: 0 })
    expect(set.status, JSON.stringify(set.body)).toBe(200)
    for (const { token } of [keeper, chief]) expectProblem(await own(BY_ROLE, token), 403, 'mfa_setup_required')
    expect((await own(BY_ROLE, other.token)).status).toBe(200)
    expect(await whoami(BY_ROLE, other.token)).toEqual({ methods: [], backup_codes_left: 0, due_at: null })
    await by_role.asOwner(sql`update freehold.user_roles set ends_at = now() where user_id = ${chief.id}`)
    await by_role.asOwner(
      sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${chief.id}, id from freehold.roles where name = 'user'`,
    )
    expect((await own(BY_ROLE, chief.token)).status).toBe(200)
    expect((await patch(BY_ROLE, { mfa_required_roles: [] })).status).toBe(200)
    expect((await own(BY_ROLE, keeper.token)).status).toBe(200)
  })

  it('can be one of operators', async () => {
    const platform = await inside('')
    await addRole(platform, 'night-shift', ['tenant:read'], 'all')
    const [night, day] = [
      await addMember(platform, 'nora', { roles: ['night-shift'] }),
      await addMember(platform, 'dora', { roles: ['auditor'] }),
    ]
    const operator = await tokenOf('', 'ada')
    const roles = { mfa_required_roles: [await roleId(platform, 'night-shift')], mfa_grace_days: 0 }
    expect((await patch('', roles, operator)).status).toBe(200)
    const tenants = (token: string) => call('', '/platform/v1/tenants?limit=1', { token })
    expectProblem(await tenants(night.token), 403, 'mfa_setup_required')
    expect((await tenants(day.token)).status).not.toBe(403)
    const { secret } = await switchOn('', night.token)
    expect((await tenants(night.token)).status).toBe(200)
    expect(codeOf(secret)).toMatch(/^\d{6}$/)
    expect((await patch('', { mfa_required_roles: [], mfa_grace_days: 14 }, operator)).status).toBe(200)
  })
})

describe('the settings of it', () => {
  const AT = 'factor-settings'

  it('start anew when more people are asked, and not otherwise', async () => {
    const settings = await inside(AT)
    const since = async () => {
      const [row] = await settings.asOwner(sql`select mfa_required_since::text as since from freehold.tenant`)
      return row?.since
    }
    expect(await since()).toBeNull()
    await patch(AT, { mfa_required_roles: [await roleId(settings, 'user')] })
    const first = await since()
    await patch(AT, { mfa_grace_days: 3, name: 'Acme' })
    expect(await since()).toBe(first)
    await patch(AT, { mfa_required: true })
    const second = await since()
    expect(second).not.toBe(first)
    await patch(AT, { mfa_required_roles: [] })
    expect(await since()).toBe(second)
    await patch(AT, { mfa_required: false })
    expect(await since()).toBeNull()
  })

  it('name roles that are there, and days from 0 to 90', async () => {
    const faults: [object, string][] = [
      [{ mfa_required_roles: [crypto.randomUUID()] }, '#/mfa_required_roles'],
      [{ mfa_required_roles: ['admin'] }, '#/mfa_required_roles/0'],
      [{ mfa_required_roles: Array(51).fill(crypto.randomUUID()) }, '#/mfa_required_roles'],
      [{ mfa_required: 'yes' }, '#/mfa_required'],
      [{ mfa_grace_days: 91 }, '#/mfa_grace_days'],
      [{ mfa_grace_days: -1 }, '#/mfa_grace_days'],
      [{ mfa_required_since: null }, '#/mfa_required_since'],
    ]
    for (const [body, pointer] of faults) expect(faultsAt(await patch(AT, body)), pointer).toContain(pointer)
  })
})
