/** Types and records of competencies, as the database's owner leaves them: also those of the past. */
import { sql } from 'drizzle-orm'
import type { Inside } from '../support/inside.ts'

export async function addType(realm: Inside, name: string, kind = 'test_method'): Promise<string> {
  const id = crypto.randomUUID()
  await realm.asOwner(
    sql`insert into freehold.competency_types (id, name, kind, created_at) values (${id}, ${name}, ${kind}, now() - interval '3 years')`,
  )
  return id
}

type Held = {
  user_id: string
  type_id: string
  level?: number
  /** In days from now; null: never, or not at all. */
  issued?: number
  expires?: number | null
  verified?: number | null
  revoked?: number | null
  /** Who verified it, where it is. */
  by: string
}

const day = (days: number | null) => (days === null ? null : new Date(Date.now() + days * 86_400_000).toISOString())

/** A record whose dates are so many days from now. It was made when it was issued. */
export async function addRecord(realm: Inside, held: Held): Promise<string> {
  const { user_id, type_id, level = 3, issued = -400, expires = null, verified = issued, revoked = null, by } = held
  const id = crypto.randomUUID()
  await realm.asOwner(
    sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, verified_at, verified_by, revoked_at, created_at)
      values (${id}, ${user_id}, ${type_id}, ${level}::integer, ${day(issued)}::timestamptz, ${day(expires)}::timestamptz,
        ${day(verified)}::timestamptz, ${verified === null ? null : by}::uuid, ${day(revoked)}::timestamptz, ${day(issued)}::timestamptz)`,
  )
  return id
}
