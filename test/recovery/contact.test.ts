/** Threat: who found an open session takes the account over by its address, or says that a number is theirs. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'new-address'
let realm: Inside
beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('new-address-next')])
  realm = await inside(AT)
})

type Member = Awaited<ReturnType<typeof addMember>>
const change = (who: Member, new_email: unknown, current_password: unknown = who.password) =>
  call(AT, '/api/v1/auth/email-change', { token: who.token, body: { new_email, current_password } })
const verify = (token: string) => call(AT, '/api/v1/auth/verify-email', { body: { token } })
const me = async (who: Member) => (await call(AT, '/api/v1/users/me', { token: who.token })).body

describe('another address', () => {
  it('counts once it is shown to be one’s own, and the old one is told', async () => {
    const ama = await addMember(realm, 'ama')
    const answer = await change(ama, 'Ama@New.test')
    expect([answer.status, answer.body]).toEqual([202, { status: 'accepted' }])
    expect((await me(ama)).email).toBe(ama.email)
    expect((await verify(await secretOf(realm, 'email_change', 'ama@new.test'))).status).toBe(204)
    expect(await me(ama)).toMatchObject({ email: 'ama@new.test', email_verified: true })
    expect(await sentTo(realm, ama.email)).toEqual(['email_changed'])
  })

  it('asks for the password; five wrong ones close this door for a while, and nobody’s login', async () => {
    const ben = await addMember(realm, 'ben')
    for (let i = 0; i < 5; i++) expectProblem(await change(ben, 'ben@new.test', 'Wrong-1'), 401, 'invalid_credentials')
    expectProblem(await change(ben, 'ben@new.test'), 401, 'invalid_credentials')
    expect(await sentTo(realm, 'ben@new.test')).toEqual([])
    expect((await call(AT, '/api/v1/auth/login', { body: { username: 'ben', password: ben.password } })).status).toBe(200)
  })

  it('that somebody has is answered the same, and nothing is sent there', async () => {
    const [cid, dee] = [await addMember(realm, 'cid'), await addMember(realm, 'dee')]
    expect((await change(cid, dee.email)).body).toEqual({ status: 'accepted' })
    expect(await sentTo(realm, dee.email)).toEqual([])
  })

  it('that two ask for goes to the first who shows it; the other is told so', async () => {
    const [eli, fox] = [await addMember(realm, 'eli'), await addMember(realm, 'fox')]
    await change(eli, 'shared@new.test')
    const first = await secretOf(realm, 'email_change', 'shared@new.test')
    await change(fox, 'shared@new.test')
    const second = await secretOf(realm, 'email_change', 'shared@new.test')
    expect((await verify(second)).status).toBe(204)
    expectProblem(await verify(first), 409, 'already_exists')
    expect((await me(eli)).email).toBe(eli.email)
  })

  it('makes what was sent to the old one worthless', async () => {
    const gab = await addMember(realm, 'gab')
    await call(AT, '/api/v1/auth/password-reset', { body: { email: gab.email } })
    const reset = await secretOf(realm, 'password_reset', gab.email)
    await change(gab, 'gab@new.test')
    await verify(await secretOf(realm, 'email_change', 'gab@new.test'))
    const answer = await call(AT, '/api/v1/auth/password-reset/confirm', {
      body: { token: reset, new_password: 'Marble-Kettle-52' },
    })
    expect(pointers(answer)).toEqual(['#/token'])
  })

  it('that an administrator sets is told to the old one too', async () => {
    const hue = await addMember(realm, 'hue')
    const token = await tokenOf(AT)
    const answer = await call(AT, `/api/v1/users/${hue.id}`, { token, method: 'PATCH', body: { email: 'hue@new.test' } })
    expect([answer.status, answer.body.email_verified]).toEqual([200, false])
    expect(await sentTo(realm, hue.email)).toEqual(['email_changed'])
  })

  it.each<[string, object, string]>([
    ['no address', { new_email: 'x', current_password: 'y' }, '#/new_email'],
    ['none', { current_password: 'y' }, '#/new_email'],
    ['no password', { new_email: 'a@b.test' }, '#/current_password'],
    ['a field too many', { new_email: 'a@b.test', current_password: 'y', user_id: 'z' }, '#/user_id'],
  ])('with %s is told where', async (_, body, pointer) => {
    const ivy = await addMember(realm, `ivy-${crypto.randomUUID().slice(0, 8)}`)
    const answer = await call(AT, '/api/v1/auth/email-change', { token: ivy.token, body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('is refused without a token and with another tenant’s', async () => {
    const body = { new_email: 'a@b.test', current_password: 'y' }
    const mallory = await tokenOf('new-address-next')
    expectProblem(await call(AT, '/api/v1/auth/email-change', { body }), 401, 'token_missing')
    expectProblem(await call(AT, '/api/v1/auth/email-change', { body, token: mallory }), 401, 'token_wrong_tenant')
  })
})

describe('one’s own address', () => {
  it('is verified by the mail that is sent on request, and no more is sent then', async () => {
    const jil = await addMember(realm, 'jil')
    const resend = () => call(AT, '/api/v1/auth/verify-email/resend', { body: { email: jil.email } })
    await resend()
    expect((await verify(await secretOf(realm, 'email_verify', jil.email))).status).toBe(204)
    expect((await me(jil)).email_verified).toBe(true)
    await resend()
    expect(await sentTo(realm, jil.email)).toEqual(['email_verify'])
  })
})

describe('a phone number', () => {
  const NUMBER = '+51 987 654 321'
  const send = (who: Member) => call(AT, '/api/v1/auth/phone-verification', { token: who.token, method: 'POST' })
  const prove = (who: Member, code: unknown) => call(AT, '/api/v1/auth/verify-phone', { token: who.token, body: { code } })
  const withPhone = async (name: string, phone: string) => {
    const member = await addMember(realm, name)
    await realm.asOwner(sql`update freehold.users set phone = ${phone} where id = ${member.id}`)
    return member
  }
  const wrong = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

  it('is shown to be one’s own by the code that is sent to it', async () => {
    const kit = await withPhone('kit', NUMBER)
    expect((await send(kit)).status).toBe(202)
    const code = await secretOf(realm, 'phone_code', NUMBER)
    expect(code).toMatch(/^\d{6}$/)
    expect((await prove(kit, code)).status).toBe(204)
    expect((await me(kit)).phone_verified).toBe(true)
    expect(pointers(await prove(kit, code))).toEqual(['#/code'])
  })

  it('has five tries for a code, also at once', async () => {
    const lou = await withPhone('lou', '+51 1')
    await send(lou)
    const code = await secretOf(realm, 'phone_code', '+51 1')
    const answers = await Promise.all(Array.from({ length: 20 }, () => prove(lou, wrong(code))))
    for (const answer of answers) expect(pointers(answer)).toEqual(['#/code'])
    expect(pointers(await prove(lou, code))).toEqual(['#/code'])
    expect((await me(lou)).phone_verified).toBe(false)
  })

  it('that is changed meanwhile is not the one that the code was sent to', async () => {
    const max = await withPhone('max', '+51 2')
    await send(max)
    const code = await secretOf(realm, 'phone_code', '+51 2')
    await realm.asOwner(sql`update freehold.users set phone = '+51 3' where id = ${max.id}`)
    expect(pointers(await prove(max, code))).toEqual(['#/code'])
  })

  it('is sent at most five codes an hour, the last of which counts', async () => {
    const ned = await withPhone('ned', '+51 4')
    await send(ned)
    const first = await secretOf(realm, 'phone_code', '+51 4')
    for (let i = 0; i < 4; i++) expect((await send(ned)).status).toBe(202)
    const answer = await send(ned)
    expectProblem(answer, 429, 'rate_limited')
    expect(answer.headers.get('Retry-After')).toBe('600')
    const last = await secretOf(realm, 'phone_code', '+51 4')
    if (first !== last) expect(pointers(await prove(ned, first))).toEqual(['#/code'])
    expect((await prove(ned, last)).status).toBe(204)
  })

  it('is needed; and a code is six digits of ten minutes', async () => {
    const oda = await addMember(realm, 'oda')
    expectProblem(await send(oda), 409, 'illegal_state')
    for (const code of ['123456', '12345', '1234567', 'abcdef', '١٢٣٤٥٦', 123456, ''])
      expect(pointers(await prove(oda, code))).toEqual(['#/code'])
    const pip = await withPhone('pip', '+51 5')
    await send(pip)
    await realm.asOwner(sql`update freehold.one_time_tokens set expires_at = now() where user_id = ${pip.id}`)
    expect(pointers(await prove(pip, await secretOf(realm, 'phone_code', '+51 5')))).toEqual(['#/code'])
  })
})
