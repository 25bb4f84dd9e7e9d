/**
 * The scheduled delivery of events: what a request's own did not get done, because its receiver failed or its isolate ended. Threat: the
 * receivers of one tenant hold up those of all others. So three tenants have their turn at once, and each a share of the run's time; or,
 * where a Queue is bound, each tenant has an invocation of its own. A message of the queue names a tenant and nothing else: what is to be
 * sent, and whether somebody sends it already, its database says. So a message that is lost, or comes twice, changes nothing.
 */
import { type SQL, sql } from 'drizzle-orm'
import { ringAll } from '../../http/bells.ts'
import type { Config } from '../../kernel/config.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { deliverEvents, type Left, MOST_SENT } from '../../webhooks/delivery.ts'
import { NEWEST } from '../migration/versions.ts'
import { lookUp } from '../registry/registry.ts'

const ALL_MS = 45_000
const SHARE_MS = 15_000
const AT_ONCE = 3
/** A message of a queue has 15 minutes; what is left then, or beyond the messages of an invocation, the next run of the job queues again. */
const QUEUED_MS = 10 * 60_000
/** As many messages as Queues takes at once. */
const MOST_QUEUED = 100

/** The message that a tenant has events to send. */
export type Ringing = { subdomain: string }

/** When the next webhook has something to send, and whether now. An older schema, and the platform's, have none. */
export const webhooksOf = ({ schema_version }: { schema_version?: string | null }): { due_at: SQL; is_due: SQL } =>
  schema_version === NEWEST
    ? { due_at: sql`access.webhooks_due()`, is_due: sql`coalesce(access.webhooks_due() <= now(), false)` }
    : { due_at: sql`null::timestamptz`, is_due: sql`false` }

/**
 * Delivers the events of the tenants with these subdomains, each minute beginning with another; where the Queue DELIVERIES is bound, has it
 * done. Never fails.
 */
export async function deliverDueEvents(env: Env, config: Config, names: string[]): Promise<void> {
  const until = Date.now() + ALL_MS
  const first = Math.floor(Date.now() / 60_000) % Math.max(names.length, 1)
  const waiting = await enqueue(env, [...names.slice(first), ...names.slice(0, first)])
  const left = { messages: MOST_SENT }
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined && Date.now() < until; name = waiting.shift())
      await deliverTo(env, config, name, Math.min(until, Date.now() + SHARE_MS), left)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

/** Delivers the events of the tenants that messages of the queue name. Never fails: what is left, the scheduled job queues again. */
export async function deliverQueued(env: Env, config: Config, messages: readonly { body: Ringing }[]): Promise<void> {
  const [until, left] = [Date.now() + QUEUED_MS, { messages: MOST_SENT }]
  for (const { body } of messages) await deliverTo(env, config, body.subdomain, until, left)
}

/** Queues the tenants where there is a queue. Returns those that it did not take. */
async function enqueue({ DELIVERIES }: Env, names: string[]): Promise<string[]> {
  const queue = DELIVERIES as Queue<Ringing> | undefined
  if (!queue) return names
  for (let taken = 0; taken < names.length; taken += MOST_QUEUED)
    try {
      await queue.sendBatch(names.slice(taken, taken + MOST_QUEUED).map((subdomain) => ({ body: { subdomain } })))
    } catch (error) {
      log('deliveries not queued', { error: error instanceof Error ? error.message : String(error) })
      return names.slice(taken)
    }
  return []
}

async function deliverTo(env: Env, config: Config, name: string, until: number, left: Left): Promise<void> {
  try {
    const realm = (await lookUp({ env, config, meter: { master: 0 } }, name))?.realm
    if (realm) await deliverEvents(config, realm, until, left, (rung) => ringAll(env, realm.id, rung))
  } catch (error) {
    log('events not delivered', { tenant: name, error: error instanceof Error ? error.message : String(error) })
  }
}
