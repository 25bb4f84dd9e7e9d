/** Threat: whoever knows a password fills a mailbox with codes, or tries digits on with ever new ones; or a person who lost the mail stays out. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { wrongOf } from '../email-login/cast.ts'
import { challengeOf, protectedPerson } from '../factors/cast.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'
import { enter, headersOf, hoursPass, LIMA, OSLO } from './cast.ts'

const AT = 'resent'
const OTHER = 'resent-too'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(OTHER)
  realm = await inside(AT)
})

/** Somebody whose login asks for a mailed code, and its token. */
async function asked(username: string): Promise<Person & { mfa_token: string }> {
  const who = await addPerson(realm, username)
  await enter(AT, who, LIMA)
  await hoursPass(realm, who, 1)
  const { body } = await enter(AT, who, OSLO)
  expect(body.methods).toEqual(['email_code'])
  return { ...who, mfa_token: body.mfa_token }
}
const resend = (body: object, at = AT, more: object = {}) =>
  call(at, '/api/v1/auth/mfa/resend', { body, headers: headersOf(OSLO), ...more })
const verify = (mfa_token: string, email_code: string) =>
  call(AT, '/api/v1/auth/mfa/verify', { body: { mfa_token, email_code }, headers: headersOf(OSLO) })
const challenge = (who: Person, change: ReturnType<typeof sql>) =>
  realm.asOwner(sql`update freehold.login_challenges set ${change} where user_id = ${who.id}`)
const halfAMinutePasses = (who: Person) => challenge(who, sql`mailed_at = mailed_at - interval '30 seconds'`)
/** The codes that somebody was mailed, oldest first. */
async function codesOf(who: Person, count: number): Promise<string[]> {
  const mails = (await mailsTo(who.email, count)).map(({ text }) => /^\d{8}$/m.exec(text)?.[0])
  return mails.filter((code) => code !== undefined)
}
const mailsOf = async (who: Person) =>
  (await realm.asOwner(sql`select count(*)::int as n from freehold.mails where user_id = ${who.id} and kind = 'login_code'`))[0]
    ?.n

describe('another code', () => {
  it('is mailed in one round trip, works, and ends the one before', async () => {
    const ann = await asked('ann-resent')
    const [former = ''] = await codesOf(ann, 1)
    await halfAMinutePasses(ann)
    const sent = await resend({ mfa_token: ann.mfa_token })
    expect([sent.status, sent.trips, sent.body]).toEqual([202, 1, { expires_in: 600, resends_left: 1 }])
    expectDiscreet(sent)
    const code = (await codesOf(ann, 2)).find((one) => one !== former) ?? ''
    expect(code).toMatch(/^\d{8}$/)
    expectProblem(await verify(ann.mfa_token, former), 401, 'invalid_credentials')
    expect((await verify(ann.mfa_token, code)).body.token_type).toBe('Bearer')
  })

  it('works ten minutes from when it was mailed', async () => {
    const bea = await asked('bea-resent')
    await challenge(bea, sql`mailed_at = mailed_at - interval '9 minutes', expires_at = expires_at - interval '9 minutes'`)
    expect((await resend({ mfa_token: bea.mfa_token })).body.expires_in).toBe(600)
    const [row] = await realm.asOwner(
      sql`select expires_at > now() + interval '9 minutes' as is_long from freehold.login_challenges where user_id = ${bea.id}`,
    )
    expect(row).toEqual({ is_long: true })
  })

  it('is not mailed within 30 seconds of the last, and the answer says how long to wait', async () => {
    const cal = await asked('cal-resent')
    const soon = await resend({ mfa_token: cal.mfa_token })
    expectProblem(soon, 429, 'rate_limited')
    const wait = Number(soon.headers.get('Retry-After'))
    expect([wait > 0, wait <= 30]).toEqual([true, true])
    const spanish = await resend({ mfa_token: cal.mfa_token }, AT, { headers: { ...headersOf(OSLO), 'Accept-Language': 'es' } })
    expect(spanish.body.detail).toBe('Se acaba de enviar un código: espera los segundos de Retry-After.')
    expect(await mailsOf(cal)).toBe(1)
    // It did not end the code that there is.
    const [code = ''] = await codesOf(cal, 1)
    expect((await verify(cal.mfa_token, code)).status).toBe(200)
  })

  it('is the third mail of a login at most; the newest works on', async () => {
    const dov = await asked('dov-resent')
    for (const left of [1, 0]) {
      await halfAMinutePasses(dov)
      expect((await resend({ mfa_token: dov.mfa_token })).body.resends_left).toBe(left)
    }
    await halfAMinutePasses(dov)
    expectProblem(await resend({ mfa_token: dov.mfa_token }), 409, 'limit_reached')
    expect(await mailsOf(dov)).toBe(3)
    const answers = []
    for (const code of await codesOf(dov, 3)) answers.push((await verify(dov.mfa_token, code)).status)
    expect(answers.sort()).toEqual([200, 401, 401])
  })

  it('of twenty that are asked for at once is one mail', async () => {
    const eli = await asked('eli-resent')
    await halfAMinutePasses(eli)
    const all = await Promise.all(Array.from({ length: 20 }, () => resend({ mfa_token: eli.mfa_token })))
    const statuses = all.map(({ status }) => status).sort()
    expect(statuses).toEqual([202, ...Array(19).fill(429)])
    expect(await mailsOf(eli)).toBe(2)
  })

  it('gives no new tries: the wrong answers to the login stay counted', async () => {
    const fay = await asked('fay-resent')
    const [code = ''] = await codesOf(fay, 1)
    for (let i = 1; i <= 3; i++) await verify(fay.mfa_token, wrongOf(code, i))
    await halfAMinutePasses(fay)
    expect((await resend({ mfa_token: fay.mfa_token })).status).toBe(202)
    const newest = (await codesOf(fay, 2)).find((one) => one !== code) ?? ''
    for (let i = 1; i <= 2; i++) await verify(fay.mfa_token, wrongOf(newest, i))
    expectProblem(await verify(fay.mfa_token, newest), 401, 'invalid_credentials')
    await halfAMinutePasses(fay)
    expectProblem(await resend({ mfa_token: fay.mfa_token }), 401, 'invalid_credentials')
    expect(await mailsOf(fay)).toBe(2)
  })

  it('beyond the limit of mails to one recipient is not mailed, and the former stays', async () => {
    const gil = await asked('gil-resent')
    const [code = ''] = await codesOf(gil, 1)
    await halfAMinutePasses(gil)
    await realm.asOwner(
      sql`insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data)
        select gen_random_uuid(), 'login_code', 'email', ${gil.id}, ${gil.email}, 'en', '{}' from freehold.tenant t, generate_series(1, t.mail_per_recipient_hour)`,
    )
    expectProblem(await resend({ mfa_token: gil.mfa_token }), 409, 'limit_reached')
    // Nor does asking again and again cost anything.
    expectProblem(await resend({ mfa_token: gil.mfa_token }), 429, 'rate_limited')
    expect((await verify(gil.mfa_token, code)).status).toBe(200)
  })

  it('is in the audit', async () => {
    const hal = await asked('hal-resent')
    await halfAMinutePasses(hal)
    await resend({ mfa_token: hal.mfa_token })
    const entries = await realm.asOwner(
      sql`select l.user_id, l.action, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.activity_type = 'EMAIL_LOGIN_REQUESTED' and l.resource_id = ${hal.id}`,
    )
    expect(entries).toEqual([{ user_id: hal.id, action: 'request', after: { reason: 'risk', mails: 2 } }])
  })
})

describe('no other code is mailed', () => {
  it('for a login of another tenant', async () => {
    const ida = await asked('ida-resent')
    await halfAMinutePasses(ida)
    expectProblem(await resend({ mfa_token: ida.mfa_token }, OTHER), 401, 'invalid_credentials')
    expectProblem(
      await call('', '/platform/v1/auth/mfa/resend', { body: { mfa_token: ida.mfa_token } }),
      401,
      'invalid_credentials',
    )
    expect(await mailsOf(ida)).toBe(1)
  })

  it.each([
    ['is over', sql`expires_at = now() - interval '1 second'`],
    ['was ended', sql`used_at = now()`],
    ['began before the password was changed', sql`created_at = '2000-01-01'`],
  ])('for a login that %s', async (what, change) => {
    const jon = await asked(`jon-${what.length}-resent`)
    await halfAMinutePasses(jon)
    await realm.asOwner(sql`update freehold.users set password_changed_at = now() - interval '1 hour' where id = ${jon.id}`)
    await challenge(jon, change)
    const answer = await resend({ mfa_token: jon.mfa_token })
    expectProblem(answer, 401, 'invalid_credentials')
    expect(answer.body.detail).toBe('This login has ended: log in again.')
    expect(await mailsOf(jon)).toBe(1)
  })

  it('for somebody who was deactivated, or whose login was made up', async () => {
    const kim = await asked('kim-resent')
    await halfAMinutePasses(kim)
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${kim.id}`)
    expectProblem(await resend({ mfa_token: kim.mfa_token }), 401, 'invalid_credentials')
    const [version, sealed = ''] = kim.mfa_token.split('.')
    for (const mfa_token of ['x', `${version}.${sealed.slice(0, -4)}AAAA`, 'a.b.c', `${version}.`, '1.%00', '\u{1f511}'])
      expectProblem(await resend({ mfa_token }), 401, 'invalid_credentials', mfa_token)
    expect(await mailsOf(kim)).toBe(1)
  })

  it('for a login that asks for a second factor', async () => {
    const lea = await protectedPerson(realm, 'lea-resent')
    expectProblem(await resend({ mfa_token: await challengeOf(AT, lea) }), 409, 'illegal_state')
    expect(await mailsOf(lea)).toBe(0)
  })

  it('for a body that is none of its own', async () => {
    const { mfa_token } = await asked('mia-resent')
    const wrong: [unknown, string[]][] = [
      [{}, ['#/mfa_token']],
      [{ mfa_token: '' }, ['#/mfa_token']],
      [{ mfa_token: 'x'.repeat(4097) }, ['#/mfa_token']],
      [{ mfa_token: 7 }, ['#/mfa_token']],
      [{ mfa_token: [mfa_token] }, ['#/mfa_token']],
      [{ mfa_token: null }, ['#/mfa_token']],
      [{ mfa_token, email: 'somebody@else.test' }, ['#/email']],
    ]
    for (const [body, at] of wrong) {
      const answer = await resend(body as object)
      expectProblem(answer, 400, 'invalid_request', JSON.stringify(body).slice(0, 40))
      expect(pointers(answer)).toEqual(at)
    }
  })

  it('for whoever runs SQL as the login of the Worker', async () => {
    const { app_url } = await databaseOf(AT)
    const made = sql`select access.resend_login_code(${realm.id}, 'guessed', '\\x01', '{}')`
    expect(await refusalOf(app_url, made)).toBeTruthy()
    expect(await refusalOf(app_url, sql`select mails from freehold.login_challenges`)).toContain('permission denied')
  })
})
