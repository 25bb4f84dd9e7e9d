/**
 * Stepping up by a code, a backup code or a passkey. Threat: whoever finds an open session guesses codes in it, or raises it by what was
 * seen before, or by what is somebody else's.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Protected, post, protectedPerson, wrongCode } from '../factors/cast.ts'
import { newAuthenticator } from '../passkeys/authenticator.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'

const AT = 'stepping-up'
let realm: Inside

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('stepping-up-too')])
  realm = await inside(AT)
})

const stepUp = (body: object, token: string, at = AT) => post(at, 'step-up', body, token)
const sessionOf = async (token: string) => {
  const [session] = await realm.asOwner(
    sql`select amr, aal, authenticated_at > now() - interval '1 minute' as is_fresh from freehold.sessions where id = ${String(decodeJwt(token).sid)}`,
  )
  return session
}
/** Lets time pass since the last login of somebody, and the next codes be as new as the first. */
const age = (who: Person) =>
  realm.asOwner(
    sql`update freehold.sessions set created_at = now() - interval '1 hour', authenticated_at = null where user_id = ${who.id}`,
    sql`update freehold.totp_factors set last_step = 0 where user_id = ${who.id}`,
  )
/** What asks for a login of the last ten minutes. */
const makeKey = (token: string) => call(AT, '/api/v1/api-keys', { token, body: { name: 'nightly', permissions: ['user:read'] } })

async function withPasskey(name: string) {
  const who = await addPerson(realm, name)
  const token = await tokenOf(realm, name)
  const key = await newAuthenticator(originOf(AT))
  const options = (await post(AT, 'passkeys/register/options', {}, token)).body
  expect((await post(AT, 'passkeys/register', { credential: await key.create(options) }, token)).status).toBe(200)
  return { who, token, answer: async () => key.get((await post(AT, 'passkeys/login/options', {})).body) }
}

describe('a step-up', () => {
  it('by a code makes the session fresh and one of two factors, in two round trips; the code counts once', async () => {
    const who = await protectedPerson(realm, 'ann')
    await age(who)
    expectProblem(await makeKey(who.token), 401, 'step_up_required')
    const code = codeOf(who.secret)
    const raised = await stepUp({ code }, who.token)
    expect([raised.status, raised.trips]).toEqual([200, 2])
    expectDiscreet(raised, who.secret)
    expect(decodeJwt(raised.body.access_token)).toMatchObject({ sub: who.id, amr: ['pwd', 'otp'], acr: 'aal2' })
    expect(await sessionOf(who.token)).toEqual({ amr: 'pwd otp', aal: 2, is_fresh: true })
    expect((await makeKey(who.token)).status).not.toBe(401)
    expectProblem(await stepUp({ code }, who.token), 401, 'invalid_credentials')
  })

  it('by a backup code takes one round trip, and the code counts once', async () => {
    const who = await protectedPerson(realm, 'bea')
    await age(who)
    const backup_code = who.backup_codes[0]
    const raised = await stepUp({ backup_code }, who.token)
    expect([raised.status, raised.trips]).toEqual([200, 1])
    expect(await sessionOf(who.token)).toMatchObject({ aal: 2, is_fresh: true })
    expectProblem(await stepUp({ backup_code }, who.token), 401, 'invalid_credentials')
  })

  it('by a passkey takes two, and the answer counts once', async () => {
    const { who, token, answer } = await withPasskey('cy')
    await age(who)
    const passkey = await answer()
    const raised = await stepUp({ passkey }, token)
    expect([raised.status, raised.trips]).toEqual([200, 2])
    expect(await sessionOf(token)).toEqual({ amr: 'pwd hwk user mfa', aal: 2, is_fresh: true })
    await age(who)
    expectProblem(await stepUp({ passkey }, token), 401, 'invalid_credentials')
    expectProblem(await makeKey(token), 401, 'step_up_required')
  })

  it('by a passkey of somebody else raises nothing', async () => {
    const [dan, eve] = [await withPasskey('dan'), await withPasskey('eve')]
    await age(dan.who)
    expectProblem(await stepUp({ passkey: await eve.answer() }, dan.token), 401, 'invalid_credentials')
    expect(await sessionOf(dan.token)).toMatchObject({ aal: 1, is_fresh: null })
    const [entry] = await realm.asOwner(
      sql`select d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.user_id = ${dan.who.id} and l.activity_type = 'STEP_UP_FAILED'`,
    )
    expect(entry).toEqual({ reason: 'unknown_passkey' })
  })
})

describe('codes in an open session', () => {
  const wrongOnes = (who: Protected, times: number) =>
    Promise.all(Array.from({ length: times }, () => stepUp({ code: wrongCode(who.secret) }, who.token)))

  it('are guessed five times, twenty at once as well; then the right one is refused, and a login is not', async () => {
    const who = await protectedPerson(realm, 'fay')
    await age(who)
    for (const answer of await wrongOnes(who, 20)) expectProblem(answer, 401, 'invalid_credentials')
    const [counted] = await realm.asOwner(
      sql`select count(*)::int as compared from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.user_id = ${who.id} and l.activity_type = 'STEP_UP_FAILED' and d.after ->> 'reason' = 'wrong_code'`,
    )
    expect(counted).toEqual({ compared: 5 })
    expectProblem(await stepUp({ code: codeOf(who.secret) }, who.token), 401, 'invalid_credentials')
    const disable = { password: who.password, code: codeOf(who.secret) }
    expectProblem(await post(AT, 'mfa/disable', disable, who.token), 401, 'invalid_credentials')
    const { status, body } = await post(AT, 'login', { username: who.username, password: who.password })
    expect([status, body.mfa_required]).toEqual([200, true])
  })

  it('raise it once: of twenty at once with the right one a single one', async () => {
    const who = await protectedPerson(realm, 'gil')
    await age(who)
    const code = codeOf(who.secret)
    const answers = await Promise.all(Array.from({ length: 20 }, () => stepUp({ code }, who.token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  it('need an app', async () => {
    await addPerson(realm, 'hal')
    expectProblem(await stepUp({ code: '123456' }, await tokenOf(realm, 'hal')), 409, 'illegal_state')
  })
})

describe('a proof', () => {
  it('is one of four, and whole', async () => {
    await addPerson(realm, 'ida')
    const token = await tokenOf(realm, 'ida')
    for (const [body, pointer] of [
      [{}, '#/password'],
      [{ password: 'x', code: '123456' }, '#/password'],
      [{ code: '12345' }, '#/code'],
      [{ code: 123456 }, '#/code'],
      [{ backup_code: 'x' }, '#/backup_code'],
      [{ passkey: {} }, '#/passkey/id'],
      [{ password: 'x', level: 2 }, '#/level'],
    ] as const) {
      const answer = await stepUp(body, token)
      expectProblem(answer, 400, 'invalid_request', pointer)
      expect(pointers(answer)).toContain(pointer)
    }
    expectProblem(await post(AT, 'step-up', { code: '123456' }), 401, 'token_missing')
    expectProblem(await stepUp({ code: '123456' }, await tokenOf('stepping-up-too')), 401, 'token_wrong_tenant')
  })
})
