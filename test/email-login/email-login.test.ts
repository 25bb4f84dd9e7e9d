/** Threat: a stranger gets in by a code or a link that was mailed to somebody else, or learns who that is. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { enter, post, protectedPerson } from '../factors/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { nameOf } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { allow, ask, asked, mailedTo, verify, wrongOf } from './cast.ts'

const AT = 'by-mail'
const OTHER = 'by-mail-too'
const OFF = 'by-mail-off'
let realm: Inside
let other: Inside

beforeAll(async () => {
  await Promise.all([AT, OTHER, OFF].map((at) => copyTenant(at)))
  realm = await inside(AT)
  other = await inside(OTHER)
  await Promise.all([allow(realm), allow(other)])
})

let people = 0
const somebody = (at = realm) => addPerson(at, `mailed-${people++}`)
const reasonsOf = async ({ id }: Pick<Person, 'id'>) =>
  (
    await realm.asOwner(
      sql`select l.activity_type as type, d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.user_id = ${id} order by l.at, l.id`,
    )
  ).map(({ type, reason }) => reason ?? type)

describe('a request', () => {
  it('is answered alike for who is here, not here, inactive and locked, in one round trip; who is here and active is mailed', async () => {
    const [known, gone, locked] = [await somebody(), await somebody(), await somebody()]
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${gone.id}`)
    for (let i = 0; i < 5; i++) await enter(AT, { ...locked, password: 'Wrong-Anchor-38' })
    const answers = await Promise.all(
      [
        { email: known.email },
        { username: known.username },
        { email: gone.email },
        { email: locked.email },
        { email: 'nobody@people.test' },
        { username: 'nobody' },
      ].map((body) => ask(AT, body)),
    )
    for (const answer of answers) {
      expect([answer.status, answer.trips]).toEqual([202, 1])
      expect(answer.body).toEqual({ request_token: expect.stringMatching(/^[\w-]{43}$/), expires_in: 600 })
      expect(answer.headers.getSetCookie()).toEqual([])
      expectDiscreet(answer)
    }
    expect(new Set(answers.map(({ body }) => body.request_token)).size).toBe(6)
    expect(await sentTo(realm, known.email)).toEqual(['email_login', 'email_login'])
    expect(await sentTo(realm, gone.email)).toEqual([])
    expect(await reasonsOf(known)).toEqual(['EMAIL_LOGIN_REQUESTED', 'EMAIL_LOGIN_REQUESTED'])
  })

  it('leaves neither code nor link nor request token in the database', async () => {
    const who = await somebody()
    const { request_token, code, token } = await asked(realm, who)
    for (const secret of [request_token, code, token]) {
      const [kept] = await realm.asOwner(
        sql`select (select count(*)::int from freehold.mails m where m::text like ${`%${secret}%`})
          + (select count(*)::int from freehold.email_logins e where e::text like ${`%${secret}%`})
          + (select count(*)::int from freehold.audit_detail d where d::text like ${`%${secret}%`}) as n`,
      )
      expect(kept).toEqual({ n: 0 })
    }
  })

  it('fills nobody’s mailbox, and leaves a reset by mail its place: of twenty at once four are mailed', async () => {
    const who = await somebody()
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(AT, { email: who.email })))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect(await sentTo(realm, who.email)).toHaveLength(4)
    await call(AT, '/api/v1/auth/password-reset', { body: { email: who.email } })
    expect((await sentTo(realm, who.email)).at(-1)).toBe('password_reset')
    const rows = await realm.asOwner(sql`select used_at from freehold.email_logins where user_id = ${who.id}`)
    expect(rows).toHaveLength(1)
  })

  it.each<[string, object, string]>([
    ['neither name nor address', {}, '#/username'],
    ['both', { email: 'a@people.test', username: 'a' }, '#/username'],
    ['an empty address', { email: ' ' }, '#/email'],
    ['an over-long one', { email: `${'a'.repeat(250)}@people.test` }, '#/email'],
    ['a number', { username: 7 }, '#/username'],
    ['control characters', { username: 'a\u0000b' }, '#/username'],
    ['an unknown field', { username: 'a', next: '/' }, '#/next'],
    ['a cookie that is no yes or no', { username: 'a', cookie: 'yes' }, '#/cookie'],
  ])('with %s is told where', async (_, body, at) => {
    const answer = await ask(AT, body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(at)
    expect(answer.trips).toBe(0)
  })

  it('is forbidden where the tenant does not allow it, whoever is meant, and mails nobody', async () => {
    const off = await inside(OFF)
    const who = await somebody(off)
    for (const email of [who.email, 'nobody@people.test']) expectProblem(await ask(OFF, { email }), 403, 'forbidden')
    expect(await sentTo(off, who.email)).toEqual([])
  })

  it('is none of the platform', async () => {
    for (const path of ['email-login', 'email-login/verify'])
      expectProblem(await call('', `/platform/v1/auth/${path}`, { body: { username: 'x' } }), 404, 'not_found')
  })
})

describe('a code', () => {
  it('logs in where it was asked for, in one round trip, once, and proves the address', async () => {
    const who = await somebody()
    const { request_token, code } = await asked(realm, who)
    const answer = await verify(AT, { request_token, code })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(answer.body).toMatchObject({ token_type: 'Bearer', must_change_password: false, device_token: expect.any(String) })
    expect(decodeJwt(answer.body.access_token)).toMatchObject({ sub: who.id, amr: ['otp'], acr: 'aal1' })
    const me = await call(AT, '/api/v1/auth/me', { token: answer.body.access_token })
    expect(me.body).toMatchObject({ email: who.email, email_verified: true })
    expectProblem(await verify(AT, { request_token, code }), 401, 'invalid_credentials')
    expect((await reasonsOf(who)).slice(-2)).toEqual(['LOGIN', 'email_login_ended'])
  })

  it('may have a space in it', async () => {
    const { request_token, code } = await asked(realm, await somebody())
    expect((await verify(AT, { request_token, code: code.replace(/^.{4}/, '$& ') })).status).toBe(200)
  })

  it('counts with the token of its own request alone, and in no other tenant', async () => {
    const [who, someone] = [await somebody(), await somebody()]
    const [mine, theirs] = [await asked(realm, who), await asked(realm, someone)]
    const unknown = (await ask(AT, { email: 'nobody@people.test' })).body
    for (const { request_token } of [theirs, unknown, { request_token: 'x' }, { request_token: mine.token }])
      expectProblem(await verify(AT, { request_token, code: mine.code }), 401, 'invalid_credentials')
    expectProblem(await verify(OTHER, { request_token: mine.request_token, code: mine.code }), 401, 'invalid_credentials')
    expectProblem(await verify(OTHER, { token: mine.token, confirm: true }), 401, 'invalid_credentials')
    expect((await verify(AT, { request_token: mine.request_token, code: mine.code })).status).toBe(200)
  })

  it.each<[string, object, string]>([
    ['five digits', { code: '12345' }, '#/code'],
    ['seven digits', { code: '1234567' }, '#/code'],
    ['nine digits', { code: '123456789' }, '#/code'],
    ['letters', { code: 'abcdefgh' }, '#/code'],
    ['digits of another script', { code: '١٢٣٤٥٦٧٨' }, '#/code'],
    ['a number', { code: 12345678 }, '#/code'],
    ['both a code and a link', { code: '12345678', token: 'x' }, '#/code'],
    ['neither', {}, '#/code'],
    ['an over-long token', { token: 'A'.repeat(513) }, '#/token'],
    ['an over-long request token', { code: '12345678', request_token: 'A'.repeat(513) }, '#/request_token'],
    ['an empty request token', { code: '12345678', request_token: '' }, '#/request_token'],
    ['a confirmation that is no yes or no', { token: 'x', confirm: 'yes' }, '#/confirm'],
    ['an unknown field', { token: 'x', remember: true }, '#/remember'],
  ])('is no request at all with %s', async (_, body, at) => {
    const answer = await verify(AT, { ...('code' in body && { request_token: 'x' }), ...body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(at)
    expect(answer.trips).toBe(0)
  })

  it('needs the token of its request', async () => {
    expect(pointers(await verify(AT, { code: '12345678' }))).toEqual(['#/request_token'])
  })

  it('lets one of twenty at once in', async () => {
    const { request_token, code } = await asked(realm, await somebody())
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(AT, { request_token, code })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(401)])
  })

  it('is dead after five wrong ones of twenty at once, and so is the link', async () => {
    const who = await somebody()
    const { request_token, code, token } = await asked(realm, who)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => verify(AT, { request_token, code: wrongOf(code, i + 1) })),
    )
    for (const answer of answers) expectProblem(answer, 401, 'invalid_credentials')
    expect((await reasonsOf(who)).filter((reason) => reason === 'wrong_email_code')).toHaveLength(5)
    await realm.asOwner(sql`delete from freehold.lockouts where key like ${`%${who.id}%`}`)
    for (const body of [
      { request_token, code },
      { request_token, token },
    ])
      expectProblem(await verify(AT, body), 401, 'invalid_credentials')
  })
})

describe('the lockout', () => {
  it('counts wrong codes with wrong passwords, over several requests, and tells the person', async () => {
    const who = await somebody()
    for (let i = 0; i < 3; i++) await enter(AT, { ...who, password: 'Wrong-Anchor-38' })
    const first = await asked(realm, who)
    const wrong = { request_token: first.request_token, code: wrongOf(first.code) }
    expectProblem(await verify(AT, wrong), 401, 'invalid_credentials')
    const second = await asked(realm, who)
    expectProblem(await verify(AT, { ...second, token: undefined, code: wrongOf(second.code) }), 401, 'invalid_credentials')
    expectProblem(await enter(AT, who), 401, 'invalid_credentials')
    expect(await sentTo(realm, who.email)).toContain('account_locked')
    const { request_token, code } = second
    await realm.asOwner(sql`delete from access.counted_failures`)
    expectProblem(await verify(AT, { request_token, code }), 401, 'invalid_credentials')
    expect((await reasonsOf(who)).at(-1)).toBe('locked')
  })

  it('keeps nobody out who has the link, and opens with it', async () => {
    const who = await somebody()
    for (let i = 0; i < 5; i++) await enter(AT, { ...who, password: 'Wrong-Anchor-38' })
    expectProblem(await enter(AT, who), 401, 'invalid_credentials')
    const { request_token, token } = await asked(realm, who)
    expect((await verify(AT, { request_token, token })).status).toBe(200)
    expect((await enter(AT, who)).status).toBe(200)
  })

  it('is not of the device that logged in before', async () => {
    const who = await somebody()
    const { device_token } = (await enter(AT, who)).body
    for (let i = 0; i < 5; i++) await enter(AT, { ...who, password: 'Wrong-Anchor-38' })
    const { request_token, code } = await asked(realm, who)
    expect((await verify(AT, { request_token, code, device_token })).status).toBe(200)
  })
})

describe('a link', () => {
  it('logs in where it was asked for, and in another browser only after its reader saw for whom and where that was', async () => {
    const who = await somebody()
    const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    await ask(AT, { email: who.email }, { 'User-Agent': agent })
    const { token } = await mailedTo(realm, who)
    const other = (await ask(AT, { email: 'nobody@people.test' })).body.request_token
    for (const body of [{ token }, { token, confirm: false }, { token, request_token: other }]) {
      const seen = await verify(AT, body)
      expect([seen.status, seen.trips]).toEqual([200, 1])
      expect(seen.body).toEqual({
        confirmation_required: true,
        username: who.username,
        email: who.email,
        requested_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}Z$/),
        device: 'Firefox on Linux',
        city: null,
        country: null,
      })
      expect(seen.headers.getSetCookie()).toEqual([])
    }
    expect((await verify(AT, { token, confirm: true })).body).toMatchObject({ token_type: 'Bearer' })
    expectProblem(await verify(AT, { token, confirm: true }), 401, 'invalid_credentials')
  })

  it('shows nobody a text that a stranger sent as their browser', async () => {
    const who = await somebody()
    await ask(AT, { email: who.email }, { 'User-Agent': 'Call +51 1 555 0100 now/1.0 please' })
    const { token } = await mailedTo(realm, who)
    expect((await verify(AT, { token })).body.device).toBeNull()
  })

  it('opened twice, by twenty at once, lets one in, and its code nobody after that', async () => {
    const { request_token, token, code } = await asked(realm, await somebody())
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(AT, { token, confirm: true })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(401)])
    expectProblem(await verify(AT, { request_token, code }), 401, 'invalid_credentials')
  })

  it('of a request ends with the next one', async () => {
    const who = await somebody()
    const [first, second] = [await asked(realm, who), await asked(realm, who)]
    expectProblem(await verify(AT, { token: first.token, confirm: true }), 401, 'invalid_credentials')
    expectProblem(await verify(AT, { request_token: first.request_token, code: first.code }), 401, 'invalid_credentials')
    expect((await verify(AT, { request_token: second.request_token, code: second.code })).status).toBe(200)
  })
})

describe('neither code nor link counts', () => {
  it.each<[string, ...((who: Person) => ReturnType<typeof sql>)[]]>([
    ['ten minutes are over', ({ id }) => sql`update freehold.email_logins set expires_at = now() where user_id = ${id}`],
    ['the address changed', ({ id }) => sql`update freehold.users set email = 'new-' || email where id = ${id}`],
    ['the password changed', ({ id }) => sql`update freehold.users set password_changed_at = now() where id = ${id}`],
    ['the user was deactivated', ({ id }) => sql`update freehold.users set is_active = false where id = ${id}`],
    [
      'the user was deactivated and has come back',
      ({ id }) => sql`update freehold.users set is_active = false where id = ${id}`,
      ({ id }) => sql`update freehold.users set is_active = true where id = ${id}`,
    ],
    [
      'the address changed, and is the former one again',
      ({ id }) => sql`update freehold.users set email = 'new-' || email where id = ${id}`,
      ({ id, email }) => sql`update freehold.users set email = ${email} where id = ${id}`,
    ],
  ])('when %s', async (_, ...changes) => {
    const who = await somebody()
    const { request_token, code, token } = await asked(realm, who)
    for (const change of changes) await realm.asOwner(change(who))
    for (const body of [
      { request_token, code },
      { request_token, token },
      { token, confirm: true },
    ])
      expectProblem(await verify(AT, body), 401, 'invalid_credentials')
  })

  it('after a reset by mail', async () => {
    const who = await somebody()
    const { token } = await asked(realm, who)
    await call(AT, '/api/v1/auth/password-reset', { body: { email: who.email } })
    const reset = { token: await secretOf(realm, 'password_reset', who.email), new_password: 'Marble-Kettle-52' }
    expect((await call(AT, '/api/v1/auth/password-reset/confirm', { body: reset })).status).toBe(204)
    expectProblem(await verify(AT, { token, confirm: true }), 401, 'invalid_credentials')
  })

  it('when the tenant does not allow it any more', async () => {
    const who = await somebody(other)
    const { request_token, code } = await asked(other, who)
    await allow(other, false)
    expectProblem(await verify(OTHER, { request_token, code }), 401, 'invalid_credentials')
    await allow(other)
    expect((await verify(OTHER, { request_token, code })).status).toBe(200)
  })
})

describe('what a login by mail leaves to do', () => {
  it('is the second factor, which email is not', async () => {
    const who = await protectedPerson(realm, 'two-factors')
    const { request_token, code } = await asked(realm, who)
    const first = await verify(AT, { request_token, code })
    expect(first.body).toMatchObject({ mfa_required: true, methods: ['totp', 'backup_code'] })
    const second = await post(AT, 'mfa/verify', { mfa_token: first.body.mfa_token, code: codeOf(who.secret) })
    expect(decodeJwt(second.body.access_token)).toMatchObject({ amr: ['otp', 'mfa'], acr: 'aal2' })
  })

  it('is a password that must be changed, with a session that can do nothing else; a first one whose time is over is refused', async () => {
    const who = await somebody()
    await realm.asOwner(sql`update freehold.users set must_change_password = true where id = ${who.id}`)
    const { request_token, code } = await asked(realm, who)
    const { body } = await verify(AT, { request_token, code })
    expect(body.must_change_password).toBe(true)
    expectProblem(await call(AT, '/api/v1/auth/passkeys', { token: body.access_token }), 403, 'password_change_required')
    await realm.asOwner(
      sql`update freehold.passwords set is_first = true, created_at = now() - interval '80 hours' where user_id = ${who.id}`,
    )
    const late = await asked(realm, who)
    expectProblem(await verify(AT, { token: late.token, confirm: true }), 403, 'password_change_required')
  })

  it('is a role', async () => {
    const who = await addPerson(realm, 'roleless', { roles: [] })
    const { request_token, code } = await asked(realm, who)
    expectProblem(await verify(AT, { request_token, code }), 403, 'user_inactive')
  })
})

describe('in cookies', () => {
  it('the request token is one, and the tokens of the login are', async () => {
    const who = await somebody()
    const answer = await ask(AT, { email: who.email, cookie: true }, { Origin: realm.url })
    const [held = ''] = answer.headers.getSetCookie()
    expect(held).toBe(
      `__Host-fh_email_login=${answer.body.request_token}; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Strict`,
    )
    const { code } = await mailedTo(realm, who)
    const body = { code, cookie: true }
    expectProblem(await verify(AT, body, { Origin: 'https://elsewhere.example' }), 403, 'forbidden')
    expect(pointers(await verify(AT, body, { Origin: realm.url }))).toEqual(['#/request_token'])
    const entered = await verify(AT, body, { Origin: realm.url, Cookie: held.split(';')[0] ?? '' })
    expect(entered.body).toMatchObject({ token_type: 'Cookie', account: who.id })
    const set = entered.headers.getSetCookie()
    expect(set.some((one) => one.startsWith(`${nameOf('a', who.id)}=`))).toBe(true)
    expect(set.find((one) => one.startsWith('__Host-fh_email_login='))).toContain('Max-Age=0')
  })
})

it('the setting is one that who may change settings changes', async () => {
  const admin = await tokenOf(await inside(OFF), 'bo')
  const patch = (email_login: unknown) => call(OFF, '/api/v1/settings', { token: admin, method: 'PATCH', body: { email_login } })
  expect((await call(OFF, '/api/v1/settings', { token: admin })).body.email_login).toBe(false)
  expect((await patch(true)).body.email_login).toBe(true)
  expect(pointers(await patch('yes'))).toEqual(['#/email_login'])
  expect((await patch(false)).body.email_login).toBe(false)
})

it('somebody who runs SQL as the app login reads none, and makes none without the system’s key', async () => {
  const { app_url } = await databaseOf(AT)
  for (const statement of ['select * from freehold.email_logins', 'delete from freehold.email_logins'])
    expect(await refusalOf(app_url, sql.raw(statement))).toMatch(/^42501 /)
  const made = sql`select access.request_email_login(${realm.id}, 'guessed', 'x', '\\x01', '\\x02', '\\x03', 'x', '{}')`
  const spent = sql`select access.verify_email_login(${realm.id}, 'guessed', '\\x01', '\\x02', null, true, '\\x03', '{}', '{}', '[]')`
  for (const call of [made, spent]) expect(await refusalOf(app_url, call)).toMatch(/^FH403/)
})
