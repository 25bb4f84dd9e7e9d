/** People who log in by mail. */
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { Inside, Person } from '../support/inside.ts'
import { mailboxOf } from '../support/mails.ts'
import { call } from '../support/people.ts'

export const allow = (realm: Inside, email_login = true) =>
  realm.asOwner(sql`update freehold.tenant set email_login = ${email_login}`)

export const ask = (at: string, body: object, headers: Record<string, string> = {}) =>
  call(at, '/api/v1/auth/email-login', { body, headers })

export const verify = (at: string, body: object, headers: Record<string, string> = {}) =>
  call(at, '/api/v1/auth/email-login/verify', { body, headers })

/** The code and the link's token of the newest mail to somebody, as it arrives (5 s at most). */
export async function mailedTo(realm: Inside, { email }: Pick<Person, 'email'>): Promise<{ code: string; token: string }> {
  const [mail] = await realm.asOwner(
    sql`select id from freehold.mails where recipient = ${email} and kind = 'email_login' order by created_at desc limit 1`,
  )
  for (const until = Date.now() + 5_000; mail && Date.now() < until; await new Promise((done) => setTimeout(done, 20))) {
    const found = (await mailboxOf(email)).find(({ id }) => id.includes(mail.id))
    const [code = ''] = /^\d{8}$/m.exec(found?.text ?? '') ?? []
    if (found) return { code, token: found.token ?? '' }
  }
  throw new Error(`No login was mailed to ${email}.`)
}

export type Asked = { request_token: string; code: string; token: string }

/** A request of somebody, and what they were mailed. */
export async function asked(realm: Inside, person: Person): Promise<Asked> {
  const answer = await ask(realm.subdomain, { email: person.email })
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return { request_token: answer.body.request_token, ...(await mailedTo(realm, person)) }
}

/** Another code of eight digits. */
export const wrongOf = (code: string, by = 1) => String((Number(code) + by) % 10 ** 8).padStart(8, '0')
