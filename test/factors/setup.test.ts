/** Threat: a stolen session takes the second factor away, or sets up one of its own; a secret is read where nobody should. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { sentTo } from '../support/secrets.ts'
import { copyTenant } from '../support/tenants.ts'
import { codeOf } from '../support/totp.ts'
import { addMember } from '../users/cast.ts'
import { challengeOf, enter, post, protectedPerson, switchOn, wrongCode } from './cast.ts'

const AT = 'enrolled'
let realm: Inside
let database: Database

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  database = await databaseOf(AT)
})

async function someone(username: string) {
  const person = await addPerson(realm, username)
  return { ...person, token: (await enter(AT, person)).body.access_token as string }
}
const types = async ({ id }: { id: string }) =>
  (await realm.asOwner(sql`select activity_type as type from freehold.audit_log where user_id = ${id} order by at, id`)).map(
    ({ type }) => type,
  )

describe('an authenticator app', () => {
  it('is set up in one round trip, and switched on with its first code in two', async () => {
    const who = await someone('ann')
    const made = await post(AT, 'mfa/setup', undefined, who.token)
    expect([made.status, made.trips]).toEqual([200, 1])
    expect(made.body).toEqual({
      secret: expect.stringMatching(/^[A-Z2-7]{32}$/),
      otpauth_uri: expect.stringContaining(`secret=${made.body.secret}`),
      qr_svg: expect.stringMatching(/^<svg /),
    })
    const enabled = await post(AT, 'mfa/verify', { code: codeOf(made.body.secret) }, who.token)
    expect([enabled.status, enabled.trips]).toEqual([200, 2])
    expect(new Set(enabled.body.backup_codes).size).toBe(10)
    expect(await types(who)).toContain('MFA_ENABLED')
    expect(await sentTo(realm, who.email)).toEqual(['mfa_enabled'])
    const entered = await enter(AT, who)
    // The code that switched it on is used.
    const again = { mfa_token: entered.body.mfa_token, code: codeOf(made.body.secret) }
    expectProblem(await post(AT, 'mfa/verify', again), 401, 'invalid_credentials')
  })

  it('that is set up twice before its first code is the second one alone', async () => {
    const who = await someone('ben')
    const first = (await post(AT, 'mfa/setup', undefined, who.token)).body.secret
    const second = (await post(AT, 'mfa/setup', undefined, who.token)).body.secret
    expectProblem(await post(AT, 'mfa/verify', { code: codeOf(first) }, who.token), 401, 'invalid_credentials')
    expect((await post(AT, 'mfa/verify', { code: codeOf(second) }, who.token)).status).toBe(200)
  })

  it('asks for nothing until its first code', async () => {
    const who = await someone('cal')
    await post(AT, 'mfa/setup', undefined, who.token)
    expect((await enter(AT, who)).body).toMatchObject({ token_type: 'Bearer' })
  })

  it('is not set up again, or switched on again, while it is on', async () => {
    const who = await protectedPerson(realm, 'dov')
    expectProblem(await post(AT, 'mfa/setup', undefined, who.token), 401, 'step_up_required')
    await realm.asOwner(sql`update freehold.sessions set aal = 2 where user_id = ${who.id}`)
    expectProblem(await post(AT, 'mfa/setup', undefined, who.token), 409, 'illegal_state')
    expectProblem(await post(AT, 'mfa/verify', { code: codeOf(who.secret) }, who.token), 409, 'illegal_state')
  })

  it('is not switched on before it is set up, nor without a session, nor with a backup code', async () => {
    const who = await someone('eli')
    expectProblem(await post(AT, 'mfa/verify', { code: '123456' }, who.token), 409, 'illegal_state')
    expectProblem(await post(AT, 'mfa/verify', { code: '123456' }), 401, 'token_missing')
    const answer = await post(AT, 'mfa/verify', { backup_code: '7Q2M-XK4D-9RT1' }, who.token)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/code'])
  })

  it('is switched on once by twenty at once', async () => {
    const who = await someone('fae')
    const { secret } = (await post(AT, 'mfa/setup', undefined, who.token)).body
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => post(AT, 'mfa/verify', { code: codeOf(secret) }, who.token)),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of answers) if (answer.status !== 200) expectProblem(answer, 409, 'illegal_state')
    const [row] = await realm.asOwner(sql`select count(*)::int as n from freehold.backup_codes where user_id = ${who.id}`)
    expect(row).toEqual({ n: 10 })
  })

  it('waits for a password that must be changed', async () => {
    const who = await addPerson(realm, 'gus')
    await realm.asOwner(sql`update freehold.users set must_change_password = true where id = ${who.id}`)
    const { access_token } = (await enter(AT, who)).body
    expectProblem(await post(AT, 'mfa/setup', undefined, access_token), 403, 'password_change_required')
  })

  it('is there for operators, too', async () => {
    const platform = await inside('')
    const operator = await addMember(platform, 'otto', { roles: ['auditor'] })
    const { secret, backup_codes } = await switchOn('', operator.token)
    const mfa_token = await challengeOf('', operator)
    expect((await post('', 'mfa/verify', { mfa_token, code: codeOf(secret) })).body).toMatchObject({ token_type: 'Bearer' })
    const other = await challengeOf('', operator)
    expect((await post('', 'mfa/verify', { mfa_token: other, backup_code: backup_codes[0] })).status).toBe(200)
    expect((await operatorToken()).length).toBeGreaterThan(100)
  })
})

describe('switching it off', () => {
  it('takes the password and a code, in two round trips, and the person is told', async () => {
    const who = await protectedPerson(realm, 'hal')
    const answer = await post(AT, 'mfa/disable', { password: who.password, code: codeOf(who.secret) }, who.token)
    expect([answer.status, answer.trips]).toEqual([204, 2])
    expect((await enter(AT, who)).body).toMatchObject({ token_type: 'Bearer' })
    expect(await types(who)).toContain('MFA_DISABLED')
    expect(await sentTo(realm, who.email)).toEqual(['mfa_enabled', 'mfa_disabled'])
    const [row] = await realm.asOwner(
      sql`select (select count(*)::int from freehold.backup_codes where user_id = ${who.id}) as codes, (select count(*)::int from freehold.totp_factors where user_id = ${who.id}) as secrets`,
    )
    expect(row).toEqual({ codes: 0, secrets: 0 })
    expectProblem(await post(AT, 'mfa/disable', { password: who.password, code: '123456' }, who.token), 409, 'illegal_state')
  })

  it('works with a backup code where the phone is lost', async () => {
    const who = await protectedPerson(realm, 'ida')
    const change = { password: who.password, backup_code: who.backup_codes[3] }
    expect((await post(AT, 'mfa/disable', change, who.token)).status).toBe(204)
  })

  it('counts a wrong password and a wrong code together, and a right password forgets neither', async () => {
    const who = await protectedPerson(realm, 'jon')
    const disable = (password: string, code: string) => post(AT, 'mfa/disable', { password, code }, who.token)
    for (let i = 0; i < 2; i++) expectProblem(await disable('Wrong-Anchor-38', codeOf(who.secret)), 401, 'invalid_credentials')
    for (let i = 0; i < 3; i++) expectProblem(await disable(who.password, wrongCode(who.secret)), 401, 'invalid_credentials')
    expectProblem(await disable(who.password, codeOf(who.secret)), 401, 'invalid_credentials')
    expect((await types(who)).filter((type) => type === 'MFA_CHANGE_FAILED')).toHaveLength(6)
  })

  it('of twenty guesses at once lets five be guesses', async () => {
    const who = await protectedPerson(realm, 'kim')
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        post(AT, 'mfa/disable', { password: who.password, code: wrongCode(who.secret) }, who.token),
      ),
    )
    for (const { status } of answers) expect([401, 429]).toContain(status)
    const [row] = await realm.asOwner(sql`select failures from freehold.lockouts where key = ${`factor:${who.id}`}`)
    expect(row).toEqual({ failures: 5 })
  })
})

describe('backup codes', () => {
  it('are replaced by ten others, and the former ones stop working', async () => {
    const who = await protectedPerson(realm, 'lea')
    const change = { password: who.password, code: codeOf(who.secret) }
    const renewed = await post(AT, 'mfa/backup-codes', change, who.token)
    expect([renewed.status, renewed.trips]).toEqual([200, 2])
    expect(renewed.body.backup_codes).toHaveLength(10)
    const [former, fresh] = [who.backup_codes[0], renewed.body.backup_codes[0]]
    const mfa_token = await challengeOf(AT, who)
    expectProblem(await post(AT, 'mfa/verify', { mfa_token, backup_code: former }), 401, 'invalid_credentials')
    expect((await post(AT, 'mfa/verify', { mfa_token, backup_code: fresh })).status).toBe(200)
    expect(await types(who)).toContain('BACKUP_CODES_RENEWED')
  })
})

describe('what is kept', () => {
  it('is no secret and no code that anybody could use who reads the database', async () => {
    const who = await protectedPerson(realm, 'moe')
    const [row] = await realm.asOwner(
      sql`select (select string_agg(f::text, ' ') from freehold.totp_factors f) || (select string_agg(b::text, ' ') from freehold.backup_codes b)
          || (select string_agg(d::text, ' ') from freehold.audit_detail d) || (select string_agg(m::text, ' ') from freehold.mails m) as kept`,
    )
    expect(row?.kept.length).toBeGreaterThan(500)
    for (const said of [who.secret, ...who.backup_codes, ...who.backup_codes.map((code) => code.replaceAll('-', ''))])
      expect(row?.kept).not.toContain(said)
  })

  it.each(['totp_factors', 'backup_codes', 'login_challenges'])('the app login cannot read or write %s', async (table) => {
    for (const statement of [`select * from freehold.${table}`, `delete from freehold.${table}`])
      expect(await refusalOf(database.app_url, sql.raw(statement))).toMatch(/^42501 /)
  })
})
