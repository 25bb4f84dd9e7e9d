/** What people are told by mail, through the doors that give the occasion. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { mailboxOf, mailsTo } from '../support/mails.ts'
import { call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const DOOR = 'http://mailed.freehold.test/api/v1/auth/login'
let realm: Inside

beforeAll(async () => {
  await copyTenant('mailed', { legal_name: 'Mailed & Sons' })
  realm = await inside('mailed')
})

const enter = (username: string, password: string) => call('mailed', '/api/v1/auth/login', { body: { username, password } })
const speaks = (username: string, locale: string, timezone = 'UTC') =>
  realm.asOwner(sql`update freehold.users set locale = ${locale}, timezone = ${timezone} where username = ${username}`)
/** How many were ever posted to an address: what the outbox holds, whatever has become of it. */
const posted = async (email: string) => (await realm.asOwner(sql`select 1 from freehold.mails where recipient = ${email}`)).length

describe('an account that is locked', () => {
  it('is told once, though twenty try at once, with the tenant’s name and until when', async () => {
    const { email } = await addPerson(realm, 'amy-mailed', { fullCost: true })
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        knock(DOOR, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ username: 'amy-mailed', password: `Wrong-${i}` }),
        }),
      ),
    )
    const [mail] = await mailsTo(email)
    expect(await posted(email)).toBe(1)
    expect(await mailboxOf(email)).toHaveLength(1)
    expect(mail).toMatchObject({
      channel: 'email',
      from: 'no-reply@freehold.test',
      subject: 'Mailed & Sons: too many wrong passwords for your account',
    })
    expect(mail?.text).toMatch(
      /^Hello Cyan,\n\nSomebody tried to log in .*, from the network unknown\. Until \w+ \d+, \d{4} at \d+:\d+.[AP]M \(UTC\) nobody/,
    )
  })

  it('is told in the language and the time of its person', async () => {
    const { email } = await addPerson(realm, 'ana-mailed')
    await speaks('ana-mailed', 'es-PE', 'America/Lima')
    for (let i = 0; i < 5; i++) await enter('ana-mailed', 'Wrong-1')
    const [mail] = await mailsTo(email)
    expect(mail?.subject).toBe('Mailed & Sons: demasiadas contraseñas equivocadas en tu cuenta')
    expect(mail?.text).toMatch(/Hasta el \d+ de \w+ de \d{4} a las \d+:\d+ \(America\/Lima\)/)
  })

  it('is told nothing by four failures, and a locked one nothing more by others', async () => {
    const { email } = await addPerson(realm, 'art-mailed')
    for (let i = 0; i < 4; i++) await enter('art-mailed', 'Wrong-1')
    expect(await posted(email)).toBe(0)
    for (let i = 0; i < 4; i++) await enter('art-mailed', 'Wrong-1')
    await mailsTo(email)
    expect(await posted(email)).toBe(1)
  })
})

describe('a password that was changed', () => {
  it('is told to its person', async () => {
    const { email, password } = await addPerson(realm, 'abe-mailed')
    const { body } = await enter('abe-mailed', password)
    const change = { current_password: password, new_password: 'Marble-Kettle-52' }
    expect((await call('mailed', '/api/v1/auth/password-change', { token: body.access_token, body: change })).status).toBe(204)
    const [mail] = await mailsTo(email)
    expect(mail?.subject).toBe('Mailed & Sons: your password was changed')
    expect(
      await realm.asOwner(sql`select state, attempts, secrets_encrypted from freehold.mails where recipient = ${email}`),
    ).toEqual([{ state: 'sent', attempts: 1, secrets_encrypted: null }])
  })
})
