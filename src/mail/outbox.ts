/** The outbox of a realm for the sender: claim mails, finish attempts (src/mail/mail.sql). */
import { type SQL, sql } from 'drizzle-orm'
import type { Realm } from '../kernel/context.ts'
import { batch } from '../kernel/db.ts'

export type Channel = 'email' | 'sms'

/** What delivery needs of a realm: its database, and the system key by which the database recognises the system. */
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

/** Claims up to `at_most` due mails, for a minute. One round trip. */
export const claim = (realm: Deliverer, at_most: number, channels: Channel[]) =>
  ask<Claimed[]>(realm, sql`access.claim_mails(${realm.id}, ${realm.system_key}, ${at_most}, ${JSON.stringify(channels)}::jsonb)`)

/** Finishes attempts; returns the ids of the mails that are given up. One round trip. */
export const finish = (realm: Deliverer, results: Result[]) =>
  ask<string[]>(realm, sql`access.finish_mails(${realm.id}, ${realm.system_key}, ${JSON.stringify(results)}::jsonb)`)

async function ask<T>(realm: Deliverer, call: SQL): Promise<T> {
  // The master's login has more privileges than the app role.
  const down = realm.subdomain === null ? [sql`set local role freehold_app`] : []
  const rows = (await batch(realm.database_url, [...down, sql`select ${call} as answer`])).at(-1)
  return rows?.[0]?.answer as T
}
