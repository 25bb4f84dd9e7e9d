/**
 * Risky logins by another way than a password. Threat: the way that somebody comes in by is one that asks for less; or how it is refused tells
 * whoever has a stolen passkey, an account at a provider or a mailbox that it is the right one.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { allow, asked } from '../email-login/cast.ts'
import { addProvider, type Made, makeProvider, NONCE } from '../external/cast.ts'
import { switchOn } from '../factors/cast.ts'
import { type Authenticator, newAuthenticator } from '../passkeys/authenticator.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { mailsTo } from '../support/mails.ts'
import { type Answer, call } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { attemptsOf, enter, type From, headersOf, hoursPass, LIMA, OSLO, set, suspicions } from './cast.ts'

const AT = 'risky-ways'
let realm: Inside
let admin: string
let provider: Made
let at: Awaited<ReturnType<typeof addProvider>>

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await allow(realm)
  provider = await makeProvider()
  at = await addProvider(AT, admin, provider.issuer, {
    creates_users: true,
    links_by_email: true,
    claims: { roles: 'groups' },
    mfa_values: ['strong'],
  })
})

const auth = (path: string, body: object, from: From) => call(AT, `/api/v1/auth/${path}`, { body, headers: headersOf(from) })
let tokens = 0
/** Logs in with a token of the provider; `more` are claims of it. */
const byProvider = async (sub: string, from: From, more: Record<string, unknown> = {}) => {
  const claims = { sub, email: `${sub}@people.test`, email_verified: true, jti: String(tokens++), ...more }
  return auth(`external/${at.name}`, { id_token: await provider.token(claims), nonce: NONCE }, from)
}
const last = async (who: { id: string }) => (await attemptsOf(realm, who)).at(-1)

/** Somebody of the provider, who was in Lima an hour ago. */
async function ofProvider(sub: string): Promise<{ id: string; email: string; token: string }> {
  const { access_token: token } = (await byProvider(sub, LIMA)).body
  const who = { id: String(decodeJwt(token).sub), email: `${sub}@people.test`, token }
  await hoursPass(realm, who, 1)
  return who
}

/** Somebody with a passkey, who was in Lima an hour ago. */
async function withPasskey(username: string): Promise<{ who: Person; key: Authenticator }> {
  const who = await addPerson(realm, username)
  const { access_token: token } = (await enter(AT, who, LIMA)).body
  const key = await newAuthenticator(originOf(AT))
  const options = (await call(AT, '/api/v1/auth/passkeys/register/options', { body: {}, token })).body
  const made = await call(AT, '/api/v1/auth/passkeys/register', { body: { credential: await key.create(options) }, token })
  expect(made.status, JSON.stringify(made.body)).toBe(200)
  await hoursPass(realm, who, 1)
  return { who, key }
}
const byPasskey = async (key: Authenticator, from: From, how: object = {}) => {
  const options = (await auth('passkeys/login/options', {}, from)).body
  return auth('passkeys/login', { credential: await key.get(options, how) }, from)
}

describe('step_up', () => {
  it('asks who comes by a provider, without a second factor, for a code by mail', async () => {
    const who = await ofProvider('ann-ways')
    const first = await byProvider('ann-ways', OSLO)
    expect([first.status, first.trips]).toEqual([200, 2])
    expect(first.body).toMatchObject({ mfa_required: true, methods: ['email_code'], expires_in: 600, remember_days: 0 })
    expectDiscreet(first)
    expect(await last(who)).toMatchObject({ score: 90, outcome: 'challenged' })
    const { mfa_token } = first.body
    const [mail] = (await mailsTo(who.email)).filter(({ subject }) => subject.includes('code for your login'))
    const email_code = /^\d{8}$/m.exec(mail?.text ?? '')?.[0] ?? ''
    expectProblem(await auth('mfa/verify', { mfa_token, email_code: '00000000' }, OSLO), 401, 'invalid_credentials')
    const second = await auth('mfa/verify', { mfa_token, email_code }, OSLO)
    expect(second.status, JSON.stringify(second.body)).toBe(200)
    expect(decodeJwt(second.body.access_token)).toMatchObject({ sub: who.id, amr: ['fed', 'otp'], acr: 'aal1' })
    expect(await last(who)).toMatchObject({ score: 90, outcome: 'passed' })
    expect((await byProvider('ann-ways', OSLO)).body.token_type).toBe('Bearer')
  })

  it('takes a token of a provider once also where a code is open: sent again it opens no other', async () => {
    await ofProvider('bea-ways')
    const id_token = await provider.token({ sub: 'bea-ways', email: 'bea-ways@people.test', email_verified: true, jti: 'once' })
    const send = () => auth(`external/${at.name}`, { id_token, nonce: NONCE }, OSLO)
    expect((await send()).body.mfa_required).toBe(true)
    expectProblem(await send(), 401, 'invalid_credentials')
  })

  it('asks who has a second factor for that one, and nobody whom the provider asked for two', async () => {
    const who = await ofProvider('cal-ways')
    await switchOn(AT, who.token)
    expect((await byProvider('cal-ways', OSLO)).body.methods).toEqual(['totp', 'backup_code'])
    await ofProvider('dov-ways')
    expect((await byProvider('dov-ways', OSLO, { amr: ['strong'] })).body.token_type).toBe('Bearer')
  })

  it('mails nothing to who logs in from where they always do', async () => {
    const who = await ofProvider('eli-ways')
    expect((await byProvider('eli-ways', LIMA)).body.token_type).toBe('Bearer')
    expect(await realm.asOwner(sql`select kind from freehold.mails where user_id = ${who.id}`)).toEqual([])
  })

  it('lets in, and tells, who comes by a mailed code: they have the mailbox; and who comes by a passkey: that is two factors', async () => {
    const fay = await addPerson(realm, 'fay-ways')
    await enter(AT, fay, LIMA)
    await hoursPass(realm, fay, 1)
    const { request_token, code } = await asked(realm, fay)
    expect((await auth('email-login/verify', { request_token, code }, OSLO)).body.token_type).toBe('Bearer')
    expect(await last(fay)).toMatchObject({ score: 90, outcome: 'allowed' })
    expect(await suspicions(realm, fay)).toMatchObject([{ score: 90, after: { outcome: 'allowed' } }])
    const { who, key } = await withPasskey('gil-ways')
    expect((await byPasskey(key, OSLO)).body.token_type).toBe('Bearer')
    expect(await last(who)).toMatchObject({ score: 90, outcome: 'allowed' })
  })
})

describe('refuse', () => {
  beforeAll(async () => void (await set(AT, admin, { risk_action: 'refuse' })))

  /** What is told, but for the trace of the request and the path. */
  const said = ({ status, body: { trace_id: _, instance: __, ...body }, headers }: Answer) => ({
    status,
    body,
    headers: [...headers.keys()].sort(),
  })
  const failures = async ({ id }: { id: string }) =>
    realm.asOwner(
      sql`select l.risk_score as risk, d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.activity_type = 'LOGIN_FAILED' and l.user_id = ${id} order by l.at, l.id`,
    )
  const told = async ({ id }: { id: string }) =>
    realm.asOwner(sql`select event, mail from freehold.notifications where user_id = ${id} and event = 'login_refused'`)

  const usernameOf = async ({ id }: { id: string }) =>
    (await realm.asOwner(sql`select username from freehold.users where id = ${id}::uuid`))[0]?.username

  /** Whatever the way: as a proof that is wrong, and the audit and the user know better. */
  async function expectAlike(who: { id: string }, right: () => Promise<Answer>, wrong: () => Promise<Answer>) {
    const [refused, asWrong] = [await right(), await wrong()]
    expectProblem(refused, 401, 'invalid_credentials')
    expect(said(refused)).toEqual(said(asWrong))
    expect(refused.trips).toBe(asWrong.trips)
    expect(await last(who)).toMatchObject({ score: 90, outcome: 'refused' })
    expect((await failures(who))[0]).toEqual({ risk: 20, reason: 'too_risky' })
    expect(await suspicions(realm, who)).toMatchObject([{ action: 'login', score: 90, after: { outcome: 'refused' } }])
    expect(await told(who)).toEqual([{ event: 'login_refused', mail: 'now' }])
    const sessions = await realm.asOwner(sql`select 1 from freehold.sessions where user_id = ${who.id} and country = 'NO'`)
    expect(sessions).toEqual([])
    const { data } = (await call(AT, '/api/v1/notifications', { token: await tokenOf(realm, await usernameOf(who)) })).body
    const { text } = data.find(({ event }: { event: string }) => event === 'login_refused')
    // Whatever it was: somebody whose passkey was stolen is not sent to look after a password.
    expect(text).not.toContain('with the right password')
    expect(text).toContain('The password, passkey, code or token was right.')
  }

  it('of a passkey is answered as one that is not right', async () => {
    const { who, key } = await withPasskey('hal-ways')
    await expectAlike(
      who,
      () => byPasskey(key, OSLO),
      () => byPasskey(key, OSLO, { origin: 'https://evil.test' }),
    )
    expect((await byPasskey(key, LIMA)).status).toBe(200)
  })

  it('of a provider is answered as a token that is not taken, and as one that nobody here has', async () => {
    const who = await ofProvider('ida-ways')
    await expectAlike(
      who,
      () => byProvider('ida-ways', OSLO),
      () => byProvider('ida-ways', OSLO, { nonce: 'of-another-login' }),
    )
    const nobody = await byProvider('jon-ways', OSLO, { email_verified: false })
    expect(said(await byProvider('ida-ways', OSLO))).toEqual(said(nobody))
    expect((await byProvider('ida-ways', LIMA)).status).toBe(200)
  })

  it('of a code by mail is answered as one that is wrong', async () => {
    const who = await addPerson(realm, 'kim-ways')
    await enter(AT, who, LIMA)
    await hoursPass(realm, who, 1)
    const { request_token, code } = await asked(realm, who)
    const verify = (code: string) => auth('email-login/verify', { request_token, code }, OSLO)
    await expectAlike(
      who,
      () => verify(code),
      () => verify('00000000'),
    )
  })

  it('of a password is answered so, too, and with the same risk in the audit', async () => {
    const who = await addPerson(realm, 'lea-ways')
    await enter(AT, who, LIMA)
    await hoursPass(realm, who, 1)
    await expectAlike(
      who,
      () => enter(AT, who, OSLO),
      () => enter(AT, who, OSLO, 'Wrong-1'),
    )
  })

  it('of a first login by a provider leaves the user, and no session', async () => {
    // Nobody has a past here: what is risky of it is what its network did.
    await realm.asOwner(
      sql`insert into freehold.risk_attempts (id, kind, network, outcome) values (gen_random_uuid(), 'foreign_token', '192.0.2.66', 'noted')`,
    )
    await set(AT, admin, { risk_stop: 40, risk_suspicious: 40 })
    expectProblem(await byProvider('mia-ways', { ...OSLO, address: '192.0.2.66' }), 401, 'invalid_credentials')
    await set(AT, admin, { risk_suspicious: 50, risk_stop: 80 })
    expect((await byProvider('mia-ways', LIMA)).status).toBe(200)
  })
})
