/** Threat: a reset tells strangers who is known here, outlives its use, or leaves the thief logged in. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { linksTo, mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'lost-key'
const NEW = 'Marble-Kettle-52'
let realm: Inside
let other: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('lost-key-next')])
  realm = await inside(AT)
  other = await inside('lost-key-next')
})

const request = (email: unknown, at = AT) => call(at, '/api/v1/auth/password-reset', { body: { email } })
const confirm = (token: unknown, new_password: unknown = NEW, at = AT) =>
  call(at, '/api/v1/auth/password-reset/confirm', { body: { token, new_password } })
const enter = ({ username, password }: Pick<Person, 'username' | 'password'>) =>
  call(AT, '/api/v1/auth/login', { body: { username, password } })
const tokenFor = async (person: Person) => {
  expect((await request(person.email)).status).toBe(202)
  return secretOf(realm, 'password_reset', person.email)
}
const age = (person: Person, time: string) =>
  realm.asOwner(
    sql`update freehold.one_time_tokens set created_at = created_at - ${time}::interval, expires_at = expires_at - ${time}::interval where user_id = ${person.id}`,
  )

describe('a request', () => {
  it('is answered the same for who is known, unknown and inactive, and only who is here and active is mailed', async () => {
    const known = await addPerson(realm, 'ada')
    const gone = await addPerson(realm, 'gus')
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${gone.id}`)
    const answers = await Promise.all([known.email, gone.email, 'nobody@people.test'].map((email) => request(email)))
    for (const answer of answers) {
      expect([answer.status, answer.body]).toEqual([202, { status: 'accepted' }])
      expectDiscreet(answer)
    }
    expect(await sentTo(realm, known.email)).toEqual(['password_reset'])
    expect([await sentTo(realm, gone.email), await sentTo(realm, 'nobody@people.test')]).toEqual([[], []])
  })

  it('finds an address however it is typed', async () => {
    const bea = await addPerson(realm, 'bea')
    expect((await request('  BEA@People.TEST ')).status).toBe(202)
    expect((await request('ｂｅａ@people.test')).status).toBe(202)
    expect(await sentTo(realm, bea.email)).toEqual(['password_reset', 'password_reset'])
  })

  it('fills nobody’s mailbox: of twenty at once and one after another five are mailed in an hour', async () => {
    const cal = await addPerson(realm, 'cal')
    const answers = await Promise.all(Array.from({ length: 20 }, () => request(cal.email)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect((await request(cal.email)).status).toBe(202)
    expect(await sentTo(realm, cal.email)).toHaveLength(5)
  })

  it('leaves the person logged in and their password as it is', async () => {
    const dot = await addPerson(realm, 'dot')
    const { access_token } = (await enter(dot)).body
    await request(dot.email)
    expect((await call(AT, '/api/v1/auth/me', { token: access_token })).status).toBe(200)
    expect((await enter(dot)).status).toBe(200)
  })

  it.each<[string, unknown]>([
    ['no address', { email: 'not an address' }],
    ['an over-long one', { email: `${'a'.repeat(250)}@people.test` }],
    ['an empty one', { email: '' }],
    ['a number', { email: 7 }],
    ['none', {}],
    ['control characters', { email: 'a\u0000b@people.test' }],
  ])('with %s is told where', async (_, body) => {
    const answer = await call(AT, '/api/v1/auth/password-reset', { body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain('#/email')
  })

  it('with a field that it does not have is told which', async () => {
    const answer = await call(AT, '/api/v1/auth/password-reset', { body: { email: 'a@b.test', token: 'x' } })
    expect(pointers(answer)).toEqual(['#/token'])
  })
})

describe('a token', () => {
  it('has at most 40 characters, lies nowhere in the database, and sets a new password: sessions end, the lock opens, the address is verified', async () => {
    const evelyn = await addPerson(realm, 'evelyn')
    const { access_token, refresh_token } = (await enter(evelyn)).body
    for (let i = 0; i < 5; i++) await enter({ ...evelyn, password: 'Wrong-1' })
    expectProblem(await enter(evelyn), 401, 'invalid_credentials')
    const token = await tokenFor(evelyn)
    expect(token.length).toBeLessThanOrEqual(40)
    const [kept] = await realm.asOwner(
      sql`select (select count(*)::int from freehold.mails m where m::text like ${`%${token}%`}) + (select count(*)::int from freehold.one_time_tokens t where t::text like ${`%${token}%`})
        + (select count(*)::int from freehold.audit_detail d where d::text like ${`%${token}%`}) as n`,
    )
    expect(kept).toEqual({ n: 0 })
    expect((await confirm(token)).status).toBe(204)
    expectProblem(await call(AT, '/api/v1/auth/me', { token: access_token }), 401, 'session_ended')
    expectProblem(await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } }), 401, 'refresh_invalid')
    expectProblem(await enter(evelyn), 401, 'invalid_credentials')
    const again = await enter({ ...evelyn, password: NEW })
    expect([again.status, again.body.must_change_password]).toEqual([200, false])
    expect(await sentTo(realm, evelyn.email)).toEqual(['account_locked', 'password_reset', 'password_changed'])
    expect((await call(AT, '/api/v1/auth/me', { token: again.body.access_token })).body.email_verified).toBe(true)
    const activities = await realm.asOwner(
      sql`select activity_type from freehold.audit_log where user_id = ${evelyn.id} and activity_type like 'PASSWORD_RESET%' order by at`,
    )
    expect(activities.map((row) => row.activity_type)).toEqual(['PASSWORD_RESET_REQUESTED', 'PASSWORD_RESET'])
  })

  it('works once, also when twenty show it at once; and those that were sent before are worth nothing then', async () => {
    const fay = await addPerson(realm, 'fay')
    const [first, second] = [await tokenFor(fay), await tokenFor(fay)]
    const answers = await Promise.all(Array.from({ length: 20 }, () => confirm(second)))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...Array(19).fill(400)])
    for (const token of [first, second]) {
      const answer = await confirm(token, 'Copper-Window-17')
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/token'])
    }
    expect((await enter({ ...fay, password: NEW })).status).toBe(200)
  })

  it('is the newest, or worth nothing, also before another was used; and one whose mail is dropped ends none', async () => {
    const gia = await addPerson(realm, 'gia')
    const tokens = [await tokenFor(gia), await tokenFor(gia), await tokenFor(gia)]
    for (const older of tokens.slice(0, 2)) expect(pointers(await confirm(older))).toEqual(['#/token'])
    await Promise.all(Array.from({ length: 20 }, () => request(gia.email)))
    expect(await sentTo(realm, gia.email)).toHaveLength(5)
    const live = await realm.asOwner(sql`select 1 from freehold.one_time_tokens where user_id = ${gia.id} and used_at is null`)
    expect(live).toHaveLength(1)
    expect(pointers(await confirm(tokens[2]))).toEqual(['#/token'])
    expect((await request(gia.email)).status).toBe(202)
    // Of requests that came at once the last to be written is not always the last to have begun.
    const mailed = (await linksTo(gia.email, 5)).filter((token) => !tokens.includes(token))
    const answers = await Promise.all(mailed.map((token) => confirm(token)))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 400])
  })

  it('is ended by the link that an administrator has mailed, and ends that', async () => {
    const gus = await addPerson(realm, 'gustavo')
    const admin = await tokenOf(AT)
    const first = await tokenFor(gus)
    const link = () => call(AT, `/api/v1/users/${gus.id}/reset-password`, { token: admin, body: { link_only: true } })
    expect((await link()).status).toBe(200)
    expect(pointers(await confirm(first))).toEqual(['#/token'])
    const mailed = await secretOf(realm, 'password_reset_link', gus.email)
    const own = await tokenFor(gus)
    expect(pointers(await confirm(mailed))).toEqual(['#/token'])
    expect((await confirm(own)).status).toBe(204)
  })

  it('lives as long as the tenant says, whoever asked for it, and its mail says until when', async () => {
    const admin = await tokenOf(AT)
    const set = async (reset_link_minutes: number) =>
      expect((await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: { reset_link_minutes } })).status).toBe(
        200,
      )
    const asked: [string, (person: Person) => Promise<unknown>][] = [
      ['password_reset', ({ email }) => request(email)],
      [
        'password_reset_link',
        ({ id }) => call(AT, `/api/v1/users/${id}/reset-password`, { token: admin, body: { link_only: true } }),
      ],
      ['password_reset_by_admin', ({ id }) => call(AT, `/api/v1/users/${id}/reset-password`, { token: admin, body: {} })],
    ]
    for (const [minutes, left, over] of [
      [15, '14 minutes 50 seconds', '11 seconds'],
      [1440, '23 hours 59 minutes 50 seconds', '11 seconds'],
    ] as const) {
      await set(minutes)
      for (const [kind, ask] of asked) {
        const person = await addPerson(realm, `${kind.replaceAll('_', '-')}-${minutes}`)
        await ask(person)
        const token = await secretOf(realm, kind, person.email)
        const [row] = await realm.asOwner(
          sql`select m.data ->> 'expires_at' as said, k.expires_at from freehold.mails m join freehold.one_time_tokens k on k.user_id = m.user_id where m.user_id = ${person.id}`,
        )
        expect(Date.parse(row?.said)).toBe(Date.parse(row?.expires_at))
        const [mail] = await mailsTo(person.email)
        expect(mail?.text).toMatch(/The link works until \w+ \d+, \d{4} at \d+:\d+.[AP]M \(UTC\)/)
        await age(person, left)
        expect(pointers(await confirm(token, 'weak')), kind).not.toContain('#/token')
        await age(person, over)
        expect(pointers(await confirm(token)), kind).toEqual(['#/token'])
      }
    }
    await set(60)
  })

  it('is good for an hour, and not for a second more', async () => {
    const gil = await addPerson(realm, 'gil')
    const token = await tokenFor(gil)
    await age(gil, '3590 seconds')
    expectProblem(await confirm(token, 'weak'), 400, 'invalid_request')
    await age(gil, '11 seconds')
    expect(pointers(await confirm(token))).toEqual(['#/token'])
  })

  it('outlives a password that breaks rules, each of which is named, and one that was used before', async () => {
    const hal = await addPerson(realm, 'hal')
    const token = await tokenFor(hal)
    const weak = await confirm(token, 'hal')
    expectProblem(weak, 400, 'invalid_request')
    expect(pointers(weak).length).toBeGreaterThan(1)
    expect(new Set(pointers(weak))).toEqual(new Set(['#/new_password']))
    const used = await confirm(token, hal.password)
    expectProblem(used, 400, 'invalid_request')
    expect(used.body.errors).toEqual([{ pointer: '#/new_password', detail: 'must not be one of the last passwords' }])
    expect((await confirm(token)).status).toBe(204)
  })

  it('of somebody who was deactivated meanwhile is worth nothing', async () => {
    const ivo = await addPerson(realm, 'ivo')
    const token = await tokenFor(ivo)
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${ivo.id}`)
    expect(pointers(await confirm(token))).toEqual(['#/token'])
  })

  it.each<[string, (token: string) => unknown]>([
    ['cut off', (token) => token.slice(0, -1)],
    ['with a letter more', (token) => `${token}A`],
    ['in another case', (token) => token.toUpperCase()],
    ['made up', () => 'x'.repeat(32)],
    ['over-long', () => 'x'.repeat(513)],
    ['empty', () => ''],
    ['a number', () => 42],
    ['an object', () => ({})],
  ])('that is %s is refused, and says where', async (_, changed) => {
    const jan = await addPerson(realm, `jan-${crypto.randomUUID().slice(0, 8)}`)
    const answer = await confirm(changed(await tokenFor(jan)))
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/token'])
    expect((await enter(jan)).status).toBe(200)
  })

  it('of one tenant is worth nothing at another, nor as a proof of an address', async () => {
    const kim = await addPerson(realm, 'kim')
    await addPerson(other, 'kim')
    const token = await tokenFor(kim)
    expect(pointers(await confirm(token, NEW, 'lost-key-next'))).toEqual(['#/token'])
    expect(pointers(await call(AT, '/api/v1/auth/verify-email', { body: { token } }))).toEqual(['#/token'])
    expect((await confirm(token)).status).toBe(204)
  })
})

it('an operator comes back in the same way', async () => {
  const platform = await inside('')
  const ona = await addPerson(platform, 'ona', { roles: ['auditor'] })
  expect((await call('', '/platform/v1/auth/password-reset', { body: { email: ona.email } })).status).toBe(202)
  const token = await secretOf(platform, 'password_reset', ona.email)
  expect((await call('', '/platform/v1/auth/password-reset/confirm', { body: { token, new_password: NEW } })).status).toBe(204)
  const entered = await call('', '/platform/v1/auth/login', { body: { username: 'ona', password: NEW } })
  expect(entered.status).toBe(200)
})
