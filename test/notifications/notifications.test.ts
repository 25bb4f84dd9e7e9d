/**
 * Threat: somebody reads, or marks as read, what another is told; what endangers an account is told to nobody; or somebody tells
 * another so much that they look no more.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let here: Cast
let ann: Member
let ben: Member
let people = 0

beforeAll(async () => {
  here = await cast('notified')
  await copyTenant('notified-too')
})

const CAN = { 'delegation:create': 'own', 'delegation:read': 'own', 'delegation:update': 'own', 'user:read': 'own' }
const list = async (who: Member, query = '') => (await here.ask(`/notifications${query}`, { token: who.token })).body.data
const unread = async (who: Member) => (await here.ask('/notifications/unread-count', { token: who.token })).body.unread
/** As a function of another file tells somebody. */
const tell = (
  who: { id: string },
  event = 'competency_expires',
  params: object = { competency: 'Welding', expires_at: '2030-01-02T00:00:00Z' },
) => here.realm.asOwner(sql`select access.notify(${who.id}, ${event}, ${JSON.stringify(params)}::jsonb)`)
const read = (who: { token: string }, id: string) => here.ask(`/notifications/${id}/read`, { method: 'POST', token: who.token })
const newcomer = (more = {}) => here.member(`told-${people++}`, more)

beforeAll(async () => {
  ;[ann, ben] = [await newcomer(), await newcomer()]
})

describe('what somebody is told', () => {
  it('is in their list, newest first, in the language of the request, and nobody else has it', async () => {
    await tell(ann)
    await tell(ann, 'password_expires', { expires_at: '2030-01-02T03:04:05Z' })
    const answer = await here.ask('/notifications', { token: ann.token })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body.data.map(({ event, kind }: any) => [event, kind])).toEqual([
      ['password_expires', 'security'],
      ['competency_expires', 'competency'],
    ])
    expect(answer.body.data[1]).toMatchObject({
      title: 'A competency expires soon',
      text: 'Welding expires on January 2, 2030 at 12:00 AM.',
      params: { competency: 'Welding' },
      resource: null,
      read_at: null,
    })
    const spanish = await here.ask('/notifications', { token: ann.token, headers: { 'Accept-Language': 'es-PE' } })
    expect(spanish.body.data[1]).toMatchObject({
      title: 'Una competencia caduca pronto',
      text: expect.stringMatching(/^Welding caduca el 2 de enero de 2030/),
    })
    expect(await list(ben)).toEqual([])
    expectProblem(await call('notified-too', '/api/v1/notifications', { token: ann.token }), 401, 'token_wrong_tenant')
    expectProblem(await call('notified', '/api/v1/notifications'), 401, 'token_missing')
  })

  it('comes in pages, without gaps and without repeats, also where only what is unread is asked for', async () => {
    const who = await newcomer()
    for (let i = 0; i < 5; i++) await tell(who, 'competency_expires', { competency: `c${i}`, expires_at: '2030-01-01' })
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page: any = await here.ask(`/notifications?limit=2&unread=true${cursor && `&cursor=${cursor}`}`, { token: who.token })
      seen.push(...page.body.data.map(({ params }: any) => params.competency))
      cursor = page.body.next_cursor
    }
    expect(seen).toEqual(['c4', 'c3', 'c2', 'c1', 'c0'])
    await read(who, (await list(who))[0].id)
    expect((await list(who, '?unread=true')).map(({ params }: any) => params.competency)).toEqual(['c3', 'c2', 'c1', 'c0'])
    expect((await list(who, '?unread=false')).length).toBe(5)
    expectProblem(await here.ask('/notifications?cursor=c.forged.one', { token: who.token }), 400, 'invalid_cursor')
    expectProblem(await here.ask('/notifications?unread=yes', { token: who.token }), 400, 'invalid_request')
  })

  it('has values as they were given, and no line breaks of theirs in the text', async () => {
    const who = await newcomer()
    await tell(who, 'api_key_created', { key_name: 'a\n{prefix}\u2028b', prefix: 'x' })
    const [told] = await list(who)
    expect(told.text).toBe('The API key a {prefix} b (fh_x) was created for your account.')
    expect(told.params.key_name).toBe('a\n{prefix}\u2028b')
  })

  it('of what a later release tells, says at least its name', async () => {
    const who = await newcomer()
    await tell(who, 'moon_landed', {})
    expect((await list(who))[0]).toMatchObject({ event: 'moon_landed', title: 'moon_landed', kind: 'security' })
  })

  it('is at most a hundred of one kind within an hour, but for their security', async () => {
    const who = await newcomer()
    await here.realm.asOwner(sql`select access.notify(${who.id}, 'competency_expired', '{}') from generate_series(1, 150)`)
    await here.realm.asOwner(sql`select access.notify(${who.id}, 'password_changed', '{}') from generate_series(1, 101)`)
    expect(await unread(who)).toBe(201)
  })
})

describe('marking as read', () => {
  it('is done once: twenty at once leave one moment, and one count less', async () => {
    const who = await newcomer()
    await tell(who)
    await tell(who)
    const [{ id }] = await list(who)
    const answers = await Promise.all(Array.from({ length: 20 }, () => read(who, id)))
    expect(answers.map(({ status, trips }) => [status, trips])).toEqual(Array(20).fill([200, 1]))
    expect(new Set(answers.map(({ body }) => body.read_at)).size).toBe(1)
    expect(await unread(who)).toBe(1)
    const all = await Promise.all(
      Array.from({ length: 20 }, () => here.ask('/notifications/read-all', { method: 'POST', token: who.token })),
    )
    expect(all.reduce((sum, { body }) => sum + body.marked, 0)).toBe(1)
    expect(await unread(who)).toBe(0)
  })

  it("of somebody else's is as of one that there is not", async () => {
    const who = await newcomer()
    await tell(who)
    const [{ id }] = await list(who)
    expectProblem(await read(ben, id), 404, 'not_found')
    expectProblem(await read({ token: here.bo.token }, id), 404, 'not_found')
    expectProblem(await read(who, crypto.randomUUID()), 404, 'not_found')
    expectProblem(await read(who, 'first'), 400, 'invalid_request')
    expectProblem(await call('notified', `/api/v1/notifications/${id}/read`, { method: 'POST' }), 401, 'token_missing')
    expect(await unread(who)).toBe(1)
  })
})

describe('preferences', () => {
  const prefer = (who: Member, body: object) => here.ask('/notifications/preferences', { method: 'PUT', token: who.token, body })

  it('say for each kind whether it is listed, and whether it is mailed; what was not chosen is as for everybody', async () => {
    const who = await newcomer()
    const usual = (await here.ask('/notifications/preferences', { token: who.token })).body
    expect(usual.security).toEqual({ in_app: true, mail: 'off' })
    const chosen = await prefer(who, { competency: { in_app: false, mail: 'off' } })
    expect(chosen.body).toEqual({ ...usual, competency: { in_app: false, mail: 'off' } })
    await tell(who)
    await tell(who, 'invitation_accepted')
    expect((await list(who)).map(({ kind }: any) => kind)).toEqual(['invitation'])
    await prefer(who, { competency: { in_app: false, mail: 'digest' } })
    await tell(who)
    expect(await unread(who)).toBe(1)
    expect((await prefer(who, {})).body).toEqual(usual)
    expect((await here.ask('/notifications/preferences', { token: ben.token })).body).toEqual(usual)
  })

  it('are in the audit, and an event, with what they were', async () => {
    const who = await newcomer()
    const chosen = { security: { in_app: false, mail: 'off' } }
    await prefer(who, {})
    await prefer(who, chosen)
    await prefer(who, chosen)
    const entries = await here.realm.asOwner(
      sql`select l.activity_type, access.event_type(l.activity_type, l.resource_type, l.action) as type, d.before, d.after
        from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.resource_type = 'notification_preferences' and l.user_id = ${who.id} order by l.at`,
    )
    expect(entries).toMatchObject([
      { activity_type: 'NOTIFICATION_PREFERENCES_CREATED', type: 'notification_preferences.created' },
      { type: 'notification_preferences.updated', before: { kinds: {} }, after: { kinds: chosen } },
    ])
    expect(entries).toHaveLength(2)
  })

  it('are refused where they are none', async () => {
    for (const [body, at] of [
      [{ weather: { in_app: true, mail: 'off' } }, '#/weather'],
      [{ security: { in_app: true, mail: 'hourly' } }, '#/security/mail'],
      [{ security: { in_app: 'yes', mail: 'off' } }, '#/security/in_app'],
      [{ security: { in_app: true, mail: 'off', sms: true } }, '#/security/sms'],
      [{ security: { in_app: true } }, '#/security/mail'],
    ] as const) {
      const answer = await prefer(ben, body)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual([at])
    }
  })
})

describe('the transaction in which it happens tells', () => {
  it('of a login from another device, not of the first nor of one of before', async () => {
    const who = { ...(await addPerson(here.realm, 'new-device', { roles: ['user'] })), token: '' }
    const from = (agent: string) =>
      login('notified', { body: { username: who.username, password: who.password }, headers: { 'User-Agent': agent } })
    who.token = (await from('Firefox/1')).access_token
    expect(await list(who)).toEqual([])
    await from('Firefox/1')
    expect(await list(who)).toEqual([])
    await from('Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0')
    expect((await list(who))[0]).toMatchObject({
      event: 'new_device',
      params: { device: 'Firefox on Linux' },
      resource: { type: 'session' },
    })
  })

  it('of a login that calls its device what it likes: those words are not in the sentence', async () => {
    const who = { ...(await addPerson(here.realm, 'strange-device', { roles: ['user'] })), token: '' }
    const from = (agent: string) =>
      login('notified', { body: { username: who.username, password: who.password }, headers: { 'User-Agent': agent } })
    who.token = (await from('Firefox/1')).access_token
    await from('Call-0800-and-say-your-password/1')
    const [told] = await list(who)
    expect(told.text).toContain('logged in to your account with an unknown device.')
    expect(JSON.stringify(told)).not.toContain('0800')
  })

  it('of a changed password, besides its mail', async () => {
    const who = await newcomer()
    const answer = await here.ask('/auth/password-change', {
      token: who.token,
      body: { current_password: who.password, new_password: 'an-Other-pass-0f-Them' },
    })
    expect(answer.status).toBe(204)
    expect((await list(who))[0]).toMatchObject({ event: 'password_changed', kind: 'security', params: {} })
  })

  it('of a delegation: the delegate, who decides, and the delegator; nobody of what they do themselves', async () => {
    const [from, to] = [await newcomer({ can: CAN }), await newcomer({ can: { 'delegation:read': 'own' } })]
    const bo: any = { token: here.bo.token }
    await here.ask('/settings', { method: 'PATCH', body: { delegation_approval: true } })
    const lend = () =>
      here.ask('/delegations', {
        token: from.token,
        body: { delegate_id: to.id, permissions: ['user:read'], ends_at: '2999-01-01T00:00:00Z' },
      })
    const asked = await lend()
    expect(asked.status, JSON.stringify(asked.body)).toBe(201)
    expect((await list(bo))[0]).toMatchObject({
      event: 'delegation_requested',
      resource: { type: 'delegation', id: asked.body.id },
      text: expect.stringMatching(/^Cyan Okonkwo asks to delegate from /),
    })
    expect([await unread(from), await unread(to)]).toEqual([0, 0])
    await here.ask(`/delegations/${asked.body.id}/approve`, { method: 'POST' })
    expect((await list(from)).map(({ event }: any) => event)).toEqual(['delegation_approved'])
    expect((await list(to)).map(({ event }: any) => event)).toEqual(['delegation_received'])
    await here.ask(`/delegations/${asked.body.id}/revoke`, { method: 'POST', token: from.token })
    expect((await list(to)).map(({ event }: any) => event)).toEqual(['delegation_revoked', 'delegation_received'])
    expect(await unread(from)).toBe(1)
    await here.ask('/settings', { method: 'PATCH', body: { delegation_approval: false } })
    await lend()
    expect((await list(to))[0].event).toBe('delegation_received')
  })
})

it('programs with a key are told nothing', async () => {
  const made = await here.ask('/api-keys', { body: { name: 'a program', permissions: ['user:read'] } })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const answer = await call('notified', '/api/v1/notifications', { headers: { 'X-API-Key': made.body.key } })
  expectProblem(answer, 403, 'forbidden')
})

it('another tenant has none of it', async () => {
  expect((await call('notified-too', '/api/v1/notifications', { token: await tokenOf('notified-too') })).body.data).toEqual([])
})

describe('whoever runs SQL as the login of the Worker', () => {
  it.each(['notifications', 'notification_preferences'])('sees and writes nothing in %s', async (table) => {
    const { app_url } = await databaseOf('notified')
    expect(await refusalOf(app_url, sql`select * from ${sql.identifier('freehold')}.${sql.identifier(table)}`)).toContain(
      'permission denied',
    )
  })
})
