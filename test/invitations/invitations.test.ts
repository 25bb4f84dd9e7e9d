/** Threat: somebody invites beyond what they hold, or beyond the room that there is, or has mail sent to people without end. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast } from '../roles/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { setLimits } from '../support/limits.ts'
import { mailboxOf } from '../support/mails.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { accept, invite, invited, mailedTo, newAddress, PASSWORD } from './cast.ts'

const AT = 'invites'
let all: Cast
let bo: string

beforeAll(async () => {
  all = await cast(AT)
  bo = all.bo.token
})

const INVITES = { 'invitation:create': 'all', 'invitation:read': 'all', 'invitation:delete': 'all' }

describe('an invitation', () => {
  it('is made in one round trip, open for seven days, and mailed with a link and a code', async () => {
    const email = newAddress()
    const made = await invite(AT, bo, { email, roles: ['user'], given_name: 'Ann', locale: 'es' })
    expect([made.status, made.trips]).toEqual([201, 1])
    expect(made.body).toMatchObject({ email, status: 'open', roles: ['user'], given_name: 'Ann', inviter_id: all.bo.id })
    expect(made.headers.get('Location')).toBe(`/api/v1/invitations/${made.body.id}`)
    expect(Date.parse(made.body.expires_at) - Date.parse(made.body.created_at)).toBe(7 * 86_400_000)
    const token = await mailedTo(all.realm, email)
    const [mail] = await mailboxOf(email)
    expect(mail?.text).toContain(`/invitation#token=${token}`)
    expect(mail?.text).toMatch(/te invita a/)
    expectDiscreet(made, token)
    const read = await all.ask(`/invitations/${made.body.id}`)
    expect([read.status, read.trips, read.body]).toEqual([200, 1, made.body])
  })

  it('leaves no token in the database, and its hash where the app login cannot read it', async () => {
    const { token } = await invited(all.realm, bo)
    const [kept] = await all.realm.asOwner(
      sql`select (select count(*)::int from freehold.invitations i where i::text like ${`%${token}%`})
        + (select count(*)::int from freehold.mails m where m::text like ${`%${token}%`})
        + (select count(*)::int from freehold.audit_detail d where d::text like ${`%${token}%`}) as n`,
    )
    expect(kept).toEqual({ n: 0 })
    const { app_url } = await databaseOf(AT)
    expect(await refusalOf(app_url, sql`select token_hash from freehold.invitations`)).toMatch(/permission denied/)
  })

  it('repeated with its Idempotency-Key is made and mailed once', async () => {
    const email = newAddress()
    const headers = { 'Idempotency-Key': crypto.randomUUID() }
    const [one, two] = [await invite(AT, bo, { email }, headers), await invite(AT, bo, { email }, headers)]
    expect([two.status, two.body]).toEqual([201, one.body])
    const mails = await all.realm.asOwner(sql`select id from freehold.mails where recipient = ${email}`)
    expect(mails).toHaveLength(1)
  })

  it('of one address is open once: of twenty at once one is made', async () => {
    const email = newAddress()
    const answers = await Promise.all(Array.from({ length: 20 }, () => invite(AT, bo, { email })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    for (const answer of answers.filter(({ status }) => status !== 201)) expectProblem(answer, 409, 'already_exists')
  })

  it('is not for oneself, whatever the case, nor for a member', async () => {
    const [{ email } = { email: '' }] = await all.realm.asOwner(sql`select email from freehold.users where id = ${all.bo.id}`)
    const own = await invite(AT, bo, { email: email.toUpperCase() })
    expectProblem(own, 400, 'invalid_request')
    expect(pointers(own)).toEqual(['#/email'])
    const { email: taken } = await all.member('member-already')
    expectProblem(await invite(AT, bo, { email: taken }), 409, 'already_exists')
  })

  it('needs invitation:create, and for roles what giving them needs', async () => {
    const [nobody, inviter] = [await all.member('no-inviter'), await all.member('mere-inviter', { can: INVITES })]
    expectProblem(await invite(AT, nobody.token, { email: newAddress() }), 403, 'forbidden')
    expectProblem(await invite(AT, undefined, { email: newAddress() }), 401, 'token_missing')
    expect((await invite(AT, inviter.token, { email: newAddress() })).status).toBe(201)
    // The fallback role is everybody's; any other one needs role:update, and all that it carries.
    expect((await invite(AT, inviter.token, { email: newAddress(), roles: ['user'] })).status).toBe(201)
    expectProblem(await invite(AT, inviter.token, { email: newAddress(), roles: ['admin'] }), 403, 'forbidden')
    const giver = await all.member('giver', { can: { ...INVITES, 'role:update': 'all', 'unit:read': 'team' } })
    const [less, more] = [
      await all.role('gives less', { 'unit:read': 'team' }),
      await all.role('gives more', { 'unit:read': 'all' }),
    ]
    expect((await invite(AT, giver.token, { email: newAddress(), roles: [less] })).body.roles).toEqual(['gives less'])
    expectProblem(await invite(AT, giver.token, { email: newAddress(), roles: [more] }), 403, 'forbidden')
    expectProblem(await invite(AT, giver.token, { email: newAddress(), roles: ['admin'] }), 403, 'forbidden')
  })

  it('of somebody below scope all leads to a unit that they reach, their own by default, with manageable roles alone', async () => {
    const [here, there] = [await all.unit('here'), await all.unit('there')]
    const can = { 'invitation:create': 'team', 'invitation:read': 'team', 'role:update': 'team', 'unit:read': 'team' }
    const lead = await all.member('team-lead', { can, unit: here })
    const made = await invite(AT, lead.token, { email: newAddress() })
    expect(made.body).toMatchObject({ unit_id: here })
    const elsewhere = await invite(AT, lead.token, { email: newAddress(), unit_id: there })
    expectProblem(elsewhere, 400, 'invalid_request')
    expect(pointers(elsewhere)).toEqual(['#/unit_id'])
    const [group, other] = [
      await all.role('a group', { 'unit:read': 'team' }, { is_manageable: true }),
      await all.role('no group', { 'unit:read': 'team' }),
    ]
    const { token } = await invited(all.realm, lead.token, { roles: [group] })
    const accepted = await accept(AT, { token, password: PASSWORD })
    expect(accepted.body.roles).toEqual(['a group'])
    expect((await all.ask(`/users/${accepted.body.id}`)).body.unit_id).toBe(here)
    expectProblem(await invite(AT, lead.token, { email: newAddress(), roles: [other] }), 403, 'forbidden')
    const roofless = await all.member('no-team', { can: {}, roles: ['of team-lead'] })
    expectProblem(await invite(AT, roofless.token, { email: newAddress() }), 400, 'invalid_request')
    // Of others they see those of their unit, and nobody else's.
    const listed = await all.ask('/invitations', { token: lead.token })
    expect(listed.body.data.map((one: { unit_id: string }) => one.unit_id)).toEqual([here, here])
    const foreign = await invited(all.realm, bo)
    expectProblem(await all.ask(`/invitations/${foreign.id}`, { token: lead.token }), 404, 'not_found')
  })

  it('by an API key gives what the key names', async () => {
    const name = 'inviting'
    const made = await all.ask('/api-keys', { body: { name, permissions: ['invitation:create', 'role:update'] } })
    const key = { token: '', headers: { 'X-API-Key': made.body.key } }
    const ask = (body: object) => all.ask('/invitations', { ...key, body })
    expect((await ask({ email: newAddress() })).status).toBe(201)
    expectProblem(await ask({ email: newAddress(), roles: ['admin'] }), 403, 'forbidden')
  })

  it.each<[string, object, string]>([
    ['no address', {}, '#/email'],
    ['what is no address', { email: 'nobody' }, '#/email'],
    ['an over-long one', { email: `${'a'.repeat(300)}@invited.test` }, '#/email'],
    ['a number as address', { email: 7 }, '#/email'],
    ['a role that there is not', { email: 'x@invited.test', roles: ['emperor'] }, '#/roles'],
    ['no roles at all', { email: 'x@invited.test', roles: [] }, '#/roles'],
    ['too many roles', { email: 'x@invited.test', roles: Array.from({ length: 21 }, (_, n) => `r${n}`) }, '#/roles'],
    ['a unit that is none', { email: 'x@invited.test', unit_id: crypto.randomUUID() }, '#/unit_id'],
    ['an organization by name', { email: 'x@invited.test', organization_id: 'acme' }, '#/organization_id'],
    ['an unknown field', { email: 'x@invited.test', token: 'x' }, '#/token'],
    ['control characters in a name', { email: 'x@invited.test', given_name: 'A\u0000' }, '#/given_name'],
    ['no locale', { email: 'x@invited.test', locale: 'en_!' }, '#/locale'],
  ])('with %s is told where', async (_, body, at) => {
    const answer = await invite(AT, bo, body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer).some((one) => one.startsWith(at))).toBe(true)
  })
})

describe('the list', () => {
  it('has all statuses, newest first, in pages', async () => {
    const list = await cast('invites-list')
    const made: string[] = []
    for (let n = 0; n < 4; n++) made.push((await invited(list.realm, list.bo.token)).id)
    const [open, accepted, expired, revoked] = made as [string, string, string, string]
    const token = await mailedTo(list.realm, (await list.ask(`/invitations/${accepted}`)).body.email)
    await accept('invites-list', { token, password: PASSWORD })
    await list.realm.asOwner(sql`update freehold.invitations set expires_at = now() where id = ${expired}`)
    expect((await list.ask(`/invitations/${revoked}/revoke`, { method: 'POST' })).body.status).toBe('revoked')
    const ids = async (query: string) => (await list.ask(`/invitations?${query}`)).body.data.map(({ id }: { id: string }) => id)
    for (const [status, id] of Object.entries({ open, accepted, expired, revoked }))
      expect(await ids(`status=${status}`), status).toEqual([id])
    const first = await list.ask('/invitations?limit=3')
    expect([first.trips, first.body.data.map(({ id }: { id: string }) => id)]).toEqual([1, [...made].reverse().slice(0, 3)])
    expect(await ids(`limit=3&cursor=${first.body.next_cursor}`)).toEqual([open])
    expectProblem(await list.ask('/invitations?cursor=x'), 400, 'invalid_cursor')
    expectProblem(await list.ask('/invitations?status=gone'), 400, 'invalid_request')
    expectProblem(await list.ask('/invitations', { token: bo }), 401, 'token_wrong_tenant')
  })
})

describe('sending again', () => {
  it('mails another token, for seven days from now; the one before is dead', async () => {
    const { id, email, token } = await invited(all.realm, bo)
    await all.realm.asOwner(sql`update freehold.invitations set expires_at = now() - interval '1 hour' where id = ${id}`)
    const again = await all.ask(`/invitations/${id}/resend`, { method: 'POST' })
    expect([again.status, again.trips, again.body.status]).toEqual([200, 1, 'open'])
    const newer = await mailedTo(all.realm, email)
    expect(newer).not.toBe(token)
    expectProblem(await accept(AT, { token, password: PASSWORD }), 400, 'invalid_request')
    expect((await accept(AT, { token: newer, password: PASSWORD })).status).toBe(201)
    expectProblem(await all.ask(`/invitations/${id}/resend`, { method: 'POST' }), 409, 'illegal_state')
  })

  it('fills nobody’s mailbox: beyond five mails an hour it is refused, and the token before still works', async () => {
    const { id, email } = await invited(all.realm, bo)
    const statuses: number[] = []
    for (let n = 0; n < 6; n++) statuses.push((await all.ask(`/invitations/${id}/resend`, { method: 'POST' })).status)
    expect(statuses).toEqual([200, 200, 200, 200, 409, 409])
    expect((await accept(AT, { token: await mailedTo(all.realm, email), password: PASSWORD })).status).toBe(201)
  })

  it('of a hundred mails within the hour is the last of an inviter', async () => {
    const busy = await all.member('busy', { can: INVITES })
    await all.realm.asOwner(
      sql`insert into freehold.invitations (id, email, inviter_id, token_hash, expires_at)
        select gen_random_uuid(), n || '@busy.test', ${busy.id}, sha256(n::text::bytea), now() + interval '1 day' from generate_series(1, 99) n`,
    )
    expect((await invite(AT, busy.token, { email: newAddress() })).status).toBe(201)
    expectProblem(await invite(AT, busy.token, { email: newAddress() }), 409, 'limit_reached')
    expect((await invite(AT, bo, { email: newAddress() })).status).toBe(201)
    await all.realm.asOwner(sql`delete from freehold.invitations where inviter_id = ${busy.id}`)
  })

  it('takes a place again where it had expired, of the tenant and of the organization, and none where it is open', async () => {
    const full = await cast('invites-again')
    const again = (id: string) => full.ask(`/invitations/${id}/resend`, { method: 'POST' })
    const expire = (id: string) =>
      full.realm.asOwner(sql`update freehold.invitations set expires_at = now() - interval '1 hour' where id = ${id}`)
    const { body: organization } = await full.ask('/organizations', { body: { name: 'Of one', user_limit: 1 } })
    const [first, open] = [await invited(full.realm, full.bo.token), await invited(full.realm, full.bo.token)]
    const within = await invited(full.realm, full.bo.token, { organization_id: organization.id })
    await expire(within.id)
    const other = await invited(full.realm, full.bo.token, { organization_id: organization.id })
    expectProblem(await again(within.id), 409, 'limit_reached')
    expect((await again(other.id)).status).toBe(200)
    expect((await full.ask(`/invitations/${other.id}/revoke`, { method: 'POST' })).status).toBe(200)
    await expire(first.id)
    const [{ n } = { n: 0 }] = await full.realm.asOwner(sql`select count(*)::int as n from freehold.users where is_active`)
    await setLimits(full.realm.id, { max_users: n + 1 })
    expectProblem(await again(first.id), 409, 'limit_reached')
    expectProblem(await again(within.id), 409, 'limit_reached')
    expect((await again(open.id)).status).toBe(200)
    await setLimits(full.realm.id, { max_users: n + 2 })
    const both = await Promise.all([again(first.id), again(within.id)])
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409])
  })

  it('gives what whoever sends it again can give', async () => {
    const { id } = await invited(all.realm, bo, { roles: ['admin'] })
    const lesser = await all.member('lesser', { can: { ...INVITES, 'role:update': 'all' } })
    expectProblem(await all.ask(`/invitations/${id}/resend`, { method: 'POST', token: lesser.token }), 403, 'forbidden')
  })
})

describe('revoking', () => {
  it('kills the token, once, and makes room for another one', async () => {
    const { id, email, token } = await invited(all.realm, bo)
    const revoked = await all.ask(`/invitations/${id}/revoke`, { method: 'POST' })
    expect([revoked.status, revoked.body.status]).toEqual([200, 'revoked'])
    expectProblem(await accept(AT, { token, password: PASSWORD }), 400, 'invalid_request')
    expectProblem(await all.ask(`/invitations/${id}/revoke`, { method: 'POST' }), 409, 'illegal_state')
    expectProblem(await all.ask(`/invitations/${id}/resend`, { method: 'POST' }), 409, 'illegal_state')
    expect((await invite(AT, bo, { email })).status).toBe(201)
    expectProblem(await all.ask(`/invitations/${crypto.randomUUID()}/revoke`, { method: 'POST' }), 404, 'not_found')
  })

  it('of somebody else’s needs invitation:delete there', async () => {
    const { id } = await invited(all.realm, bo)
    const reader = await all.member('reader', { can: { 'invitation:read': 'all', 'invitation:create': 'own' } })
    expectProblem(await all.ask(`/invitations/${id}/revoke`, { method: 'POST', token: reader.token }), 403, 'forbidden')
    expectProblem(await all.ask(`/invitations/${id}/resend`, { method: 'POST', token: reader.token }), 403, 'forbidden')
  })
})

describe('a limit of users', () => {
  it('counts open invitations when somebody invites, and no more once they are closed', async () => {
    const tight = await cast('invites-tight')
    const [{ n } = { n: 0 }] = await tight.realm.asOwner(sql`select count(*)::int as n from freehold.users where is_active`)
    await setLimits(tight.realm.id, { max_users: n + 2 })
    const ask = () => invite('invites-tight', tight.bo.token, { email: newAddress() })
    const answers = await Promise.all(Array.from({ length: 6 }, ask))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 409, 409, 409, 409])
    for (const answer of answers.filter(({ status }) => status === 409)) expectProblem(answer, 409, 'limit_reached')
    const made = answers.find(({ status }) => status === 201)
    expect((await tight.ask(`/invitations/${made?.body.id}/revoke`, { method: 'POST' })).status).toBe(200)
    expect((await ask()).status).toBe(201)
  })
})

it('is in the audit: sent, accepted and revoked, with who did it', async () => {
  const [one, two] = [await invited(all.realm, bo), await invited(all.realm, bo)]
  const accepted = await accept(AT, { token: one.token, password: PASSWORD })
  await all.ask(`/invitations/${two.id}/revoke`, { method: 'POST' })
  const entries = await all.realm.asOwner(
    sql`select activity_type as type, user_id, resource_id as id from freehold.audit_log where resource_type = 'invitation'
      and resource_id in (${one.id}, ${two.id}) order by at, activity_type`,
  )
  expect(entries).toEqual([
    { type: 'INVITATION_SENT', user_id: all.bo.id, id: one.id },
    { type: 'INVITATION_SENT', user_id: all.bo.id, id: two.id },
    { type: 'INVITATION_ACCEPTED', user_id: accepted.body.id, id: one.id },
    { type: 'INVITATION_REVOKED', user_id: all.bo.id, id: two.id },
  ])
})
