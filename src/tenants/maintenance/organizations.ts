/**
 * Wiping out the organizations of a tenant (src/organizations/wiping.sql). Threat: one that was begun is left half done. So a tenant
 * is due as long as there is one, and what failed is logged and tried again by the next run.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { mustBeOpen } from '../fence/fence.ts'
import { NEWEST } from '../migration/versions.ts'

/** Most users who are let go in one transaction, and most such transactions of one tenant in one run. */
const MOST_PEOPLE = 100
const MOST_TURNS = 50

/** Whether there is one. An older schema has none. */
export const isWipeDue = ({ schema_version }: { schema_version?: string | null }): SQL =>
  schema_version === NEWEST ? sql`access.is_wipe_due()` : sql`false`

type Answer = { is_done: boolean; wiped: number; failed?: { id: string; error: string } }

/** Wipes out what was begun. False: there is more, or it failed. Never fails. */
export async function wipeOrganizations(url: string, tenant: string, trace_id: string): Promise<boolean> {
  const failures = new Set<string>()
  try {
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const wiping = sql`select access.wipe_organizations(${MOST_PEOPLE}) as answer`
      const statements = [unhurried, sql`set local role freehold_owner`, mustBeOpen, wiping]
      const [, , , [row] = []] = await batch(url, statements, trace_id)
      if (!row) throw new Error('Nothing was answered.')
      const { is_done, wiped, failed } = row.answer as Answer
      if (failed) {
        log('organization not wiped out', { tenant, trace_id, organization: failed.id, error: failed.error })
        // The others have had their turn.
        if (failures.has(failed.id)) return false
        failures.add(failed.id)
      }
      if (wiped) log('organization wiped out', { tenant, trace_id })
      if (is_done) return true
    }
  } catch (error) {
    log('organization not wiped out', { tenant, trace_id, error: error instanceof Error ? error.message : String(error) })
  }
  return false
}
