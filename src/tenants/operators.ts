/**
 * Operators, from the side of whoever holds the master. Threat: strangers lock the only operator out, and nobody is left to unlock
 * them. So the secret of the master does, and nothing less.
 */
import { sql } from 'drizzle-orm'
import { newTraceId } from '../http/trace.ts'
import type { Config } from '../kernel/config.ts'
import { batch } from '../kernel/db.ts'

/**
 * Takes the second factors of the operator with this address away, ends their sessions, and tells them by mail. Returns the address;
 * null: there is no such operator, or they have none. The audit of the platform has an entry. One round trip, to the master.
 */
export async function resetOperatorFactors({ MASTER_DATABASE_URL }: Config, email: string): Promise<string | null> {
  const resetting = sql`select access.reset_factors_as_owner(${email}) as address`
  const [, rows = []] = await batch(MASTER_DATABASE_URL, [sql`set local role freehold_owner`, resetting], newTraceId())
  const address = rows[0]?.address
  return typeof address === 'string' ? address : null
}

/**
 * Clears the lockouts of the operator with this address; null: of all who are locked out. Returns their addresses: none when there
 * is no such operator. The audit of the platform has an entry for each, under one trace id. One round trip, to the master.
 */
export async function unlockOperators({ MASTER_DATABASE_URL }: Config, email: string | null): Promise<string[]> {
  const unlocking = sql`select address from access.unlock_as_owner(${email}) as x (address)`
  const [, rows = []] = await batch(MASTER_DATABASE_URL, [sql`set local role freehold_owner`, unlocking], newTraceId())
  return rows.map(({ address }) => String(address))
}
