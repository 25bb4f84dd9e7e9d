/**
 * The scheduled delivery of events: what a request's own did not get done, because its receiver failed or its isolate ended. Threat: the
 * receivers of one tenant hold up those of all others. So three tenants have their turn at once, and each a share of the run's time.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { deliverEvents } from '../../webhooks/delivery.ts'
import { NEWEST } from '../migration/versions.ts'
import { lookUp } from '../registry/registry.ts'

const ALL_MS = 45_000
const SHARE_MS = 15_000
const AT_ONCE = 3

/** When the next webhook has something to send, and whether now. An older schema, and the platform's, have none. */
export const webhooksOf = ({ schema_version }: { schema_version?: string | null }): { due_at: SQL; is_due: SQL } =>
  schema_version === NEWEST
    ? { due_at: sql`access.webhooks_due()`, is_due: sql`coalesce(access.webhooks_due() <= now(), false)` }
    : { due_at: sql`null::timestamptz`, is_due: sql`false` }

/** Delivers the events of the tenants with these subdomains, each minute beginning with another. Never fails. */
export async function deliverDueEvents(env: Env, config: Config, names: string[]): Promise<void> {
  const sources = { env, config, meter: { master: 0 } }
  const until = Date.now() + ALL_MS
  const first = Math.floor(Date.now() / 60_000) % Math.max(names.length, 1)
  const queue = [...names.slice(first), ...names.slice(0, first)]
  const work = async () => {
    for (let name = queue.shift(); name !== undefined && Date.now() < until; name = queue.shift())
      try {
        const realm = (await lookUp(sources, name))?.realm
        if (realm) await deliverEvents(config, realm, Math.min(until, Date.now() + SHARE_MS))
      } catch (error) {
        log('events not delivered', { tenant: name, error: error instanceof Error ? error.message : String(error) })
      }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}
