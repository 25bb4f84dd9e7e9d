/** Threat: whoever knows the password gets in without the second factor, or guesses it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { challengeOf, enter, post, protectedPerson, wrongCode } from './cast.ts'

const AT = 'two-steps'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('two-steps-too')
  realm = await inside(AT)
})

const verify = (body: object, headers?: Record<string, string>) => post(AT, 'mfa/verify', body, undefined, headers)
const entries = (who: { id: string }) =>
  realm.asOwner(
    sql`select l.activity_type as type, d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.user_id = ${who.id} order by l.at, l.id`,
  )
/** Lets the next codes of somebody be as new as the first. */
const forget = (who: { id: string }) =>
  realm.asOwner(sql`update freehold.totp_factors set last_step = 0 where user_id = ${who.id}`)

describe('a login of somebody with an authenticator app', () => {
  it('takes the password and then a code, in two round trips and one, and says so in the token', async () => {
    const who = await protectedPerson(realm, 'ann')
    const first = await enter(AT, who)
    expect([first.status, first.trips]).toEqual([200, 2])
    expect(first.body).toEqual({
      mfa_required: true,
      mfa_token: expect.any(String),
      expires_in: 300,
      methods: ['totp', 'backup_code'],
      remember_days: 30,
    })
    expectDiscreet(first, who.secret)
    const second = await verify({ mfa_token: first.body.mfa_token, code: codeOf(who.secret) })
    expect([second.status, second.trips]).toEqual([200, 1])
    expect(second.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, device_token: expect.any(String) })
    const claims = JSON.parse(atob(second.body.access_token.split('.')[1]))
    expect(claims.amr).toEqual(['pwd', 'otp'])
    expect((await call(AT, '/api/v1/auth/me', { token: second.body.access_token })).status).toBe(200)
    const [session] = await realm.asOwner(
      sql`select aal, amr from freehold.sessions where user_id = ${who.id} order by created_at desc limit 1`,
    )
    expect(session).toEqual({ aal: 2, amr: 'pwd otp' })
  })

  it('answers in cookies where it is asked to', async () => {
    const who = await protectedPerson(realm, 'bea')
    const mfa_token = await challengeOf(AT, who)
    const answer = await verify({ mfa_token, code: codeOf(who.secret), cookie: true }, { Origin: realm.url })
    expect(answer.body).toMatchObject({ token_type: 'Cookie', account: who.id })
    expect(answer.body.access_token).toBeUndefined()
    expect(answer.headers.getSetCookie().join()).toContain(`__Host-fh_a_${who.id}`)
  })

  it('takes a code of one step ago and of the next, and a code with a space in it', async () => {
    const who = await protectedPerson(realm, 'cal')
    for (const steps of [-1, 0, 1]) {
      await forget(who)
      const code = codeOf(who.secret, steps).replace(/^.../, '$& ')
      expect((await verify({ mfa_token: await challengeOf(AT, who), code })).status, String(steps)).toBe(200)
    }
  })

  it('takes each backup code once, however it is typed, and the audit has it', async () => {
    const who = await protectedPerson(realm, 'dov')
    const [code = ''] = who.backup_codes
    const typed = ` ${code.toLowerCase().replaceAll('-', ' ')}`
    expect((await verify({ mfa_token: await challengeOf(AT, who), backup_code: typed })).status).toBe(200)
    expectProblem(await verify({ mfa_token: await challengeOf(AT, who), backup_code: code }), 401, 'invalid_credentials')
    expect((await entries(who)).map(({ type }) => type)).toContain('BACKUP_CODE_USED')
  })
})

describe('a second factor is refused', () => {
  it('when the code was used, in the same step, a new login or at another device', async () => {
    const who = await protectedPerson(realm, 'eli')
    const code = codeOf(who.secret)
    expect((await verify({ mfa_token: await challengeOf(AT, who), code })).status).toBe(200)
    const again = await verify({ mfa_token: await challengeOf(AT, who, { 'User-Agent': 'other/2' }), code })
    expectProblem(again, 401, 'invalid_credentials')
  })

  it('when the challenge was used, even with another right code', async () => {
    const who = await protectedPerson(realm, 'fae')
    const mfa_token = await challengeOf(AT, who)
    expect((await verify({ mfa_token, code: codeOf(who.secret) })).status).toBe(200)
    expectProblem(await verify({ mfa_token, code: codeOf(who.secret, 1) }), 401, 'invalid_credentials')
  })

  it.each<[string, (who: { id: string }) => ReturnType<typeof sql>]>([
    ['the challenge has expired', ({ id }) => sql`update freehold.login_challenges set expires_at = now() where user_id = ${id}`],
    ['the password was changed', ({ id }) => sql`update freehold.users set password_changed_at = now() where id = ${id}`],
    ['the user was deactivated', ({ id }) => sql`update freehold.users set is_active = false where id = ${id}`],
  ])('when %s meanwhile', async (what, change) => {
    const who = await protectedPerson(realm, `g${what.length}${what.charAt(4)}`)
    const mfa_token = await challengeOf(AT, who)
    await realm.asOwner(change(who))
    expectProblem(await verify({ mfa_token, code: codeOf(who.secret) }), 401, 'invalid_credentials')
  })

  it('at another tenant, and where the token is nobody’s or a part of one', async () => {
    const who = await protectedPerson(realm, 'hal')
    const mfa_token = await challengeOf(AT, who)
    const code = codeOf(who.secret)
    expectProblem(await post('two-steps-too', 'mfa/verify', { mfa_token, code }), 401, 'invalid_credentials')
    for (const other of ['x', `${mfa_token}A`, mfa_token.slice(0, -4), mfa_token.split('.').reverse().join('.')])
      expectProblem(await verify({ mfa_token: other, code }), 401, 'invalid_credentials')
    expect((await verify({ mfa_token, code })).status).toBe(200)
  })

  it('with the codes of somebody else', async () => {
    const [who, other] = [await protectedPerson(realm, 'ida'), await protectedPerson(realm, 'jon')]
    const mfa_token = await challengeOf(AT, who)
    expectProblem(await verify({ mfa_token, code: codeOf(other.secret) }), 401, 'invalid_credentials')
    expectProblem(await verify({ mfa_token, backup_code: other.backup_codes[0] }), 401, 'invalid_credentials')
  })

  it.each<[string, object, string]>([
    ['five digits', { code: '12345' }, '#/code'],
    ['seven digits', { code: '1234567' }, '#/code'],
    ['letters', { code: 'abcdef' }, '#/code'],
    ['digits of another script', { code: '١٢٣٤٥٦' }, '#/code'],
    ['a number', { code: 123456 }, '#/code'],
    ['both codes', { code: '123456', backup_code: '7Q2M-XK4D-9RT1' }, '#/code'],
    ['no code', {}, '#/code'],
    ['a backup code that is too short', { backup_code: '7Q2M' }, '#/backup_code'],
    ['an over-long backup code', { backup_code: 'A'.repeat(65) }, '#/backup_code'],
    ['an over-long token', { mfa_token: 'A'.repeat(4097), code: '123456' }, '#/mfa_token'],
    ['an unknown field', { code: '123456', remember: 1 }, '#/remember'],
  ])('as no request at all: %s', async (_, body, at) => {
    const answer = await verify({ mfa_token: 'x', ...body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(at)
    expect(answer.trips).toBe(0)
  })
})

describe('failures', () => {
  it('of a second factor lock it: after five the right code is refused, and so is the right password', async () => {
    const who = await protectedPerson(realm, 'kim')
    const mfa_token = await challengeOf(AT, who)
    for (let i = 0; i < 5; i++)
      expectProblem(await verify({ mfa_token, code: wrongCode(who.secret) }), 401, 'invalid_credentials')
    expectProblem(await verify({ mfa_token, code: codeOf(who.secret) }), 401, 'invalid_credentials')
    expectProblem(await enter(AT, who), 401, 'invalid_credentials')
    expect((await entries(who)).filter(({ type }) => type === 'LOGIN_FAILED').map(({ reason }) => reason)).toEqual([
      ...Array(5).fill('wrong_code'),
      'challenge_ended',
      'locked',
    ])
  })

  it('are not forgotten for a right password: each login goes on counting', async () => {
    const who = await protectedPerson(realm, 'lea')
    for (let i = 0; i < 5; i++) {
      const mfa_token = await challengeOf(AT, who)
      expectProblem(await verify({ mfa_token, code: wrongCode(who.secret) }), 401, 'invalid_credentials')
    }
    expectProblem(await enter(AT, who), 401, 'invalid_credentials')
  })

  it('of passwords count with those of codes, and a login that ends clears both', async () => {
    const who = await protectedPerson(realm, 'moe')
    const wrongOnes = async () => {
      for (let i = 0; i < 2; i++)
        expectProblem(await enter(AT, { ...who, password: 'Wrong-Anchor-38' }), 401, 'invalid_credentials')
      const mfa_token = await challengeOf(AT, who)
      for (let i = 0; i < 2; i++)
        expectProblem(await verify({ mfa_token, code: wrongCode(who.secret) }), 401, 'invalid_credentials')
      return mfa_token
    }
    expect((await verify({ mfa_token: await wrongOnes(), code: codeOf(who.secret) })).status).toBe(200)
    await forget(who)
    expect((await verify({ mfa_token: await wrongOnes(), code: codeOf(who.secret) })).status).toBe(200)
  })

  it('of twenty at once are five, whatever they are spread over', async () => {
    const who = await protectedPerson(realm, 'nia')
    const tokens = [await challengeOf(AT, who), await challengeOf(AT, who)]
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => verify({ mfa_token: tokens[i % 2] ?? '', code: wrongCode(who.secret) })),
    )
    for (const answer of answers) expectProblem(answer, 401, 'invalid_credentials')
    const reasons = (await entries(who)).map(({ reason }) => reason)
    expect(reasons.filter((reason) => reason === 'wrong_code')).toHaveLength(5)
    for (const mfa_token of tokens)
      expectProblem(await verify({ mfa_token, code: codeOf(who.secret) }), 401, 'invalid_credentials')
  })

  it('leave one of twenty with the same right code', async () => {
    const who = await protectedPerson(realm, 'ola')
    const tokens = await Promise.all([1, 2, 3, 4].map(() => challengeOf(AT, who)))
    const code = codeOf(who.secret)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => verify({ mfa_token: tokens[i % 4] ?? '', code })))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })
})

describe('the password grant', () => {
  it('of somebody with a second factor is refused as RFC 6749 says, and says why', async () => {
    const who = await protectedPerson(realm, 'pia')
    await realm.asOwner(sql`update freehold.tenant set password_grant = true`)
    const form = { grant_type: 'password', username: who.username, password: who.password }
    const answer = await call(AT, '/oauth/token', { form })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatchObject({ error: 'invalid_grant', error_description: expect.stringContaining('second factor') })
  })
})

it('a challenge is over for somebody who was deactivated, also when they have come back', async () => {
  const who = await protectedPerson(realm, 'gone-and-back')
  const mfa_token = await challengeOf(AT, who)
  for (const is_active of [false, true])
    await realm.asOwner(sql`update freehold.users set is_active = ${is_active} where id = ${who.id}`)
  expectProblem(await verify({ mfa_token, code: codeOf(who.secret) }), 401, 'invalid_credentials')
  expect((await verify({ mfa_token: await challengeOf(AT, who), code: codeOf(who.secret) })).status).toBe(200)
})
