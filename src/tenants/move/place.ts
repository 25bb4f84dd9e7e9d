/** A move as its steps see it: who works on it, and the job of the side that the tenant is not on. */
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { type Job, jobOf, type MasterRow } from '../provisioning/job.ts'
import { type MoveRow, otherSide } from '../provisioning/other-side.ts'

/** One attempt at a move. */
export type MoveWork = { move_id: string; attempt: number }

/** Nobody works on a move whose lease ran out: the scheduled job begins the next attempt. */
export const LEASE = sql`interval '3 minutes'`

/** `tenant`: where it is now. `other`: where it goes; after the exchange what it left. */
export type Held = {
  move: MoveRow
  tenant: Job
  other: Job
  owner_url: string
  schema_version: string | null
  refresh_key_encrypted: string
  status: string
}

/** What `hold` reads of the master. */
type Rows = { move: MoveRow; tenant: MasterRow; host: MasterRow | null; other: MasterRow | null }

/**
 * The move, if this attempt holds it; its lease begins again. `next` takes it over for that attempt, or has already. Null: another
 * attempt has it, or it has ended. One round trip to the master.
 */
export async function hold(
  config: Config,
  { move_id, attempt }: MoveWork,
  step: string | null,
  next = attempt,
): Promise<Held | null> {
  const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_moves m set lease_until = now() + ${LEASE}, attempts = ${next}::integer, step = coalesce(${step}, m.step)
        from platform.tenants t left join platform.hosts h on h.id = t.host_id
        where m.id = ${move_id} and m.attempts in (${attempt}, ${next}) and m.state = 'running' and t.id = m.tenant_id
        returning to_jsonb(m) as move, to_jsonb(t) as tenant, to_jsonb(h) as host, (select to_jsonb(o) from platform.hosts o where o.id = m.other_host_id) as other`,
  ])
  if (!found) return null
  const { tenant: row, host, other, move } = found as Rows
  const tenant = await jobOf(config, row, host, move.trace_id)
  if (!tenant.tenant.owner_url) throw new NonRetryableError('The tenant has no owner login.')
  return {
    move,
    tenant,
    other: await otherSide(config, move, row, other),
    owner_url: tenant.tenant.owner_url,
    schema_version: row.schema_version ?? null,
    refresh_key_encrypted: String(row.refresh_key_encrypted),
    status: String(row.status),
  }
}
