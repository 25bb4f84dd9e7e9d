/** Threat: a token lets in whom it was not mailed to, or more than one, or gives what nobody may give any more. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast } from '../roles/cast.ts'
import { setLimits } from '../support/limits.ts'
import { mailboxOf, mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { accept, invited, newAddress, PASSWORD } from './cast.ts'

const AT = 'accepts'
const OTHER = 'accepts-too'
let all: Cast
let bo: string

beforeAll(async () => {
  ;[all] = await Promise.all([cast(AT), cast(OTHER)])
  bo = all.bo.token
})

const preview = (token: string, at = AT) => call(at, '/api/v1/invitations/preview', { body: { token } })
const countOf = async (email: string) =>
  (await all.realm.asOwner(sql`select count(*)::int as n from freehold.users where email = ${email}`))[0]?.n

describe('a new person', () => {
  it('is made with a password, a proven address and the roles, in two round trips, once, and logs in', async () => {
    const { email, token, id } = await invited(all.realm, bo, { roles: ['user'], given_name: 'Ann' })
    const accepted = await accept(AT, { token, password: PASSWORD, family_name: 'Lee' })
    expect([accepted.status, accepted.trips]).toEqual([201, 2])
    expect(accepted.headers.get('Location')).toBe(`/api/v1/users/${accepted.body.id}`)
    expect(accepted.body).toMatchObject({ email, roles: ['user'], organization_id: null })
    const user = await all.ask(`/users/${accepted.body.id}`)
    expect(user.body).toMatchObject({ email_verified: true, given_name: 'Ann', family_name: 'Lee', must_change_password: false })
    const entered = await call(AT, '/api/v1/auth/login', { body: { email, password: PASSWORD } })
    expect(entered.status).toBe(200)
    const again = await accept(AT, { token, password: PASSWORD })
    expectProblem(again, 400, 'invalid_request')
    expect(pointers(again)).toEqual(['#/token'])
    expect((await all.ask(`/invitations/${id}`)).body).toMatchObject({ status: 'accepted', accepted_by: accepted.body.id })
  })

  it('is told of to whoever invited, in their language, and to nobody where they have left', async () => {
    const host = await all.member('host', { can: { 'invitation:create': 'all' } })
    const hostess = 'host-of-accepts@told.test'
    await all.realm.asOwner(sql`update freehold.users set email = ${hostess}, locale = 'es' where id = ${host.id}`)
    const [one, two] = [await invited(all.realm, host.token), await invited(all.realm, host.token)]
    expect((await accept(AT, { token: one.token, password: PASSWORD })).status).toBe(201)
    const [mail] = await mailsTo(hostess)
    expect(mail?.subject).toContain('Han aceptado tu invitación')
    expect(mail?.text).toContain(one.email)
    await all.realm.asOwner(sql`update freehold.users set is_active = false where id = ${host.id}`)
    expectProblem(await accept(AT, { token: two.token, password: PASSWORD }), 400, 'invalid_request')
    expect(await mailboxOf(hostess)).toHaveLength(1)
  })

  it('without roles gets the role of who registers, and may choose a username, which gets a suffix where it is taken', async () => {
    const [one, two] = [await invited(all.realm, bo), await invited(all.realm, bo)]
    const first = await accept(AT, { token: one.token, password: PASSWORD, username: 'Chosen' })
    expect(first.body).toMatchObject({ username: 'chosen', roles: ['user'] })
    const second = await accept(AT, { token: two.token, password: PASSWORD, username: 'chosen' })
    expect(second.body.username).toMatch(/^chosen-[0-9a-f]{5}$/)
  })

  it('is made once: of twenty at once one', async () => {
    const { email, token } = await invited(all.realm, bo)
    const answers = await Promise.all(Array.from({ length: 20 }, () => accept(AT, { token, password: PASSWORD })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(await countOf(email)).toBe(1)
    // Whoever comes later meets the account, or the used token.
    for (const { status, body } of answers.filter(({ status }) => status !== 201))
      expect([400, 409], JSON.stringify(body)).toContain(status)
  })

  it('of five for the last place is one, exactly; the invitations of the others stay open', async () => {
    const last = await cast('accepts-last')
    const all5 = await Promise.all(Array.from({ length: 5 }, () => invited(last.realm, last.bo.token)))
    const [{ n } = { n: 0 }] = await last.realm.asOwner(sql`select count(*)::int as n from freehold.users where is_active`)
    await setLimits(last.realm.id, { max_users: n + 1 })
    const answers = await Promise.all(all5.map(({ token }) => accept('accepts-last', { token, password: PASSWORD })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409])
    for (const answer of answers.filter(({ status }) => status === 409)) expectProblem(answer, 409, 'limit_reached')
    expect((await last.ask('/invitations?status=open')).body.data).toHaveLength(4)
  })

  it('of five for the last place of a role is one', async () => {
    const role = await all.role('one of these', {}, { max_users: 1 })
    const five = await Promise.all(Array.from({ length: 5 }, () => invited(all.realm, bo, { roles: [role] })))
    const answers = await Promise.all(five.map(({ token }) => accept(AT, { token, password: PASSWORD })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409])
  })

  it.each<[string, object, string]>([
    ['no password', {}, '#/password'],
    ['a weak one', { password: 'short' }, '#/password'],
    ['a common one', { password: 'password1234' }, '#/password'],
    ['an over-long one', { password: 'a'.repeat(1025) }, '#/password'],
    ['an unknown field', { password: PASSWORD, email: 'other@invited.test' }, '#/email'],
    ['a role of their own choice', { password: PASSWORD, roles: ['admin'] }, '#/roles'],
    ['a username that is none', { password: PASSWORD, username: 'a@b' }, '#/username'],
  ])('with %s is told where, and the token stays valid', async (_, body, at) => {
    const { token } = await invited(all.realm, bo)
    const answer = await accept(AT, { token, ...body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(at)
    expect((await preview(token)).status).toBe(200)
  })
})

describe('a token', () => {
  it('that is cut off, made up, another tenant’s, expired or revoked is refused alike', async () => {
    const [mine, old, gone] = [await invited(all.realm, bo), await invited(all.realm, bo), await invited(all.realm, bo)]
    await all.realm.asOwner(sql`update freehold.invitations set expires_at = now() where id = ${old.id}`)
    await all.ask(`/invitations/${gone.id}/revoke`, { method: 'POST' })
    const refused = [
      [AT, mine.token.slice(0, -1)],
      [AT, `${mine.token}A`],
      [AT, 'made-up'],
      [OTHER, mine.token],
      [AT, old.token],
      [AT, gone.token],
    ] as const
    for (const [at, token] of refused) {
      for (const answer of [await accept(at, { token, password: PASSWORD }), await preview(token, at)]) {
        expectProblem(answer, 400, 'invalid_request')
        expect(answer.body.errors).toEqual([{ pointer: '#/token', detail: 'is unknown, used or expired; ask for a new one' }])
      }
    }
    expect((await accept(AT, { token: mine.token, password: PASSWORD })).status).toBe(201)
  })

  it('shows what it is for, and nothing of the policy or of the roles', async () => {
    const { email, token } = await invited(all.realm, bo, { given_name: 'Ann' })
    const shown = await preview(token)
    expect([shown.status, shown.trips]).toEqual([200, 1])
    expect(shown.body).toEqual({
      email,
      given_name: 'Ann',
      family_name: null,
      organization_id: null,
      organization: null,
      inviter: expect.any(String),
      expires_at: expect.any(String),
      is_user: false,
    })
    expectDiscreet(shown)
  })

  it('is dead while its inviter is not active, or may invite no more', async () => {
    const can = { 'invitation:create': 'all', 'invitation:read': 'all' }
    const [gone, demoted] = [await all.member('gone', { can }), await all.member('demoted', { can })]
    const [one, two] = [await invited(all.realm, gone.token), await invited(all.realm, demoted.token)]
    expect((await all.ask(`/users/${gone.id}/deactivate`, { method: 'POST' })).status).toBe(200)
    expect((await all.ask(`/users/${demoted.id}/roles/${await all.roleId('of demoted')}`, { method: 'DELETE' })).status).toBe(204)
    for (const { token } of [one, two]) expectProblem(await accept(AT, { token, password: PASSWORD }), 400, 'invalid_request')
  })
})

describe('what was promised', () => {
  it('is given as far as the inviter can still give it: what they lost, or was deleted, is left out', async () => {
    const can = { 'invitation:create': 'all', 'role:update': 'all' } as const
    const giver = await all.member('gave', { can: { ...can, 'unit:read': 'all' } })
    const [kept, deleted] = [await all.role('kept', { 'unit:read': 'all' }), await all.role('deleted later', {})]
    const lost = await all.role('lost later', { 'unit:update': 'all' })
    await all.realm.asOwner(
      sql`insert into freehold.role_permissions (id, role_id, permission, scope)
        select gen_random_uuid(), r.id, 'unit:update', 'all' from freehold.roles r where r.name = 'of gave'`,
    )
    const some = await invited(all.realm, giver.token, { roles: [kept, deleted, lost] })
    const none = await invited(all.realm, giver.token, { roles: [lost] })
    await all.realm.asOwner(
      sql`update freehold.role_permissions set ends_at = now() where permission = 'unit:update'
        and role_id = (select id from freehold.roles where name = 'of gave')`,
    )
    expect((await all.ask(`/roles/${deleted}`, { method: 'DELETE' })).status).toBe(204)
    expect((await accept(AT, { token: some.token, password: PASSWORD })).body.roles).toEqual(['kept'])
    expectProblem(await accept(AT, { token: none.token, password: PASSWORD }), 409, 'illegal_state')
    expect(await countOf(none.email)).toBe(0)
  })
})

describe('an address that has an account', () => {
  /** Invited as nobody, who then got an account otherwise. */
  async function known(name: string, roles?: string[], can?: Record<string, string>) {
    const email = `${name}@people.test`
    const { token, id } = await invited(all.realm, bo, { email, ...(roles && { roles }) })
    return { ...(await all.member(name, { ...(can && { can }) })), invitation: token, invitation_id: id }
  }

  it('is joined by its own session alone, in one round trip, once', async () => {
    const extra = await all.role('extra', { 'unit:read': 'all' })
    const who = await known('joins', [extra])
    const stranger = await all.member('another-person')
    expectProblem(await accept(AT, { token: who.invitation, password: PASSWORD }), 409, 'already_exists')
    expectProblem(await accept(AT, { token: who.invitation }, stranger.token), 403, 'forbidden')
    const joined = await accept(AT, { token: who.invitation }, who.token)
    expect([joined.status, joined.trips]).toEqual([200, 1])
    expect(joined.body).toMatchObject({ id: who.id, roles: ['extra', 'user'] })
    // The same session has them on its next request, and its password is what it was.
    expect((await all.ask('/units', { token: who.token })).status).toBe(200)
    expect((await call(AT, '/api/v1/auth/login', { body: { email: who.email, password: who.password } })).status).toBe(200)
    expectProblem(await accept(AT, { token: who.invitation }, who.token), 400, 'invalid_request')
  })

  it('is not joined by a session that has ended, one of another tenant, or an API key', async () => {
    const who = await known('cannot', undefined, { 'api_key:create': 'own', 'unit:read': 'all' })
    const made = await all.ask('/api-keys', { token: who.token, body: { name: 'k', permissions: ['unit:read'] } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    const other = await call(AT, '/api/v1/auth/login', { body: { email: who.email, password: who.password } })
    await call(AT, '/api/v1/auth/logout', { token: other.body.access_token, body: {} })
    expectProblem(await accept(AT, { token: who.invitation }, other.body.access_token), 401, 'session_ended')
    const there = await call(OTHER, '/api/v1/invitations/accept', { token: who.token, body: { token: who.invitation } })
    expectProblem(there, 401, 'token_wrong_tenant')
    const key = { 'X-API-Key': made.body.key }
    expect((await call(AT, '/api/v1/units', { headers: key })).status).toBe(200)
    const body = { token: who.invitation }
    expectProblem(await call(AT, '/api/v1/invitations/accept', { headers: key, body }), 403, 'forbidden')
    expectProblem(await accept(AT, { token: who.invitation }, 'no token'), 401, 'token_invalid')
    expect((await all.ask(`/invitations/${who.invitation_id}`)).body.status).toBe('open')
  })

  it('gains nothing beyond what the inviter gives, though its own session accepts', async () => {
    const who = await known('gains')
    await accept(AT, { token: who.invitation }, who.token)
    const held = await all.ask(`/users/${who.id}/roles`)
    expect(held.body.data.map(({ role }: { role: string }) => role)).toEqual(['user'])
    expectProblem(await all.ask('/roles', { token: who.token, body: { name: 'mine', permissions: [] } }), 403, 'forbidden')
  })
})

it('of an address whose owner was erased nothing is left', async () => {
  const email = newAddress('erased')
  const { token, id } = await invited(all.realm, bo, { email, given_name: 'Zora' })
  const { body } = await accept(AT, { token, password: PASSWORD })
  await all.realm.asOwner(sql`select access.scrub_person(${body.id})`)
  expect(await all.realm.asOwner(sql`select id from freehold.invitations where id = ${id}`)).toEqual([])
})

it('is purged ninety days after it expired', async () => {
  const { id } = await invited(all.realm, bo)
  await all.realm.asOwner(sql`update freehold.invitations set expires_at = now() - interval '91 days' where id = ${id}`)
  await all.realm.asOwner(sql`select access.purge(1000)`)
  expect(await all.realm.asOwner(sql`select id from freehold.invitations where id = ${id}`)).toEqual([])
})
