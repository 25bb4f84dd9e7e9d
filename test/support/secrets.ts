/** What was sent to an address or a number, and the secret in it. */
import { sql } from 'drizzle-orm'
import { decrypt } from '../../src/kernel/keyring.ts'
import { settings } from './databases.ts'
import type { Inside } from './inside.ts'

/** The kinds of all that was ever sent to an address or number, oldest first. */
export const sentTo = async (realm: Inside, recipient: string): Promise<string[]> =>
  (await realm.asOwner(sql`select kind from freehold.mails where recipient = ${recipient} order by created_at, id`)).map(
    ({ kind }) => kind,
  )

/** The token or code of the newest mail of a kind to somebody. */
export async function secretOf(realm: Inside, kind: string, recipient: string): Promise<string> {
  const [mail] = await realm.asOwner(
    sql`select sealed from freehold.mails where recipient = ${recipient} and kind = ${kind} order by created_at desc, id limit 1`,
  )
  if (!mail) throw new Error(`Nothing of the kind ${kind} was sent to ${recipient}.`)
  const opened = JSON.parse(await decrypt(settings().ENCRYPTION_KEYS, realm.id, 'mail', mail.sealed))
  return opened.token ?? opened.code
}
