/**
 * Erasing the people of a tenant whose time has come (src/personal/scrubbing.sql). Threat: one is passed over, and nobody notices. So
 * a tenant is due when an erasure is, one that could not be done is logged, and what is left is due again at once.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { mustBeOpen } from '../fence/fence.ts'
import { NEWEST } from '../migration/versions.ts'

/** Most details of the audit that are erased in one transaction, and most such transactions of one tenant in one run. */
const MOST_DETAILS = 5_000
const MOST_TURNS = 50

/** When the next one is due, and whether it is now. An older schema, and the platform's, erase nobody. */
export const erasuresOf = ({ schema_version }: { schema_version?: string | null }): { due_at: SQL; is_due: SQL } =>
  schema_version === NEWEST
    ? { due_at: sql`access.erasure_due()`, is_due: sql`coalesce(access.erasure_due() <= now(), false)` }
    : { due_at: sql`null::timestamptz`, is_due: sql`false` }

/** Erases who is due. False: there are more, or it failed. Never fails. */
export async function eraseDue(url: string, tenant: string, trace_id: string): Promise<boolean> {
  try {
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const erasing = sql`select access.erase_due(${MOST_DETAILS}) as answer`
      const statements = [unhurried, sql`set local role freehold_owner`, mustBeOpen, erasing]
      const [, , , [row] = []] = await batch(url, statements, trace_id)
      if (!row) throw new Error('Nothing was answered.')
      const { is_done, erased, postponed } = row.answer as { is_done: boolean; erased: number; postponed: number }
      if (erased) log('user erased', { tenant, trace_id })
      if (postponed) log('erasure postponed', { tenant, trace_id, because: 'the last administrator' })
      if (is_done) return true
    }
  } catch (error) {
    log('erasure failed', { tenant, trace_id, error: error instanceof Error ? error.message : String(error) })
  }
  return false
}
