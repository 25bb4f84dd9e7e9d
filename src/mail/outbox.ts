/** The outbox of a realm, as whoever delivers sees it: what is claimed, and what came of it (src/mail/mail.sql). */
import { type SQL, sql } from 'drizzle-orm'
import type { Realm } from '../kernel/context.ts'
import { batch } from '../kernel/db.ts'

export type Channel = 'email' | 'sms'

/** Who may deliver: the realm's database, and the key that it knows the system by. */
export type Deliverer = Pick<Realm, 'id' | 'subdomain' | 'legal_name' | 'url' | 'database_url' | 'system_key'>

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
}

export type Outcome = 'accepted' | 'refused' | 'failed' | 'untried'
type Result = Pick<Claimed, 'attempt' | 'attempts'> & { outcome: Outcome; detail: string | null }

/** Takes up to so many mails that are due, for a minute. One round trip. */
export const claim = (realm: Deliverer, at_most: number, channels: Channel[]) =>
  ask<Claimed[]>(realm, sql`access.claim_mails(${realm.id}, ${realm.system_key}, ${at_most}, ${JSON.stringify(channels)}::jsonb)`)

/** Writes down what came of tries, and tells which mails are given up. One round trip. */
export const finish = (realm: Deliverer, results: Result[]) =>
  ask<string[]>(realm, sql`access.finish_mails(${realm.id}, ${realm.system_key}, ${JSON.stringify(results)}::jsonb)`)

async function ask<T>(realm: Deliverer, call: SQL): Promise<T> {
  // The platform's database is reached with a login that may do more.
  const down = realm.subdomain === null ? [sql`set local role freehold_app`] : []
  const rows = (await batch(realm.database_url, [...down, sql`select ${call} as answer`])).at(-1)
  return rows?.[0]?.answer as T
}
