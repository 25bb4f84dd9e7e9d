/** Threat: a login that is too risky goes on all the same; or how it is stopped tells a stranger that the password was right. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { challengeOf, post, protectedPerson } from '../factors/cast.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { attemptsOf, enter, headersOf, hoursPass, LIMA, OSLO, set, suspicions } from './cast.ts'

const AT = 'too-risky'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('too-risky-too')
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

/** Somebody who was in Lima an hour ago. */
async function known(username: string): Promise<Person> {
  const who = await addPerson(realm, username)
  await enter(AT, who, LIMA)
  await hoursPass(realm, who, 1)
  return who
}
const verify = (body: object, at = AT, from = OSLO) => call(at, '/api/v1/auth/mfa/verify', { body, headers: headersOf(from) })
const codeIn = async (who: Person, count = 1) => /\b\d{8}\b/.exec((await mailsTo(who.email, count)).at(-1)?.text ?? '')?.[0] ?? ''
const last = async (who: { id: string }) => (await attemptsOf(realm, who)).at(-1)

describe('step_up', () => {
  it('asks somebody without a second factor for a code by mail, which lets them in with one factor', async () => {
    const ann = await known('ann-stopped')
    const first = await enter(AT, ann, OSLO)
    expect([first.status, first.trips]).toEqual([200, 2])
    expect(first.body).toEqual({
      mfa_required: true,
      mfa_token: expect.any(String),
      expires_in: 600,
      methods: ['email_code'],
      remember_days: 0,
    })
    expectDiscreet(first)
    expect(await last(ann)).toMatchObject({ score: 90, outcome: 'challenged' })
    const email_code = await codeIn(ann)
    const second = await verify({ mfa_token: first.body.mfa_token, email_code: email_code.replace(/^..../, '$& ') })
    expect([second.status, second.trips]).toEqual([200, 1])
    expect(second.body.token_type).toBe('Bearer')
    expect(await last(ann)).toMatchObject({ score: 90, outcome: 'passed' })
    const [session] = await realm.asOwner(
      sql`select aal, amr from freehold.sessions where user_id = ${ann.id} order by created_at desc limit 1`,
    )
    expect(session).toEqual({ aal: 1, amr: 'pwd otp' })
    // It is known from then on.
    expect((await enter(AT, ann, OSLO)).body.token_type).toBe('Bearer')
  })

  it('takes the code once, and not another, nor one of another login, nor in another tenant', async () => {
    const [bea, cal] = [await known('bea-stopped'), await known('cal-stopped')]
    const ofBea = (await enter(AT, bea, OSLO)).body.mfa_token
    const ofCal = (await enter(AT, cal, OSLO)).body.mfa_token
    const email_code = await codeIn(bea)
    const wrong = String((Number(email_code) + 1) % 10 ** 8).padStart(8, '0')
    expectProblem(await verify({ mfa_token: ofBea, email_code: wrong }), 401, 'invalid_credentials')
    expectProblem(await verify({ mfa_token: ofCal, email_code }), 401, 'invalid_credentials')
    expectProblem(await verify({ mfa_token: ofBea, email_code }, 'too-risky-too'), 401, 'invalid_credentials')
    expect((await verify({ mfa_token: ofBea, email_code })).status).toBe(200)
    expectProblem(await verify({ mfa_token: ofBea, email_code }), 401, 'invalid_credentials')
  })

  it('takes no code that was mailed to an address which is not theirs any more', async () => {
    const mia = await known('mia-stopped')
    const { mfa_token } = (await enter(AT, mia, OSLO)).body
    const email_code = await codeIn(mia)
    await realm.asOwner(sql`update freehold.users set email = 'mia-moved@people.test' where id = ${mia.id}`)
    expectProblem(await verify({ mfa_token, email_code }), 401, 'invalid_credentials')
    expectProblem(await call(AT, '/api/v1/auth/mfa/resend', { body: { mfa_token } }), 401, 'invalid_credentials')
    // A second factor is not in the mailbox: it goes on.
    const ned = await protectedPerson(realm, 'ned-stopped')
    await realm.asOwner(
      sql`update freehold.totp_factors set last_step = 0 where user_id = ${ned.id}`,
      sql`update freehold.users set email = 'ned-moved@people.test' where id = ${ned.id}`,
    )
    const token = await challengeOf(AT, ned)
    await realm.asOwner(sql`update freehold.users set email = 'ned-moved-2@people.test' where id = ${ned.id}`)
    expect((await verify({ mfa_token: token, code: codeOf(ned.secret) })).status).toBe(200)
  })

  it('of twenty at once with the code lets one in', async () => {
    const dov = await known('dov-stopped')
    const { mfa_token } = (await enter(AT, dov, OSLO)).body
    const email_code = await codeIn(dov)
    const all = await Promise.all(Array.from({ length: 20 }, () => verify({ mfa_token, email_code })))
    expect(all.map(({ status }) => status).filter((status) => status === 200)).toEqual([200])
  })

  it('ends with five wrong codes, which count as wrong passwords', async () => {
    const eli = await known('eli-stopped')
    const { mfa_token } = (await enter(AT, eli, OSLO)).body
    const email_code = await codeIn(eli)
    for (let i = 0; i < 5; i++) await verify({ mfa_token, email_code: String(10_000_000 + i) })
    expectProblem(await verify({ mfa_token, email_code }), 401, 'invalid_credentials')
    expectProblem(await enter(AT, eli, OSLO), 401, 'invalid_credentials')
    expect((await enter(AT, eli, LIMA)).status).toBe(200)
  })

  it('asks for the second factor also where the device is remembered', async () => {
    const fay = await protectedPerson(realm, 'fay-stopped')
    await realm.asOwner(sql`update freehold.totp_factors set last_step = 0 where user_id = ${fay.id}`)
    const { mfa_token } = (await enter(AT, fay, LIMA)).body
    const home = await post(
      AT,
      'mfa/verify',
      { mfa_token, code: codeOf(fay.secret), remember_device: true },
      undefined,
      headersOf(LIMA),
    )
    const { device_token } = home.body
    expect((await enter(AT, fay, { ...LIMA, device_token })).body.token_type).toBe('Bearer')
    await set(AT, admin, { risk_stop: 70 })
    await hoursPass(realm, fay, 1)
    const answer = await enter(AT, fay, { ...OSLO, device_token })
    await set(AT, admin, { risk_stop: 80 })
    expect(answer.body).toMatchObject({ mfa_required: true, methods: ['totp', 'backup_code'] })
    expect(await last(fay)).toMatchObject({ score: 70, outcome: 'challenged' })
  })

  it('takes no code of the mail from whoever was asked for a factor, and no fields that do not go together', async () => {
    const gil = await protectedPerson(realm, 'gil-stopped')
    const mfa_token = await challengeOf(AT, gil)
    expectProblem(await verify({ mfa_token, email_code: '12345678' }), 401, 'invalid_credentials')
    expectProblem(await verify({ mfa_token, email_code: '12345678', code: '123456' }), 400, 'invalid_request')
    for (const email_code of ['1234567', '123456789', 'abcdefgh', 12_345_678, null, ['12345678']])
      expectProblem(await verify({ mfa_token, email_code }), 400, 'invalid_request')
  })
})

describe('refuse', () => {
  beforeAll(async () => void (await set(AT, admin, { risk_action: 'refuse' })))

  it('answers as after a wrong password, and tells the user', async () => {
    const hal = await known('hal-stopped')
    const [refused, wrong] = [await enter(AT, hal, OSLO), await enter(AT, hal, OSLO, 'Wrong-1')]
    expectProblem(refused, 401, 'invalid_credentials')
    const { trace_id: _, ...said } = refused.body
    const { trace_id: __, ...asWrong } = wrong.body
    expect(said).toEqual(asWrong)
    const namesOf = ({ headers }: { headers: Headers }) => [...headers.keys()].sort()
    expect(namesOf(refused)).toEqual(namesOf(wrong))
    expect(await last(hal)).toMatchObject({ score: 90, outcome: 'refused' })
    expect(await suspicions(realm, hal)).toMatchObject([{ action: 'login', score: 90, after: { outcome: 'refused' } }])
    const home = (await enter(AT, hal, LIMA)).body.access_token
    const { data } = (await call(AT, '/api/v1/notifications', { token: home })).body
    expect(data.map(({ event }: { event: string }) => event)).toContain('login_refused')
  })

  it('counts as a wrong password: nobody tries on', async () => {
    const ida = await known('ida-stopped')
    for (let i = 0; i < 7; i++) expectProblem(await enter(AT, ida, OSLO), 401, 'invalid_credentials')
    const states = await realm.asOwner(
      sql`select state, count(*)::integer as n from freehold.login_attempts where user_id = ${ida.id} and network = '198.51.100.4' group by 1 order by 1`,
    )
    expect(states).toEqual([
      { state: 'refused', n: 2 },
      { state: 'succeeded', n: 5 },
    ])
    expect((await enter(AT, ida, LIMA)).status).toBe(200)
  })

  it('of twenty at once lets nobody in', async () => {
    const jon = await known('jon-stopped')
    const all = await Promise.all(Array.from({ length: 20 }, () => enter(AT, jon, OSLO)))
    expect(all.filter(({ status }) => status === 200)).toEqual([])
    const sessions = await realm.asOwner(
      sql`select count(*)::integer as n from freehold.sessions where user_id = ${jon.id} and country = 'NO'`,
    )
    expect(sessions).toEqual([{ n: 0 }])
  })

  it('is no past to compare with, so that the next one is as risky', async () => {
    const kim = await known('kim-stopped')
    for (let i = 0; i < 2; i++) await enter(AT, kim, { ...OSLO, address: '198.51.100.210' })
    expect((await attemptsOf(realm, kim)).slice(1)).toMatchObject([{ score: 90 }, { score: 90 }])
  })
})
