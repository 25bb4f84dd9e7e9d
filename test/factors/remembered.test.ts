/**
 * Threat: whoever knows the password says that they are on a device of its owner; or a device goes on being trusted after its owner, an
 * administrator or the tenant has ended that.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { type Inside, inside, type Person } from '../support/inside.ts'
import { nameOf, newJar } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { enter, type Protected, post, protectedPerson, wrongCode } from './cast.ts'

const AT = 'remembering'
let realm: Inside
let ann: Protected
let people = 0

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('remembering-too')])
  realm = await inside(AT)
})
// Somebody new for each, with every code unused.
beforeEach(async () => {
  ann = await protectedPerson(realm, `ann-${people++}`)
})

const verify = (body: object, at = AT) => post(at, 'mfa/verify', body)
const login = (who: Person, device_token?: string) => enter(AT, who, device_token ? { device_token } : {})
const open = async (who: Person, device_token?: string) => (await login(who, device_token)).body.mfa_token
/** Lets the next codes of somebody be as new as the first. */
const forget = (who: { id: string }) =>
  realm.asOwner(sql`update freehold.totp_factors set last_step = 0 where user_id = ${who.id}`)

/** A login with both factors after which the device is remembered. */
async function remembered(who: Protected) {
  await forget(who)
  const answer = await verify({ mfa_token: await open(who), code: codeOf(who.secret), remember_device: true })
  expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 1])
  return answer.body as { access_token: string; device_token: string }
}
const rows = (who: { id: string }) => realm.asOwner(sql`select * from freehold.remembered_devices where user_id = ${who.id}`)
const isAsked = async (who: Person, device_token?: string) => {
  const { status, body } = await login(who, device_token)
  expect(status).toBe(200)
  return body.mfa_required === true
}
const sessions = async (token: string) => (await call(AT, '/api/v1/sessions', { token })).body.data
const set = async (body: object) => call(AT, '/api/v1/settings', { method: 'PATCH', token: await tokenOf(AT), body })

describe('a device that is remembered', () => {
  it('adds and takes away no way in: a session of one factor of who has two is asked for the other', async () => {
    const { device_token } = await remembered(ann)
    const { access_token } = (await login(ann, device_token)).body
    const key = `passkeys/${crypto.randomUUID()}`
    const options = await post(AT, 'passkeys/register/options', {}, access_token)
    for (const answer of [
      options,
      await post(AT, 'mfa/setup', undefined, access_token),
      await post(AT, 'identities', { provider: 'google', id_token: 'a.b.c' }, access_token),
      await call(AT, `/api/v1/auth/${key}`, { method: 'DELETE', token: access_token }),
    ])
      expectProblem(answer, 401, 'step_up_required')
    expect(options.headers.get('WWW-Authenticate')).toContain('acr_values="aal2"')
    expect((await post(AT, 'step-up', { password: ann.password }, access_token)).status).toBe(200)
    expectProblem(await post(AT, 'passkeys/register/options', {}, access_token), 401, 'step_up_required')
    await forget(ann)
    expect((await post(AT, 'step-up', { code: codeOf(ann.secret) }, access_token)).status).toBe(200)
    expect((await post(AT, 'passkeys/register/options', {}, access_token)).status).toBe(200)
  })

  it('needs the right password alone, in two round trips; the session is of one factor, and says so', async () => {
    const { device_token } = await remembered(ann)
    const again = await login(ann, device_token)
    expect([again.status, again.trips]).toEqual([200, 2])
    expect(again.body.device_token.split('.')[0]).toBe(device_token.split('.')[0])
    expect(decodeJwt(again.body.access_token)).toMatchObject({ sub: ann.id, amr: ['pwd'], acr: 'aal1' })
    expectProblem(await login({ ...ann, password: 'Wrong-Anchor-38' }, device_token), 401, 'invalid_credentials')
    expect(await isAsked(ann, again.body.device_token)).toBe(false)
  })

  it('is one that was asked to be: after a login without it the code is asked for again', async () => {
    await forget(ann)
    const { body } = await verify({ mfa_token: await open(ann), code: codeOf(ann.secret) })
    expect(await isAsked(ann, body.device_token)).toBe(true)
    expect(await rows(ann)).toEqual([])
  })

  it('is not one where the proof was refused, or the code was used', async () => {
    const mfa_token = await open(ann)
    const body = { mfa_token, remember_device: true }
    expectProblem(await verify({ ...body, code: wrongCode(ann.secret) }), 401, 'invalid_credentials')
    expect(await rows(ann)).toEqual([])
    expect((await verify({ mfa_token, code: codeOf(ann.secret) })).status).toBe(200)
    expectProblem(await verify({ ...body, mfa_token: await open(ann), code: codeOf(ann.secret) }), 401, 'invalid_credentials')
    expect(await rows(ann)).toEqual([])
  })

  it('is shown in the list of sessions, to its owner and to an administrator, and is in the audit', async () => {
    const { access_token, device_token } = await remembered(ann)
    const data = await sessions(access_token)
    expect(data.map(({ remembered, is_current }: any) => [is_current, remembered])).toEqual([
      [true, true],
      [false, false],
    ])
    const shown = await call(AT, `/api/v1/users/${ann.id}/sessions`, { token: await tokenOf(AT) })
    expect(shown.body.data.map(({ remembered }: any) => remembered)).toEqual([true, false])
    const [entry] = await realm.asOwner(
      sql`select d.after ->> 'device' as device from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.user_id = ${ann.id} and l.activity_type = 'DEVICE_REMEMBERED'`,
    )
    expect(entry?.device).toBe(device_token.split('.')[0])
  })

  it('in a browser is known by the cookie that keeps strangers from locking it out, and outlives the logout', async () => {
    const jar = newJar(AT)
    const ask = (path: string, body: object) => jar.ask(`/api/v1/auth/${path}`, { body: { ...body, cookie: true } })
    const { mfa_token } = (await ask('login', { username: ann.username, password: ann.password })).body
    const entered = await ask('mfa/verify', { mfa_token, code: codeOf(ann.secret), remember_device: true })
    expect(entered.body).toMatchObject({ token_type: 'Cookie' })
    expect((await jar.ask('/api/v1/auth/logout', { method: 'POST' })).status).toBe(204)
    expect([...jar.kept.keys()]).toEqual([nameOf('d', ann.id)])
    const again = await ask('login', { username: ann.username, password: ann.password })
    expect(again.body).toMatchObject({ token_type: 'Cookie', account: ann.id })
  })

  it('is remembered once, of twenty at once that use it or ask for it', async () => {
    const { device_token } = await remembered(ann)
    // More than five at once are as many attempts as may fail.
    const both = [0, 1, 2, 3].map(() => login(ann, device_token))
    for (const answer of await Promise.all(both)) expect(answer.body.access_token, JSON.stringify(answer.body)).toBeDefined()
    await forget(ann)
    const mfa_token = await open(ann)
    const body = { mfa_token, code: codeOf(ann.secret), remember_device: true }
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(body)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await rows(ann)).toHaveLength(2)
  })
})

describe('the code is asked for', () => {
  it('of another person on the same device, on another device, and where no device is named', async () => {
    const { device_token } = await remembered(ann)
    const ben = await protectedPerson(realm, `ben-${people}`)
    expect(await isAsked(ben, device_token)).toBe(true)
    const other = await verify({ mfa_token: await open(ben), code: codeOf(ben.secret) })
    expect(await isAsked(ben, other.body.device_token)).toBe(true)
    expect(await isAsked(ann, other.body.device_token)).toBe(true)
    expect(await isAsked(ann)).toBe(true)
  })

  it('where the device token is forged, or somebody else’s id is in it', async () => {
    const { device_token } = await remembered(ann)
    const [device, at, mac = ''] = device_token.split('.')
    const flipped = `${mac.slice(0, -1)}${mac.endsWith('0') ? '1' : '0'}`
    const ben = await protectedPerson(realm, `bob-${people}`)
    const own = (await remembered(ben)).device_token.split('.')
    for (const forged of [
      `${device}.${at}.${flipped}`,
      `${device}.${Number(at) + 1}.${mac}`,
      `${device}.${own[1]}.${own[2]}`,
      `${device}`,
    ])
      expect(await isAsked(ann, forged), forged).toBe(true)
    expect(await isAsked(ann, device_token)).toBe(false)
  })

  it('after thirty days from the proof, however often the device was used since; then the row is purged', async () => {
    const { device_token } = await remembered(ann)
    const later = (await login(ann, device_token)).body.device_token
    await realm.asOwner(
      sql`update freehold.remembered_devices set expires_at = now() - interval '1 minute', created_at = now() - interval '30 days 1 minute' where user_id = ${ann.id}`,
    )
    expect(await isAsked(ann, later)).toBe(true)
    await realm.asOwner(
      sql`update freehold.remembered_devices set expires_at = now() - interval '2 days' where user_id = ${ann.id}`,
      sql`select access.purge(1000)`,
    )
    expect(await rows(ann)).toEqual([])
  })

  it.each<[string, (who: Protected, session: string, token: string) => Promise<unknown>]>([
    [
      'its session was ended in the list by its owner',
      async (who, session, token) => {
        await grantSessions(who)
        return call(AT, `/api/v1/sessions/${session}`, { method: 'DELETE', token })
      },
    ],
    [
      'its session was ended by an administrator',
      async (_, session) => call(AT, `/api/v1/sessions/${session}`, { method: 'DELETE', token: await tokenOf(AT) }),
    ],
    [
      'all sessions of its owner were ended by an administrator',
      async ({ id }) => call(AT, `/api/v1/users/${id}/sessions`, { method: 'DELETE', token: await tokenOf(AT) }),
    ],
    ['its owner logged out everywhere', async (who) => post(AT, 'logout-all', undefined, who.token)],
    ['the second factors were reset', async ({ id }) => reset(id)],
  ])('once %s', async (_, act) => {
    const { access_token, device_token } = await remembered(ann)
    const { sid } = decodeJwt(access_token) as { sid: string }
    expect(await act(ann, sid, access_token)).toMatchObject({ status: 204 })
    expect(await rows(ann)).toEqual([])
    if ((await realm.asOwner(sql`select 1 from freehold.totp_factors where user_id = ${ann.id}`)).length)
      expect(await isAsked(ann, device_token)).toBe(true)
  })

  it('once the current session was ended in the list, and not after a logout', async () => {
    const first = await remembered(ann)
    expect((await post(AT, 'logout', undefined, first.access_token)).status).toBe(204)
    expect(await isAsked(ann, first.device_token)).toBe(false)
    const { access_token } = (await login(ann, first.device_token)).body
    await grantSessions(ann)
    const { sid } = decodeJwt(access_token) as { sid: string }
    expect((await call(AT, `/api/v1/sessions/${sid}`, { method: 'DELETE', token: access_token })).status).toBe(204)
    expect(await isAsked(ann, first.device_token)).toBe(true)
  })

  it('once the password was changed, by its owner or by an administrator', async () => {
    const { access_token, device_token } = await remembered(ann)
    const change = { current_password: ann.password, new_password: 'Marble-Kettle-52' }
    expect((await post(AT, 'password-change', change, access_token)).status).toBe(204)
    expect(await rows(ann)).toEqual([])
    ann.password = change.new_password
    expect(await isAsked(ann, device_token)).toBe(true)
    const second = await remembered(ann)
    const body = { new_password: 'Copper-Window-17', must_change_password: false }
    expect((await call(AT, `/api/v1/users/${ann.id}/reset-password`, { token: await tokenOf(AT), body })).status).toBe(200)
    ann.password = body.new_password
    expect(await rows(ann)).toEqual([])
    expect(await isAsked(ann, second.device_token)).toBe(true)
  })

  it('of an app that is set up after the former one was switched off', async () => {
    const { access_token, device_token } = await remembered(ann)
    await forget(ann)
    const off = { password: ann.password, code: codeOf(ann.secret) }
    expect((await post(AT, 'mfa/disable', off, access_token)).status).toBe(204)
    expect(await rows(ann)).toEqual([])
    await realm.asOwner(sql`update freehold.users set factors = '{totp}' where id = ${ann.id}`)
    expect(await isAsked(ann, device_token)).toBe(true)
  })

  it('once somebody was deactivated, also after they come back', async () => {
    const { device_token } = await remembered(ann)
    const admin = await tokenOf(AT)
    for (const act of ['deactivate', 'reactivate'])
      expect((await call(AT, `/api/v1/users/${ann.id}/${act}`, { method: 'POST', token: admin })).status).toBeLessThan(300)
    expect(await rows(ann)).toEqual([])
    expect(await isAsked(ann, device_token)).toBe(true)
  })

  it('where the tenant switches it off, at once, or gives it fewer days; its login says so', async () => {
    const { device_token } = await remembered(ann)
    expect((await login(ann)).body.remember_days).toBe(30)
    expect((await set({ mfa_remember_days: 0 })).body).toMatchObject({ mfa_remember_days: 0 })
    expect((await login(ann, device_token)).body).toMatchObject({ mfa_required: true, remember_days: 0 })
    await forget(ann)
    const entered = await verify({ mfa_token: await open(ann), code: codeOf(ann.secret), remember_device: true })
    expect(entered.status).toBe(200)
    expect(await rows(ann)).toHaveLength(1)
    await set({ mfa_remember_days: 7 })
    expect(await isAsked(ann, device_token)).toBe(false)
    await realm.asOwner(
      sql`update freehold.remembered_devices set created_at = now() - interval '7 days 1 minute' where user_id = ${ann.id}`,
    )
    expect(await isAsked(ann, device_token)).toBe(true)
    await set({ mfa_remember_days: 30 })
    expect(await isAsked(ann, device_token)).toBe(false)
  })
})

const reset = async (id: string) => call(AT, `/api/v1/users/${id}/reset-mfa`, { method: 'POST', token: await tokenOf(AT) })
const grantSessions = ({ id }: { id: string }) =>
  realm.asOwner(
    sql`insert into freehold.overrides (id, user_id, permission, effect, scope) values (gen_random_uuid(), ${id}, 'session:delete', 'grant', 'own')`,
  )

describe('it is refused', () => {
  it.each<[string, object, string]>([
    ['of another type', { remember_device: 'yes' }, '#/remember_device'],
    ['null', { remember_device: null }, '#/remember_device'],
    ['under another name', { remember: true }, '#/remember'],
  ])('%s', async (_, body, at) => {
    const answer = await verify({ mfa_token: 'x', code: '123456', ...body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(at)
    expect(answer.trips).toBe(0)
  })

  it('where an app is switched on, which is no login', async () => {
    const answer = await post(AT, 'mfa/verify', { code: '123456', remember_device: true }, ann.token)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/remember_device'])
  })

  it('as a setting of more than thirty days, fewer than none, or another type', async () => {
    for (const mfa_remember_days of [31, -1, '7', null, 1.5]) {
      const answer = await set({ mfa_remember_days })
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/mfa_remember_days'])
    }
  })

  it('at another tenant, with the token of this one', async () => {
    const { device_token } = await remembered(ann)
    const too = await inside('remembering-too')
    const same = await protectedPerson(too, ann.username)
    const answer = await enter('remembering-too', same, { device_token })
    expect(answer.body.mfa_required).toBe(true)
  })

  it('to whoever runs SQL as the app login', async () => {
    const { app_url } = await databaseOf(AT)
    for (const statement of [
      'select * from freehold.remembered_devices',
      'delete from freehold.remembered_devices',
      `insert into freehold.remembered_devices (user_id, device, expires_at) values ('${ann.id}', gen_random_uuid(), now())`,
      `select access.remember_device(t, '${ann.id}', gen_random_uuid()) from freehold.tenant t`,
    ])
      expect(await refusalOf(app_url, sql.raw(statement)), statement).toMatch(/^42501 /)
    const { asApp } = await databaseOf(AT)
    await remembered(ann)
    expect(await asApp(sql`select access.remembered_sessions(${ann.id}) as ids`)).toEqual([{ ids: [] }])
  })
})
