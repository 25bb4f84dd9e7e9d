/** Threat: a secret that is no secret, a password that no policy saw, an answer by which a stranger learns who is known here. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { mailboxOf, mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'kept-secret'
const OWN = 'Marble-Kettle-52'
const CHOSEN = 'Velvet-Comet-63'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  const answer = await call(AT, '/api/v1/settings', {
    token: await tokenOf(AT),
    method: 'PATCH',
    body: { registration: true },
  })
  expect(answer.status).toBe(200)
})

const post = (path: string, body: unknown, token?: string) => call(AT, `/api/v1/auth${path}`, { token, body })
const register = async (email: string, password = OWN, more: object = {}): Promise<string> => {
  const { status, body } = await post('/register', { email, password, ...more })
  expect(status).toBe(202)
  return body.registration_secret
}
const resend = (email: string) => post('/verify-email/resend', { email })
const verify = (token: string, more: object = {}) => post('/verify-email', { token, ...more })
const entersWith = async (email: string, password: string) => (await post('/login', { email, password })).status === 200
const newest = (email: string) => secretOf(realm, 'register', email)
const tokensTo = async (email: string, count: number) => (await mailsTo(email, count)).map(({ token }) => token ?? '')
const people = (email: string) => realm.asOwner(sql`select * from freehold.users where email = ${email}`)
/** Counts the derivations of keys while something is done. */
async function countingHashes<T>(act: () => Promise<T>): Promise<{ answer: T; derived: number }> {
  const real = crypto.subtle.deriveBits
  let derived = 0
  const counting = (...args: Parameters<typeof real>) => {
    derived++
    return real.apply(crypto.subtle, args)
  }
  Object.defineProperty(crypto.subtle, 'deriveBits', { configurable: true, value: counting })
  try {
    const answer = await act()
    return { answer, derived }
  } finally {
    Object.defineProperty(crypto.subtle, 'deriveBits', { configurable: true, value: real })
  }
}

describe('the secret of a registration', () => {
  it.each<[string, () => Promise<string>]>([
    ['that was made up', async () => 'x'.repeat(43)],
    ['of another address', () => register('other@corp.example')],
    ['of an address that has a user', async () => register((await addPerson(realm, 'taken')).email)],
  ])('%s is no secret, and says nothing: a password is required, and the token stays valid', async (what, secret) => {
    const email = `cas-${what.length}@corp.example`
    await register(email)
    const token = await newest(email)
    const answer = await verify(token, { registration_secret: await secret() })
    expectProblem(answer, 422, 'password_required')
    const none = await verify(token)
    for (const { body } of [answer, none]) delete body.trace_id
    expect(answer.body).toEqual(none.body)
    expect((await verify(token, { new_password: CHOSEN })).status).toBe(204)
  })

  it('is no token, and a token is no secret', async () => {
    const email = 'dot@corp.example'
    const secret = await register(email)
    const token = await newest(email)
    expect(pointers(await verify(secret, { registration_secret: secret }))).toEqual(['#/token'])
    expectProblem(await verify(token, { registration_secret: token }), 422, 'password_required')
  })

  it('is worth nothing a day later, when the token of a later mail still is', async () => {
    const email = 'eve@corp.example'
    const secret = await register(email)
    await newest(email)
    await resend(email)
    await realm.asOwner(
      sql`update freehold.registrations set expires_at = now() where email = ${email} and secret_hash is not null`,
    )
    const token = (await tokensTo(email, 2)).at(-1) ?? ''
    expectProblem(await verify(token, { registration_secret: secret }), 422, 'password_required')
    expect((await verify(token, { new_password: CHOSEN })).status).toBe(204)
  })

  it('is missing of a registration of the release before: its mail still proves the address, and is sent again', async () => {
    const email = 'fin@corp.example'
    await register(email)
    await realm.asOwner(sql`update freehold.registrations set secret_hash = null where email = ${email}`)
    await newest(email)
    await resend(email)
    const [first, second] = await tokensTo(email, 2)
    expectProblem(await verify(first ?? ''), 422, 'password_required')
    expect((await verify(second ?? '', { new_password: CHOSEN })).status).toBe(204)
  })

  it('is not taken for the address of a user, and neither is a new password', async () => {
    const who = await addMember(realm, 'fay')
    await resend(who.email)
    const token = await secretOf(realm, 'email_verify', who.email)
    expect(pointers(await verify(token, { new_password: CHOSEN }))).toEqual(['#/new_password'])
    const registration_secret = await register('gil@corp.example')
    expect(pointers(await verify(token, { registration_secret }))).toEqual(['#/registration_secret'])
    expect((await verify(token)).status).toBe(204)
    expect(await entersWith(who.email, who.password)).toBe(true)
  })
})

describe('a password that is chosen with the token', () => {
  it('keeps the tenant’s policy: a weak one is refused, every rule named, and the token stays valid', async () => {
    const email = 'hal@corp.example'
    await register(email)
    const token = await newest(email)
    const weak = await verify(token, { new_password: 'hal' })
    expectProblem(weak, 400, 'invalid_request')
    expect(pointers(weak).length).toBeGreaterThan(1)
    expect(new Set(pointers(weak))).toEqual(new Set(['#/new_password']))
    expect(await people(email)).toEqual([])
    expect((await verify(token, { new_password: CHOSEN })).status).toBe(204)
  })

  it('is not given beside a secret', async () => {
    const answer = await verify('x', { registration_secret: 'x', new_password: CHOSEN })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/new_password'])
  })

  it('costs no hash for a token that is not valid', async () => {
    const { answer, derived } = await countingHashes(() => verify('x'.repeat(32), { new_password: CHOSEN }))
    expect([pointers(answer), derived]).toEqual([['#/token'], 0])
  })

  it('is recorded as such, and so is the password of a registration', async () => {
    const secret = await register('ida@corp.example')
    await verify(await newest('ida@corp.example'), { registration_secret: secret })
    await register('jon@corp.example')
    await verify(await newest('jon@corp.example'), { new_password: CHOSEN })
    const entries = await realm.asOwner(
      sql`select d.after->>'email' as email, d.after->>'password' as password, l.user_id = l.resource_id::uuid as by_themselves
        from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.activity_type = 'USER_REGISTERED' and d.after->>'email' in ('ida@corp.example', 'jon@corp.example') order by 1`,
    )
    expect(entries).toEqual([
      { email: 'ida@corp.example', password: 'registration', by_themselves: true },
      { email: 'jon@corp.example', password: 'verification', by_themselves: true },
    ])
  })
})

describe('what a registration is answered', () => {
  it('is the same for an address that is free, taken, or mailed too often: shape, headers, round trips and hashes', async () => {
    const { email: taken } = await addPerson(realm, 'kim')
    const often = 'lou@corp.example'
    for (let i = 0; i < 6; i++) await register(often)
    const faces: unknown[] = []
    for (const email of ['free@corp.example', taken, often]) {
      const { answer, derived } = await countingHashes(() => post('/register', { email, password: OWN }))
      const { status, body, headers, trips } = answer
      const shown = Object.fromEntries([...headers].filter(([name]) => name !== 'x-trace-id'))
      faces.push({ status, fields: Object.keys(body), length: body.registration_secret.length, shown, trips, derived })
    }
    expect(faces[0]).toMatchObject({ status: 202, fields: ['registration_secret'], length: 43, trips: 2 })
    expect(faces[1]).toEqual(faces[0])
    expect(faces[2]).toEqual(faces[0])
  })

  it('is a secret that the mail does not have', async () => {
    const email = 'mia@corp.example'
    const secret = await register(email)
    await newest(email)
    for (const { subject, text, html } of await mailboxOf(email)) expect(`${subject}${text}${html}`).not.toContain(secret)
  })
})
