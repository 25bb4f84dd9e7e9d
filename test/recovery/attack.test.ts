/** Threat: what was sent before somebody took their account back takes it away again; two that act at once wait for each other. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'besieged'
const NEW = 'Marble-Kettle-52'
let realm: Inside
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

type Member = Awaited<ReturnType<typeof addMember>>
const post = (path: string, body: unknown, token?: string) => call(AT, `/api/v1${path}`, { token, body })
const verify = (token: string) => post('/auth/verify-email', { token })
const confirm = (token: string, new_password = NEW) => post('/auth/password-reset/confirm', { token, new_password })
/** A login that waits for others of the same person, which costs more round trips than `call` lets pass. */
const enterAtOnce = (username: string, password: string) =>
  knock(`http://${AT}.freehold.test/api/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ username, password }),
  })
const resetToken = async (email: string) => {
  await post('/auth/password-reset', { email })
  return secretOf(realm, 'password_reset', email)
}
const emailToken = async (who: Member, new_email: string) => {
  const answer = await post('/auth/email-change', { new_email, current_password: who.password }, who.token)
  expect(answer.status).toBe(202)
  return secretOf(realm, 'email_change', new_email)
}
const emailOf = async ({ id }: Member) => (await realm.asOwner(sql`select email from freehold.users where id = ${id}`))[0]?.email

describe('who takes their account back', () => {
  it.each<[string, (who: Member) => Promise<{ status: number }>]>([
    [
      'changes their password',
      (who) => post('/auth/password-change', { current_password: who.password, new_password: NEW }, who.token),
    ],
    ['resets it', async (who) => confirm(await resetToken(who.email))],
    ['has it reset', (who) => post(`/users/${who.id}/reset-password`, { new_password: NEW }, admin)],
  ])('and %s: the address that a thief asked for is not theirs afterwards', async (how, act) => {
    const who = await addMember(realm, `victim-${how.length}`)
    const thief = await emailToken(who, `thief-${how.length}@elsewhere.test`)
    expect((await act(who)).status).toBeLessThan(300)
    expect(pointers(await verify(thief))).toEqual(['#/token'])
    expect(await emailOf(who)).toBe(who.email)
  })

  it('and changes their password: what was sent to reset it is worth nothing', async () => {
    const who = await addMember(realm, 'ana')
    const thief = await resetToken(who.email)
    expect((await post('/auth/password-change', { current_password: who.password, new_password: NEW }, who.token)).status).toBe(
      204,
    )
    expect(pointers(await confirm(thief, 'Copper-Window-17'))).toEqual(['#/token'])
  })

  it('by an administrator who gives them another address: what was sent to the old one, or asked for before, is worth nothing', async () => {
    const who = await addMember(realm, 'ben')
    const [reset, email] = [await resetToken(who.email), await emailToken(who, 'ben-thief@elsewhere.test')]
    const answer = await call(AT, `/api/v1/users/${who.id}`, { token: admin, method: 'PATCH', body: { email: 'ben@safe.test' } })
    expect(answer.status).toBe(200)
    expect(pointers(await confirm(reset))).toEqual(['#/token'])
    expect(pointers(await verify(email))).toEqual(['#/token'])
    expect(await emailOf(who)).toBe('ben@safe.test')
  })

  it('keeps the proof of the address that they have', async () => {
    const who = await addMember(realm, 'cid')
    await post('/auth/verify-email/resend', { email: who.email })
    const proof = await secretOf(realm, 'email_verify', who.email)
    expect((await post('/auth/password-change', { current_password: who.password, new_password: NEW }, who.token)).status).toBe(
      204,
    )
    expect((await verify(proof)).status).toBe(204)
  })
})

describe('who found an open session of an administrator', () => {
  it.each(['PATCH', 'PUT'])('gives it no other address with %s: that asks for the password', async (method) => {
    const { body: me } = await call(AT, '/api/v1/users/me', { token: admin })
    const body = { email: 'thief@elsewhere.test', username: me.username, role: me.role }
    expectProblem(await call(AT, `/api/v1/users/${me.id}`, { token: admin, method, body }), 403, 'forbidden')
    const same = { email: me.email, username: me.username, role: me.role, given_name: 'Bo' }
    expect((await call(AT, `/api/v1/users/${me.id}`, { token: admin, method, body: same })).status).toBe(200)
    expect(await tokenOf(AT)).toBeTruthy()
  })
})

describe('at once', () => {
  it('five tokens of one person: one sets the password, and nobody waits for nobody', async () => {
    for (let round = 0; round < 4; round++) {
      const who = await addMember(realm, `dee-${round}`)
      await Promise.all(Array.from({ length: 5 }, () => post('/auth/password-reset', { email: who.email })))
      const mails = await realm.asOwner(sql`select id from freehold.mails where recipient = ${who.email}`)
      expect(mails).toHaveLength(5)
      await secretOf(realm, 'password_reset', who.email)
      const tokens = (await mailsTo(who.email, 5)).map(({ token }) => token ?? '')
      const answers = await Promise.all(tokens.map((token, i) => confirm(token, `Marble-Kettle-${i}7`)))
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 400, 400, 400, 400])
    }
  })

  it('resets by an administrator and logins of the same person: each is decided', async () => {
    const who = await addMember(realm, 'eli')
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        i % 3 ? enterAtOnce('eli', who.password) : post(`/users/${who.id}/reset-password`, {}, admin),
      ),
    )
    expect(answers.map(({ status }) => status).filter((status) => ![200, 401, 429].includes(status))).toEqual([])
  })

  it('a reset by mail, a change and failing logins of one person: each is decided', async () => {
    const who = await addMember(realm, 'fox')
    const token = await resetToken(who.email)
    await post('/auth/login', { username: 'fox', password: 'Wrong-1' })
    const answers = await Promise.all([
      confirm(token),
      post('/auth/password-change', { current_password: who.password, new_password: 'Copper-Window-17' }, who.token),
      ...Array.from({ length: 6 }, () => enterAtOnce('fox', 'Wrong-1')),
    ])
    expect(answers.map(({ status }) => status).filter((status) => status >= 500)).toEqual([])
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.passwords where user_id = ${who.id} and replaced_at is null`,
    )
    expect(row?.n).toBe(1)
  })
})

it('what somebody calls themselves is not read at an address that they only say is theirs', async () => {
  const who = await addMember(realm, 'gil')
  await realm.asOwner(sql`update freehold.users set given_name = 'Win at evil.test' where id = ${who.id}`)
  await emailToken(who, 'stranger@elsewhere.test')
  const [mail] = await mailsTo('stranger@elsewhere.test')
  expect(`${mail?.subject} ${mail?.text} ${mail?.html}`).not.toContain('evil')
})
