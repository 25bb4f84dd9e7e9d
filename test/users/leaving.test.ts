/** People who come and go. Threat: somebody who has left goes on working, because the date is a note that nobody reads. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from './cast.ts'

const AT = 'come-and-go'
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
})

const at = (path: string, method = 'GET', body?: object) => call(AT, `/api/v1/users${path}`, { token, method, body })
const stored = async (id: string) =>
  (await realm.asOwner(sql`select is_active, joined_at, terminated_at from freehold.users where id = ${id}`))[0] as any

/** Moves the day on which somebody leaves into the past, as time does: without any statement that a trigger sees. */
const passes = (id: string) =>
  realm.asOwner(
    sql`alter table freehold.users disable trigger user`,
    sql`update freehold.users set terminated_at = now() - interval '1 second' where id = ${id}`,
    sql`alter table freehold.users enable trigger user`,
    sql`update freehold.user_periods set starts_at = now() - interval '1 hour', ends_at = now() - interval '1 second' where user_id = ${id}`,
  )
const TOMORROW = new Date(Date.now() + 86_400_000).toISOString()
const YESTERDAY = new Date(Date.now() - 86_400_000).toISOString()

describe('somebody', () => {
  it('has joined when they are created, unless the request says when', async () => {
    const { body } = await at('', 'POST', { email: 'joins@acme.test' })
    expect(body).toMatchObject({ joined_at: body.created_at, terminated_at: null })
    const other = await at('', 'POST', { email: 'joined@acme.test', joined_at: YESTERDAY })
    expect(Date.parse(other.body.joined_at)).toBe(Date.parse(YESTERDAY))
  })

  it.each([
    ['deactivated', (id: string) => at(`/${id}/deactivate`, 'POST')],
    ['deleted', (id: string) => at(`/${id}`, 'DELETE')],
  ])('who is %s has left then, and is back when they are reactivated', async (name, leave) => {
    const { id } = await addPerson(realm, `who-is-${name}`)
    const { joined_at } = (await at(`/${id}`)).body
    await leave(id)
    const left = (await at(`/${id}`)).body
    expect(left).toMatchObject({ is_active: false, joined_at, terminated_at: left.updated_at })
    await leave(id)
    expect((await at(`/${id}`)).body.terminated_at).toBe(left.terminated_at)
    expect((await at(`/${id}/reactivate`, 'POST')).body).toMatchObject({ is_active: true, joined_at, terminated_at: null })
  })

  it('keeps both dates when they are replaced by somebody who knows neither', async () => {
    const { id, username, email } = await addPerson(realm, 'replaced')
    const { joined_at } = (await at(`/${id}`)).body
    const whole = { username, email, role: 'user' }
    expect((await at(`/${id}`, 'PUT', whole)).body).toMatchObject({ joined_at, terminated_at: null })
    await at(`/${id}`, 'PATCH', { terminated_at: '2090-01-01T00:00:00Z' })
    const replaced = (await at(`/${id}`, 'PUT', whole)).body
    expect([replaced.is_active, Date.parse(replaced.terminated_at)]).toEqual([true, Date.parse('2090-01-01T00:00:00Z')])
    expect((await at(`/${id}`, 'PUT', { ...whole, terminated_at: null })).body.terminated_at).toBeNull()
    const { terminated_at } = (await at(`/${id}/deactivate`, 'POST')).body
    expect((await at(`/${id}`, 'PUT', whole)).body).toMatchObject({ is_active: false, joined_at, terminated_at })
  })

  it('who gets a past date is deactivated by it: their next request is refused', async () => {
    const gone = await addMember(realm, 'gone')
    expect((await at(`/${gone.id}`, 'PATCH', { terminated_at: YESTERDAY })).body.is_active).toBe(false)
    expectProblem(await call(AT, '/api/v1/users/me', { token: gone.token }), 403, 'user_inactive')
    const sessions = await realm.asOwner(sql`select ended_because from freehold.sessions where user_id = ${gone.id}`)
    expect(sessions).toEqual([{ ended_because: 'deactivated' }])
    expect(Date.parse((await at(`/${gone.id}`)).body.terminated_at)).toBe(Date.parse(YESTERDAY))
  })

  it('cannot deactivate themselves by a date', async () => {
    const [bo] = await realm.asOwner(sql`select id from freehold.users where username = 'bo'`)
    expectProblem(await at(`/${bo?.id}`, 'PATCH', { terminated_at: YESTERDAY }), 409, 'illegal_state')
    expectProblem(await at(`/${bo?.id}`, 'PATCH', { terminated_at: TOMORROW }), 403, 'forbidden')
    expect(await stored(bo?.id)).toMatchObject({ is_active: true, terminated_at: null })
  })
})

describe('a date that comes', () => {
  it('lets nobody in from that moment on, by no way, and decides nothing for them', async () => {
    await addRole(realm, 'reader', ['user:read'], 'all')
    const leaves = await addMember(realm, 'leaves', { roles: ['reader'] })
    const { refresh_token } = await plantSession(AT, 'leaves')
    expect((await at(`/${leaves.id}`, 'PATCH', { terminated_at: TOMORROW })).body.is_active).toBe(true)
    expect((await call(AT, '/api/v1/users/me', { token: leaves.token })).status).toBe(200)
    const is_allowed = async () => {
      const checks = [{ user_id: leaves.id, permission: 'user:read' }]
      return (await call(AT, '/api/v1/authz/check', { token, body: { checks } })).body.results[0].allowed
    }
    expect(await is_allowed()).toBe(true)
    await passes(leaves.id)
    expectProblem(await call(AT, '/api/v1/users/me', { token: leaves.token }), 403, 'user_inactive')
    expectProblem(await call(AT, '/api/v1/auth/refresh', { body: { refresh_token } }), 403, 'user_inactive')
    const again = await call(AT, '/api/v1/auth/login', { body: { username: 'leaves', password: leaves.password } })
    expectProblem(again, 401, 'invalid_credentials')
    expect(await is_allowed()).toBe(false)
  })

  it('is kept by the scheduled job, which deactivates them, and says so in the audit', async () => {
    const leaver = await addPerson(realm, 'leaver')
    const stays = await addPerson(realm, 'stays')
    await at(`/${stays.id}`, 'PATCH', { terminated_at: TOMORROW })
    await passes(leaver.id)
    await realm.asOwner(sql`select access.deactivate_terminated(100)`)
    expect((await stored(leaver.id)).is_active).toBe(false)
    expect(await stored(stays.id)).toMatchObject({ is_active: true })
    const [entry] = await realm.asOwner(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${leaver.id} order by l.at desc limit 1`,
    )
    expect(entry?.after).toEqual({ is_active: false })
  })

  it('may be taken back before and after it came', async () => {
    for (const name of ['unleaves', 'returns']) {
      const person = await addPerson(realm, name)
      await at(`/${person.id}`, 'PATCH', { terminated_at: TOMORROW })
      if (name === 'returns') await passes(person.id)
      const answer = await (name === 'returns'
        ? at(`/${person.id}/reactivate`, 'POST')
        : at(`/${person.id}`, 'PATCH', { terminated_at: null }))
      expect(answer.body).toMatchObject({ is_active: true, terminated_at: null })
      await login(AT, { body: { username: name, password: person.password } })
      const open = await realm.asOwner(
        sql`select ends_at from freehold.user_periods where user_id = ${person.id} order by starts_at desc limit 1`,
      )
      expect(open).toEqual([{ ends_at: null }])
    }
  })

  it.each([
    ['a reactivation', (id: string) => at(`/${id}/reactivate`, 'POST')],
    ['no date any more', (id: string) => at(`/${id}`, 'PATCH', { terminated_at: null })],
    ['a later date', (id: string) => at(`/${id}`, 'PATCH', { terminated_at: TOMORROW })],
  ])('that has passed ends sessions for good: %s brings back none', async (how, back) => {
    const person = await addMember(realm, `back-${how.length}`)
    const { refresh_token } = await plantSession(AT, person.username)
    await at(`/${person.id}`, 'PATCH', { terminated_at: TOMORROW })
    await passes(person.id)
    expect((await back(person.id)).body.is_active).toBe(true)
    expectProblem(await call(AT, '/api/v1/users/me', { token: person.token }), 401, 'session_ended')
    expectProblem(await call(AT, '/api/v1/auth/refresh', { body: { refresh_token } }), 401, 'refresh_invalid')
  })

  it('is not one’s own to take away, whatever one may change of others', async () => {
    await addRole(realm, 'personnel', ['user:read', 'user:update'], 'all')
    const hr = await addMember(realm, 'hr', { roles: ['personnel', 'user'] })
    await at(`/${hr.id}`, 'PATCH', { terminated_at: TOMORROW })
    const own = (method: string, body: object) => call(AT, `/api/v1/users/${hr.id}`, { token: hr.token, method, body })
    expectProblem(await own('PATCH', { terminated_at: null }), 403, 'forbidden')
    expectProblem(await own('PATCH', { terminated_at: '2090-01-01T00:00:00Z' }), 403, 'forbidden')
    const whole = { username: 'hr', email: hr.email, role: 'personnel' }
    expect((await own('PUT', whole)).status).toBe(200)
    expect(Date.parse((await at(`/${hr.id}`)).body.terminated_at)).toBe(Date.parse(TOMORROW))
  })

  it('leaves the only administrator who had one before that was refused, without the date', async () => {
    const [bo] = await realm.asOwner(sql`select id from freehold.users where username = 'bo'`)
    await passes(bo?.id)
    await realm.asOwner(sql`select access.deactivate_terminated(100)`)
    expect(await stored(bo?.id)).toMatchObject({ is_active: true, terminated_at: null })
  })
})
