/** Threat: a stranger registers somebody's address, and what its owner confirms is the stranger's account; or the owner is kept from registering. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from '../users/cast.ts'

const AT = 'squatted'
const OWN = 'Marble-Kettle-52'
const STRANGERS = 'Copper-Window-17'
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
const waiting = async (email: string) => {
  const [row] = await realm.asOwner(
    sql`select count(*)::int as n from freehold.registrations where email = ${email} and used_at is null`,
  )
  return row?.n
}

describe('a stranger who registered an address first and had all of the hour’s mails sent', () => {
  it('does not get the account: the owner registers, follows the newest mail where they registered, and their password works', async () => {
    const email = 'v@corp.example'
    await register(email, STRANGERS, { username: 'v-stranger', given_name: 'Mallory' })
    for (let i = 0; i < 4; i++) await resend(email)
    const secret = await register(email, OWN, { given_name: 'Vera' })
    expect(await sentTo(realm, email)).toEqual(Array(5).fill('register'))
    expect((await verify(await newest(email), { registration_secret: secret })).status).toBe(204)
    expect([await entersWith(email, OWN), await entersWith(email, STRANGERS)]).toEqual([true, false])
    expect(await people(email)).toMatchObject([{ username: 'v', given_name: 'Vera', email_verified: true }])
  })

  it('does not get the account where the owner follows a mail elsewhere: the owner chooses a password there and then', async () => {
    const email = 'w@corp.example'
    const theirs = await register(email, STRANGERS, { username: 'w-stranger', given_name: 'Mallory' })
    for (let i = 0; i < 4; i++) await resend(email)
    await register(email, OWN)
    const token = await newest(email)
    expectProblem(await verify(token), 422, 'password_required')
    expect(await people(email)).toEqual([])
    expect((await verify(token, { new_password: CHOSEN })).status).toBe(204)
    expect(await entersWith(email, CHOSEN)).toBe(true)
    for (const password of [OWN, STRANGERS]) expect(await entersWith(email, password)).toBe(false)
    expect(await people(email)).toMatchObject([{ username: 'w', given_name: null, email_verified: true }])
    for (const old of await tokensTo(email, 5))
      expect(pointers(await verify(old, { registration_secret: theirs }))).toEqual(['#/token'])
    expect(await waiting(email)).toBe(0)
  })

  it('keeps the owner from nothing by registering again and again: the mails that were sent keep their worth', async () => {
    const email = 'x@corp.example'
    const secret = await register(email, OWN)
    const token = await newest(email)
    for (let i = 0; i < 4; i++) await resend(email)
    await Promise.all(Array.from({ length: 20 }, () => register(email, STRANGERS)))
    expect((await verify(token, { registration_secret: secret })).status).toBe(204)
    expect(await entersWith(email, OWN)).toBe(true)
  })

  it('pushes out at most a registration of the owner without a mail: the owner chooses a password with any mail', async () => {
    const email = 'y@corp.example'
    await register(email, STRANGERS)
    for (let i = 0; i < 4; i++) await resend(email)
    const secret = await register(email, OWN)
    await Promise.all(Array.from({ length: 20 }, () => register(email, STRANGERS)))
    expect(await waiting(email)).toBe(15)
    const token = await newest(email)
    expectProblem(await verify(token, { registration_secret: secret }), 422, 'password_required')
    expect((await verify(token, { new_password: OWN })).status).toBe(204)
    expect([await entersWith(email, OWN), await entersWith(email, STRANGERS)]).toEqual([true, false])
  })

  it('does not use up the mail to an address that a user asks to change to, nor to their own', async () => {
    const who = await addMember(realm, 'zoe')
    for (let i = 0; i < 6; i++) await resend(who.email)
    for (let i = 0; i < 6; i++) await post('/register', { email: 'zoe@new.example', password: STRANGERS })
    const asked = { new_email: 'zoe@new.example', current_password: who.password }
    expect((await post('/email-change', asked, who.token)).status).toBe(202)
    const token = await secretOf(realm, 'email_change', 'zoe@new.example')
    expect((await verify(token)).status).toBe(204)
    expect(await people('zoe@new.example')).toMatchObject([{ id: who.id, email_verified: true }])
  })
})

describe('twenty at once', () => {
  it('registrations of one address: each gets a secret of its own, five mails are sent, and each password counts with its secret', async () => {
    const email = 'ada@corp.example'
    const passwords = Array.from({ length: 20 }, (_, i) => `Marble-Kettle-${i}7`)
    const secrets = await Promise.all(passwords.map((password) => register(email, password)))
    expect(new Set(secrets).size).toBe(20)
    expect(await sentTo(realm, email)).toEqual(Array(5).fill('register'))
    const [kept] = await realm.asOwner(
      sql`select encode(sha256(${secrets[0]}::bytea), 'hex') as mine, array(select encode(secret_hash, 'hex') from freehold.registrations where email = ${email}) as hashes`,
    )
    const hashes = kept?.hashes as string[]
    expect(hashes).toHaveLength(15)
    const shown = await realm.asOwner(
      sql`select 1 from freehold.registrations r where ${sql.join(
        secrets.map((secret) => sql`r::text like ${`%${secret}%`}`),
        sql` or `,
      )}`,
    )
    expect(shown).toEqual([])
    const digest = async (secret: string) =>
      [...new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret)))]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('')
    const digests = await Promise.all(secrets.map(digest))
    const i = digests.findIndex((hash) => hashes.includes(hash))
    expect((await verify(await newest(email), { registration_secret: secrets[i] })).status).toBe(204)
    expect(await entersWith(email, passwords[i] ?? '')).toBe(true)
  })

  it.each<[string, (secret: string, i: number) => object]>([
    ['the secret', (registration_secret) => ({ registration_secret })],
    ['a new password each', (_, i) => ({ new_password: `Velvet-Comet-${i}3` })],
    ['one or the other', (registration_secret, i) => (i % 2 ? { registration_secret } : { new_password: `Velvet-Comet-${i}3` })],
  ])('that show the same token with %s: one is done, and makes one user with one password', async (how, more) => {
    const email = `bea-${how.length}@corp.example`
    const secret = await register(email)
    const token = await newest(email)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => verify(token, more(secret, i))))
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...Array(19).fill(400)])
    for (const answer of answers.filter(({ status }) => status === 400)) expect(pointers(answer)).toEqual(['#/token'])
    const [row] = await realm.asOwner(
      sql`select count(distinct u.id)::int as users, count(p.id)::int as passwords from freehold.users u left join freehold.passwords p on p.user_id = u.id where u.email = ${email}`,
    )
    expect(row).toEqual({ users: 1, passwords: 1 })
  })
})

describe('a user who asks for an address that somebody else is registering', () => {
  it('does not get it: the token of their mail is refused with the secret of a registration, and stays valid', async () => {
    const email = 'wanted@corp.example'
    const secret = await register(email)
    const mallory = await addMember(realm, 'mallory-of-mails')
    const asked = await post('/email-change', { new_email: email, current_password: mallory.password }, mallory.token)
    expect(asked.status).toBeLessThan(300)
    const token = await secretOf(realm, 'email_change', email)
    const refused = await verify(token, { registration_secret: secret })
    expectProblem(refused, 400, 'invalid_request')
    expect(pointers(refused)).toEqual(['#/registration_secret'])
    expect((await verify(await newest(email), { registration_secret: secret })).status).toBe(204)
    expect([await entersWith(email, OWN), await entersWith(email, mallory.password)]).toEqual([true, false])
  })
})
