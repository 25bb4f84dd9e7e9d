/** People who invite, and what those whom they invite are mailed. */
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { Inside } from '../support/inside.ts'
import { mailboxOf } from '../support/mails.ts'
import { call } from '../support/people.ts'

/** A password that is nobody's. */
export const PASSWORD = 'Quartz-Meadow-52'

let addresses = 0
/** An address that nobody has, here or in another file. */
export const newAddress = (name = 'invitee') => `${name}-${addresses++}-${crypto.randomUUID().slice(0, 8)}@invited.test`

export const invite = (at: string, token: string | undefined, body: object, headers: Record<string, string> = {}) =>
  call(at, '/api/v1/invitations', { token, body, headers })

export const accept = (at: string, body: object, token?: string) => call(at, '/api/v1/invitations/accept', { body, token })

/** The token of the newest mail to an address, as it arrives (5 s at most). */
export async function mailedTo(realm: Inside, email: string): Promise<string> {
  const [mail] = await realm.asOwner(
    sql`select id from freehold.mails where recipient = ${email} and kind like 'invitation%' order by created_at desc limit 1`,
  )
  for (const until = Date.now() + 5_000; mail && Date.now() < until; await new Promise((done) => setTimeout(done, 20))) {
    const found = (await mailboxOf(email)).find(({ id }) => id.includes(mail.id))
    if (found?.token) return found.token
  }
  throw new Error(`No invitation was mailed to ${email}.`)
}

/** Somebody who is invited: the invitation, and the token of its mail. */
export async function invited(realm: Inside, token: string, body: Record<string, unknown> = {}) {
  const email = (body.email as string | undefined) ?? newAddress()
  const made = await invite(realm.subdomain, token, { ...body, email })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return { ...made.body, email, token: await mailedTo(realm, email) } as { id: string; email: string; token: string }
}
