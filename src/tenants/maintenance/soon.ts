/**
 * Checkpoints right after what was written, so that events are there within seconds and not within the minute of the scheduled job.
 * Threat: each request pays for it, or waits for it. So it runs beside the answer, at most once in 2 s for each tenant and isolate, in
 * a round trip of its own, and then sends to webhooks; what it leaves, because an older transaction still runs, it tries again, and at last the scheduled job does.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Realm } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { deliverEvents, type Ring } from '../../webhooks/delivery.ts'
import { NEWEST } from '../migration/versions.ts'

/** How far apart two checkpoints of one tenant are, in one isolate. */
const APART_MS = 2_000
/** When it is tried again while an older transaction runs, a little later each time, and how often. */
const AGAIN_MS = 500
const MOST_TURNS = 4
/** Work beside an answer is ended 30 s after it. */
const DELIVERING_MS = 12_000
const MOST_KNOWN = 10_000

/** When the next one begins, or the last one began, of each tenant. A time that passed long ago is of a request that was ended before it. */
const turns = new Map<string, number>()

/**
 * Has the newest entries of a tenant's audit put under a checkpoint; null: that is about to happen. A request that `wrote` nothing but
 * that it was refused does not wait for its turn, nor try again: then the next one has it done, or the scheduled job. One round trip that no answer
 * waits for. Never fails.
 */
export function checkpointSoon(config: Config, realm: Realm, wrote: boolean, ring: Ring): Promise<unknown> | null {
  if (realm.subdomain === null || realm.schema_version !== NEWEST) return null
  const now = Date.now()
  const last = turns.get(realm.id) ?? 0
  if (last > now && last <= now + APART_MS) return null
  const wait = Math.max(0, Math.min(APART_MS, last + APART_MS - now))
  if (wait && !wrote) return null
  if (turns.size >= MOST_KNOWN) turns.clear()
  turns.set(realm.id, now + wait)
  return run(config, realm, wait, wrote ? MOST_TURNS : 1, ring).catch((error) =>
    log('events not numbered', { tenant: realm.subdomain, error: error instanceof Error ? error.message : String(error) }),
  )
}

async function run(config: Config, realm: Realm, wait: number, most_turns: number, ring: Ring): Promise<void> {
  const own = turns.get(realm.id)
  if (wait) await scheduler.wait(wait)
  const asked = sql`select access.checkpoint_soon(${realm.id}, ${realm.system_key}) as answer`
  for (let turn = 1; ; turn++) {
    const [[row] = []] = await batch(realm.database_url, [asked])
    const answer = row?.answer as { is_pending: boolean; is_due: boolean } | undefined
    if (answer?.is_due) await deliverEvents(config, realm, Date.now() + DELIVERING_MS, undefined, ring)
    if (!answer?.is_pending || turn === most_turns) return
    await scheduler.wait(AGAIN_MS * turn)
    // Another request's turn has come meanwhile, and takes these, too.
    if (turns.get(realm.id) !== own) return
  }
}
