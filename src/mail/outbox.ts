/** The outbox of a realm for the sender: claim mails, finish attempts (src/mail/mail.sql, src/mail/limits.sql). */
import { type SQL, sql } from 'drizzle-orm'
import type { Realm } from '../kernel/context.ts'
import { batch } from '../kernel/db.ts'
import type { StoredLook } from '../settings/look.ts'

export type Channel = 'email' | 'sms'

/** What delivery needs of a realm: its database, and the system key by which the database recognises the system. */
export type Deliverer = Pick<Realm, 'id' | 'subdomain' | 'legal_name' | 'is_demo' | 'url' | 'database_url' | 'system_key'>

/** What mails show of the settings; a database with an earlier schema gives none. */
export type MailLook = Pick<StoredLook, 'name' | 'accent_color' | 'links'>

export type Claimed = {
  id: string
  attempt: string
  attempts: number
  kind: string
  channel: Channel
  recipient: string
  locale: string
  data: Record<string, unknown>
  secrets_encrypted: string | null
  trace_id: string | null
  name: string | null
  timezone: string | null
  look?: MailLook
}

/** A mail beyond a limit: which setting it is beyond. */
export type Dropped = Pick<Claimed, 'id' | 'kind' | 'channel' | 'trace_id'> & { limit: string }

export type Outcome = 'accepted' | 'refused' | 'failed' | 'untried'
type Result = Pick<Claimed, 'attempt' | 'attempts'> & { outcome: Outcome; detail: string | null }

/** Claims up to `at_most` due mails, for a minute, and takes as many that were dropped. One round trip. */
export async function claim(
  realm: Deliverer,
  at_most: number,
  channels: Channel[],
): Promise<{ mails: Claimed[]; dropped: Dropped[] }> {
  const [dropped, mails] = await ask(
    realm,
    sql`access.take_dropped_mails(${realm.id}, ${realm.system_key}, ${at_most})`,
    sql`access.claim_mails(${realm.id}, ${realm.system_key}, ${at_most}, ${JSON.stringify(channels)}::jsonb)`,
  )
  return { mails: mails as Claimed[], dropped: dropped as Dropped[] }
}

/** Finishes attempts; returns the ids of the mails that are given up. One round trip. */
export async function finish(realm: Deliverer, results: Result[]): Promise<string[]> {
  const [dead] = await ask(realm, sql`access.finish_mails(${realm.id}, ${realm.system_key}, ${JSON.stringify(results)}::jsonb)`)
  return dead as string[]
}

/** Calls functions of the realm's database in one transaction, and returns their answers. */
async function ask(realm: Deliverer, ...calls: SQL[]): Promise<unknown[]> {
  // The master's login has more privileges than the app role.
  const down = realm.subdomain === null ? [sql`set local role freehold_app`] : []
  const results = await batch(realm.database_url, [...down, ...calls.map((call) => sql`select ${call} as answer`)])
  return results.slice(down.length).map((rows) => rows[0]?.answer)
}
