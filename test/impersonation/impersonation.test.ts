/**
 * Acting as somebody else, to help them. Threat: somebody gets by it what they do not hold, or a way in that stays; goes on after their own
 * session, account or permission has ended; or acts unseen.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { databaseOf, maintainLater, refusalOf, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'impersonated'
const REASON = 'Ticket 4711: the invoice is not shown'
let realm: Inside
let helpers = 0

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(`${AT}-too`)])
  realm = await inside(AT)
  await maintainLater(realm.id)
  await addRole(realm, 'helper', ['user:read', 'user:update', 'user:impersonate', 'session:read', 'session:delete'], 'all')
})

const ask = (token: string | undefined, path: string, more: object = {}, at = AT) =>
  call(at, `/api/v1${path}`, { token, ...more })
const act = (token: string | undefined, id: string, body: object = { reason: REASON }) =>
  ask(token, `/users/${id}/impersonate`, { body })

type Helper = Person & { token: string; session_id: string }
/** Somebody who may act as others, logged in just now. */
async function helper(roles = ['helper', 'user']): Promise<Helper> {
  const person = await addPerson(realm, `helper-${helpers++}`, { roles })
  const { access_token, session_id } = await plantSession(realm, person.username)
  return { ...person, token: access_token, session_id }
}
/** A helper who acts as somebody. */
async function acting(name: string, roles?: string[]) {
  const [who, by] = [await addPerson(realm, name, { ...(roles && { roles }) }), await helper()]
  const answer = await act(by.token, who.id)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return { who, by, answer, token: answer.body.access_token as string, session_id: answer.body.session_id as string }
}
const entries = (which: ReturnType<typeof sql>) =>
  realm.asOwner(sql`select l.activity_type, l.user_id, l.resource_id, d.after, d.impersonator_id from freehold.audit_log l
    join freehold.audit_detail d on d.log_id = l.id where ${which} order by l.at`)
/** What the database refuses to a transaction that is admitted with a token. */
async function refused(token: string, permission: string, statement: ReturnType<typeof sql>) {
  const { sub: user_id, sid: session_id, proof } = decodeJwt(token) as Record<string, string>
  const credential = { session_id, user_id, proof }
  const { owner_url } = await databaseOf(AT)
  const admission = admit({ id: realm.id, proof: () => proof ?? '' }, credential, permission)
  return refusalOf(owner_url, sql`set local role freehold_owner`, admission, statement)
}
const alive = async (token: string) => (await ask(token, '/auth/whoami')).status

describe('acting as a user', () => {
  it('takes one round trip, and gives a token that says who acts, lives for half an hour and cannot be refreshed', async () => {
    const { who, by, answer, token } = await acting('ann')
    expect(answer.trips).toBe(1)
    expect(answer.body).toEqual({
      access_token: token,
      token_type: 'Bearer',
      expires_in: expect.any(Number),
      session_id: expect.any(String),
      act: { sub: by.id },
    })
    expect(answer.body.expires_in).toBeGreaterThan(29 * 60)
    expect(answer.body.expires_in).toBeLessThanOrEqual(30 * 60)
    expect(decodeJwt(token)).toMatchObject({ sub: who.id, sid: answer.body.session_id, act: { sub: by.id } })
  })

  it('is said by whoami, auth/me and the list of sessions, and by nothing of who acts as themselves', async () => {
    const { who, by, token, session_id } = await acting('bea')
    const impersonated_by = { sub: by.id, username: by.username }
    expect((await ask(token, '/auth/whoami')).body).toMatchObject({ sub: who.id, impersonated_by })
    expect((await ask(token, '/auth/me')).body).toMatchObject({ sub: who.id, impersonated_by })
    const own = await tokenOf(realm, who.username)
    expect((await ask(own, '/auth/whoami')).body.impersonated_by).toBeNull()
    expect((await ask(own, '/auth/me')).body.impersonated_by).toBeNull()
    const { data } = (await ask(own, '/sessions')).body
    expect(data.find(({ id }: { id: string }) => id === session_id)).toMatchObject({ impersonated_by, is_current: false })
    expect(data.filter((session: any) => session.impersonated_by === null).length).toBe(1)
    expect((await ask(by.token, `/users/${who.id}/sessions`)).body.data).toEqual(
      expect.arrayContaining([expect.objectContaining({ id: session_id, impersonated_by })]),
    )
  })

  it('is told to the user by mail, with the reason, in their language', async () => {
    const { who, by } = await acting('imp-told')
    const [mail] = await mailsTo(who.email)
    expect(mail?.text).toContain(by.username)
    expect(mail?.text).toContain(REASON)
    const other = await addPerson(realm, 'imp-dicho')
    await realm.asOwner(sql`update freehold.users set locale = 'es-PE' where id = ${other.id}`)
    expect((await act(by.token, other.id)).status).toBe(200)
    expect((await mailsTo(other.email))[0]?.subject).toContain('alguien actúa como tú')
  })

  it('is in the audit: its beginning with the reason, its end, and who acted in every entry between, also of refusals', async () => {
    const { who, by, token, session_id } = await acting('cay')
    expect((await ask(token, `/users/${who.id}`, { method: 'PATCH', body: { given_name: 'Cayo' } })).status).toBe(200)
    expectProblem(await ask(token, '/users', { body: { email: 'imp-nobody@people.test' } }), 403, 'forbidden')
    expect((await ask(token, '/auth/logout', { method: 'POST' })).status).toBe(204)
    expect(await entries(sql`l.resource_id = ${session_id}`)).toMatchObject([
      { activity_type: 'IMPERSONATION_STARTED', user_id: by.id, after: { user_id: who.id, impersonation_reason: REASON } },
      { activity_type: 'IMPERSONATION_ENDED', user_id: who.id, impersonator_id: by.id, after: { ended_because: 'logout' } },
    ])
    await expect
      .poll(() => entries(sql`l.user_id = ${who.id} and l.activity_type in ('PROFILE_UPDATE', 'ACCESS_REFUSED')`))
      .toMatchObject([
        { activity_type: 'PROFILE_UPDATE', impersonator_id: by.id },
        { activity_type: 'ACCESS_REFUSED', impersonator_id: by.id },
      ])
    const admin = await tokenOf(realm)
    const { data } = (await ask(admin, `/activities?impersonator_id=${by.id}`)).body
    expect(new Set(data.map(({ user_id }: any) => user_id))).toEqual(new Set([who.id]))
    expect(data.map(({ activity_type }: any) => activity_type)).toContain('PROFILE_UPDATE')
    expectProblem(await ask(admin, '/activities?impersonator_id=7'), 400, 'invalid_request')
    // Nothing of it is a login of the user.
    const history = (await ask(admin, `/users/${who.id}/sessions/history`)).body.data
    expect(history).toEqual([])
    expect((await verifyAudit(settings(), AT)).faults).toEqual([])
  })

  it('has the permissions of the user and no others, and ends none of their sessions', async () => {
    await realm.asOwner(sql`update freehold.tenant set max_sessions = 2`)
    const who = await addPerson(realm, 'dee')
    const own = [await tokenOf(realm, who.username), await tokenOf(realm, who.username)]
    const by = await helper()
    const { access_token } = (await act(by.token, who.id)).body
    expectProblem(await ask(access_token, `/users/${by.id}`), 404, 'not_found')
    expect((await ask(access_token, '/users/me')).body.id).toBe(who.id)
    expect(await Promise.all(own.map(alive))).toEqual([200, 200])
    await realm.asOwner(sql`update freehold.tenant set max_sessions = 5`)
  })

  it('goes on where the user must change their password, which who acts cannot', async () => {
    const who = await addPerson(realm, 'eve')
    await realm.asOwner(sql`update freehold.users set must_change_password = true where id = ${who.id}`)
    const { access_token } = (await act((await helper()).token, who.id)).body
    expect(await alive(access_token)).toBe(200)
  })
})

describe('nobody acts as', () => {
  it('themselves, somebody who is not there, not active or without a role, or an operator', async () => {
    const by = await helper()
    expectProblem(await act(by.token, by.id), 409, 'illegal_state')
    expectProblem(await act(by.token, crypto.randomUUID()), 404, 'not_found')
    expectProblem(await act(by.token, 'me'), 400, 'invalid_request')
    const [gone, bare] = [await addPerson(realm, 'gone'), await addPerson(realm, 'bare')]
    await realm.asOwner(
      sql`update freehold.users set is_active = false where id = ${gone.id}`,
      sql`update freehold.user_roles set ends_at = now() where user_id = ${bare.id}`,
    )
    expectProblem(await act(by.token, gone.id), 409, 'illegal_state')
    expectProblem(await act(by.token, bare.id), 409, 'illegal_state')
    const path = `/platform/v1/operators/${by.id}/impersonate`
    expectProblem(await call('', path, { token: await operatorToken(), body: { reason: REASON } }), 404, 'not_found')
  })

  it('somebody who holds more, in the same place or in another one', async () => {
    const by = await helper()
    const boss = await addPerson(realm, 'boss', { roles: ['admin'] })
    expectProblem(await act(by.token, boss.id), 403, 'forbidden')
    await addRole(realm, 'local-helper', ['user:read', 'user:impersonate'], 'department')
    await addRole(realm, 'local-reader', ['user:read'], 'department')
    const north = await addUnit(realm, 'department', 'North')
    const south = await addUnit(realm, 'department', 'South')
    const here = await addMember(realm, 'north-helper', { roles: ['local-helper'], unit_id: north })
    const colleague = await addMember(realm, 'north-reader', { roles: ['local-reader'], unit_id: north })
    const other = await addMember(realm, 'south-reader', { roles: ['local-reader'], unit_id: south })
    expect((await act(here.token, colleague.id)).status).toBe(200)
    expectProblem(await act(here.token, other.id), 404, 'not_found')
  })

  it('anybody without the permission, without a login, with an API key, with a session of an hour ago, from another tenant', async () => {
    const who = await addPerson(realm, 'fay')
    expectProblem(await act(undefined, who.id), 401, 'token_missing')
    const plain = await addMember(realm, 'plain')
    expectProblem(await act(plain.token, who.id), 403, 'forbidden')
    const by = await helper()
    const made = await ask(await tokenOf(AT), '/api-keys', { body: { name: 'k', permissions: ['user:impersonate'] } })
    expect(made.status).toBe(201)
    expectProblem(await act(made.body.key, who.id), 403, 'forbidden')
    await realm.asOwner(sql`update freehold.sessions set created_at = now() - interval '1 hour' where user_id = ${by.id}`)
    expectProblem(await act(by.token, who.id), 401, 'step_up_required')
    const stranger = await tokenOf(`${AT}-too`)
    expectProblem(await act(stranger, who.id), 401, 'token_wrong_tenant')
    expectProblem(
      await ask(stranger, `/users/${who.id}/impersonate`, { body: { reason: REASON } }, `${AT}-too`),
      404,
      'not_found',
    )
  })

  it('anybody as somebody else: an impersonation begins none', async () => {
    const who = await addPerson(realm, 'gus', { roles: ['helper', 'user'] })
    const other = await addPerson(realm, 'hal')
    const { access_token } = (await act((await helper()).token, who.id)).body
    expectProblem(await act(access_token, other.id), 403, 'forbidden')
    // Nor in the database, whatever the Worker lets through.
    expect(await refused(access_token, 'user:impersonate', sql`select access.impersonate(${other.id}, 'x')`)).toMatch(
      /^FH403 forbidden/,
    )
  })

  it.each([
    ['no reason', {}, '#/reason'],
    ['an empty reason', { reason: '  ' }, '#/reason'],
    ['a reason that is too long', { reason: 'x'.repeat(501) }, '#/reason'],
    ['a reason that is no text', { reason: 7 }, '#/reason'],
    ['a field that there is not', { reason: REASON, minutes: 600 }, '#/minutes'],
  ])('anybody with %s', async (_, body, pointer) => {
    const answer = await act(await tokenOf(realm), crypto.randomUUID(), body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('of twenty at once one is left, and each that ended is in the audit', async () => {
    const [who, by] = [await addPerson(realm, 'ida'), await helper()]
    const all = await Promise.all(Array.from({ length: 20 }, () => act(by.token, who.id)))
    expect(all.map(({ status }) => status)).toEqual(Array(20).fill(200))
    const states = await Promise.all(all.map(({ body }) => alive(body.access_token)))
    expect(states.filter((status) => status === 200).length).toBe(1)
    const said = await entries(
      sql`l.activity_type = 'IMPERSONATION_ENDED' and d.after ->> 'ended_because' = 'replaced' and l.user_id = ${by.id}`,
    )
    expect(said.length).toBe(19)
  })
})

describe('it ends', () => {
  it('by the user, who sees it', async () => {
    const { who, token, session_id } = await acting('jan')
    const own = await tokenOf(realm, who.username)
    expect((await ask(own, `/sessions/${session_id}`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await ask(token, '/auth/whoami'), 401, 'session_ended')
  })

  it('by who acts, with its token or from their own session, and by nobody who holds neither', async () => {
    const { by, token, session_id } = await acting('kim')
    const other = await addMember(realm, 'kim-other')
    expectProblem(await ask(other.token, `/sessions/${session_id}`, { method: 'DELETE' }), 404, 'not_found')
    expect((await ask(by.token, `/sessions/${session_id}`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await ask(token, '/auth/whoami'), 401, 'session_ended')
    const again = await acting('kit')
    expect((await ask(again.token, '/auth/logout', { method: 'POST' })).status).toBe(204)
    expectProblem(await ask(again.token, '/auth/whoami'), 401, 'session_ended')
    expect(await alive(again.by.token)).toBe(200)
  })

  it.each<[string, (by: Helper) => Promise<unknown>]>([
    ['logs out', (by) => ask(by.token, '/auth/logout', { method: 'POST' })],
    ['logs out everywhere', (by) => ask(by.token, '/auth/logout-all', { method: 'POST' })],
    ['is deactivated', (by) => realm.asOwner(sql`update freehold.users set is_active = false where id = ${by.id}`)],
    [
      'may not impersonate any more',
      (by) =>
        realm.asOwner(sql`update freehold.user_roles r set ends_at = now() where r.user_id = ${by.id}
        and r.role_id = (select id from freehold.roles where name = 'helper')`),
    ],
    [
      'is idle for too long',
      (by) =>
        realm.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '9 days' where id = ${by.session_id}`),
    ],
    [
      'is logged out by time',
      (by) => realm.asOwner(sql`update freehold.sessions set expires_at = now() where id = ${by.session_id}`),
    ],
  ])('when who acts %s', async (how, end) => {
    const { by, token } = await acting(`lee-${how.replaceAll(' ', '-')}`)
    expect(await alive(token)).toBe(200)
    await end(by)
    expectProblem(await ask(token, '/auth/whoami'), 401, 'session_ended')
  })

  it('after half an hour, and earlier where the session of who acts is over earlier', async () => {
    const { session_id } = await acting('mia')
    const [session] = await realm.asOwner(
      sql`select expires_at - created_at <= interval '30 minutes' as is_short from freehold.sessions where id = ${session_id}`,
    )
    expect(session?.is_short).toBe(true)
    const [who, by] = [await addPerson(realm, 'mio'), await helper()]
    await realm.asOwner(sql`update freehold.sessions set expires_at = now() + interval '1 minute' where id = ${by.session_id}`)
    expect((await act(by.token, who.id)).body.expires_in).toBeLessThanOrEqual(60)
  })

  it('and the remembered devices of the user stay, when who acts logs out everywhere', async () => {
    const { who, by } = await acting('moe')
    await realm.asOwner(
      sql`insert into freehold.remembered_devices (user_id, device, expires_at) values (${who.id}, gen_random_uuid(), now() + interval '1 day')`,
    )
    expect((await ask(by.token, '/auth/logout-all', { method: 'POST' })).status).toBe(204)
    const left = await realm.asOwner(sql`select 1 from freehold.remembered_devices where user_id = ${who.id}`)
    expect(left.length).toBe(1)
  })
})

describe('in such a session', () => {
  it('no credential is made or changed, nothing is erased, exported or delegated, and nobody steps up', async () => {
    const who = await addPerson(realm, 'ned', { roles: ['user', 'helper'] })
    await realm.asOwner(sql`insert into freehold.overrides (id, user_id, permission, effect, scope)
      select gen_random_uuid(), ${who.id}, p, 'grant', 'own' from unnest(array['delegation:create', 'api_key:create']) p`)
    const admin = await plantSession(realm, 'bo')
    const { access_token: token } = (await act(admin.access_token, who.id)).body
    const other = await addPerson(realm, 'ned-other')
    const tries: [string, string, object][] = [
      ['POST', '/auth/step-up', { password: who.password }],
      ['POST', '/auth/password-change', { current_password: who.password, new_password: 'Violet-Anchor-39-x' }],
      ['POST', '/auth/email-change', { new_email: 'imp-ned@people.test', current_password: who.password }],
      ['POST', '/auth/mfa/setup', {}],
      ['POST', '/auth/passkeys/register/options', {}],
      ['POST', '/api-keys', { name: 'k', permissions: ['user:read'] }],
      ['POST', '/auth/logout-all', {}],
      ['PATCH', '/auth/me', { given_name: 'N' }],
      ['POST', '/auth/me/erase', {}],
      [
        'POST',
        '/delegations',
        {
          delegate_id: other.id,
          permissions: ['user:read'],
          starts_at: new Date().toISOString(),
          ends_at: new Date(Date.now() + 86_400_000).toISOString(),
          reason: 'r',
        },
      ],
      ['POST', `/users/${other.id}/reset-mfa`, {}],
      ['POST', '/auth/reset-password', { user_id: other.id }],
      ['PATCH', `/users/${other.id}`, { email: 'imp-ned-other@people.test' }],
      ['PATCH', `/users/${other.id}`, { username: 'imp-ned-other' }],
    ]
    for (const [method, path, body] of tries) {
      const bodied = Object.keys(body).length || /setup|options|erase$/.test(path) ? { body } : {}
      expectProblem(await ask(token, path, { method, ...bodied }), 403, 'forbidden', `${method} ${path}`)
    }
    expectProblem(await ask(token, '/auth/me/export'), 403, 'forbidden')
    expect(await alive(token)).toBe(200)
    // The guesses of a step-up are not counted against the user.
    expect(await realm.asOwner(sql`select 1 from freehold.lockouts where key = 'change:' || ${who.id}`)).toEqual([])
  })

  it('no statement does so either, by whatever route it comes', async () => {
    const { who, token } = await acting('oda')
    const statements = [
      sql`insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), ${who.id}, 'x')`,
      sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash) values (gen_random_uuid(), ${who.id}, 'x', 'xxxxxxxx', 'x')`,
      sql`delete from freehold.passkeys`,
      sql`update freehold.users set email = 'imp-oda@people.test' where id = ${who.id}`,
    ]
    for (const statement of statements) expect(await refused(token, 'user:read', statement)).toMatch(/^FH403 forbidden/)
    expect(await refused(token, 'user:read', sql`select 1`)).toBe('none')
  })

  it('what the user was given since is refused, if who acts does not hold it; what they lost ends', async () => {
    const { who, by, token } = await acting('pat')
    await addRole(realm, 'pat-units', ['unit:read', 'unit:create'], 'all')
    await realm.asOwner(sql`insert into freehold.user_roles (id, user_id, role_id)
      select gen_random_uuid(), ${who.id}, id from freehold.roles where name = 'pat-units'`)
    expectProblem(await ask(token, '/units'), 403, 'forbidden')
    await realm.asOwner(sql`insert into freehold.overrides (id, user_id, permission, effect, scope)
      values (gen_random_uuid(), ${by.id}, 'unit:read', 'grant', 'all')`)
    expect((await ask(token, '/units')).status).toBe(200)
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${who.id}`)
    expectProblem(await ask(token, '/units'), 403, 'user_inactive')
  })
})
