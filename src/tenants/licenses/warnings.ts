/**
 * Mails that a license ends. Threat: a tenant can only be read from one day to the next, and nobody there knew. The master knows it
 * alone: no tenant's database is woken (licenses.sql).
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'

/** Mails of one run; the next one comes after a minute. */
const MOST_WARNED = 50

/**
 * For the scheduled job: has the platform's outbox tell the administrators of tenants whose license ends within thirty days, once. One
 * round trip to the master. Never fails: the next run tries again.
 */
export async function warnOfLicenses({ MASTER_DATABASE_URL }: Config, trace_id: string): Promise<void> {
  try {
    const warning = sql`select platform.warn_licenses(${MOST_WARNED}) as warned`
    const [, [row] = []] = await batch(MASTER_DATABASE_URL, [sql`set local role freehold_owner`, warning], trace_id)
    if (Number(row?.warned)) log('license ends soon', { trace_id, mails: Number(row?.warned) })
  } catch (error) {
    log('license warnings failed', { trace_id, error: error instanceof Error ? error.message : String(error) })
  }
}
