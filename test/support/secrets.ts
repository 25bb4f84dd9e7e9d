/** What was sent to an address or a number, and the secret in it. */
import { sql } from 'drizzle-orm'
import type { Inside } from './inside.ts'
import { mailboxOf } from './mails.ts'

/** The kinds of all that was ever sent to an address or number, oldest first. */
export const sentTo = async (realm: Inside, recipient: string): Promise<string[]> =>
  (await realm.asOwner(sql`select kind from freehold.mails where recipient = ${recipient} order by created_at, id`)).map(
    ({ kind }) => kind,
  )

/** The token or code of the newest mail of a kind to somebody, as it arrives (5 s at most). */
export async function secretOf(realm: Inside, kind: string, recipient: string): Promise<string> {
  const [mail] = await realm.asOwner(
    sql`select id from freehold.mails where recipient = ${recipient} and kind = ${kind} order by created_at desc, id limit 1`,
  )
  if (!mail) throw new Error(`Nothing of the kind ${kind} was sent to ${recipient}.`)
  for (const until = Date.now() + 5_000; Date.now() < until; await new Promise((done) => setTimeout(done, 20))) {
    const found = (await mailboxOf(recipient)).find(({ id }) => id.includes(mail.id))
    const secret = found?.token ?? found?.code
    if (secret) return secret
  }
  throw new Error(`The mail ${kind} to ${recipient} did not arrive.`)
}
