/**
 * Delivery takes the webhooks of a tenant that have events to send, and sends to each in order. Threat: an event that is lost, or sent
 * forever; one receiver that holds up all others. What was accepted is recorded before the next page is taken, so that a sender that
 * dies repeats one page at most; whoever fails comes after whoever works; and each has a share of the time.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../kernel/config.ts'
import { type Realm, RUNG } from '../kernel/context.ts'
import { batch } from '../kernel/db.ts'
import { log } from '../kernel/log.ts'
import { type Message, openSecrets, type Sent, send, type Target, UNMADE } from './sending.ts'

/** An invocation of a Worker has six connections, and some are for the databases. */
const AT_ONCE = 4
/** How long one receiver is sent to before the next has its turn, and how much is recorded at once. */
const TURN_MS = 10_000
const RECORDED_MS = 2_000
const MOST_AT_ONCE = 20
/** Messages of one invocation, which has 10,000 subrequests; recording them, and the scheduled job's other work, take some as well. */
export const MOST_SENT = 6_000

/** How many messages an invocation may still send, whichever of its tenants they are of. */
export type Left = { messages: number }

export type Sender = Pick<Realm, 'id' | 'subdomain' | 'database_url' | 'system_key'>
type Claimed = Target & { lease: string }
type Event = Message & { seq: number }
type Result = Sent & { seq: number; event_id: string; type: string }
type Page = { reached: number; events: Event[] }
/** Rings the streams of users, by their ids, whom a transaction has told something (src/http/bells.ts). */
export type Ring = (rung: string) => Promise<unknown>

/**
 * Delivers to the webhooks of a tenant that are due, until none is, `until` has passed or no message is `left`. Never fails. Returns how
 * much was accepted. `ring`: tells streams that a webhook was paused.
 */
export async function deliverEvents(
  config: Config,
  realm: Sender,
  until: number,
  left: Left = { messages: MOST_SENT },
  ring: Ring = async () => undefined,
): Promise<number> {
  let accepted = 0
  const work = async () => {
    while (Date.now() < until && left.messages > 0) {
      const [claimed] = (await ask(realm, ring, sql`access.claim_webhooks(${realm.id}, ${realm.system_key}, 1)`)) as Claimed[]
      if (!claimed) return
      accepted += await deliverTo(config, realm, claimed, Math.min(until, Date.now() + TURN_MS), left, ring)
    }
  }
  const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work))
  for (const result of results)
    if (result.status === 'rejected') log('events not delivered', { tenant: realm.subdomain, error: String(result.reason) })
  return accepted
}

/** As an attempt of no event. */
const NOTHING_MADE = { ...UNMADE, type: 'webhook.failed', seq: null, event_id: null }

/** Sends to one webhook, in order, up to the first that is not accepted. Never fails: the webhook then waits as after any failure. */
async function deliverTo(
  config: Config,
  realm: Sender,
  claimed: Claimed,
  until: number,
  left: Left,
  ring: Ring,
): Promise<number> {
  const isOver = () => Date.now() >= until || left.messages <= 0
  const goOn = (results: (Result | typeof NOTHING_MADE)[], reached: number, is_last: boolean) =>
    ask(
      realm,
      ring,
      sql`access.continue_webhook(${realm.id}, ${realm.system_key}, ${claimed.id}::uuid, ${claimed.lease}::uuid, ${JSON.stringify(results)}::jsonb, ${reached}::bigint, ${is_last})`,
    ) as Promise<Page | null>
  let accepted = 0
  try {
    const secrets = await openSecrets(config, realm.id, claimed)
    for (let page = await goOn([], 0, false); page; ) {
      const recorded_from = Date.now()
      const results: Result[] = []
      let { reached } = page
      for (const event of page.events) {
        left.messages--
        const sent = await send(config, claimed.url, secrets, { ...event, id: `evt_${event.id}` })
        results.push({ ...sent, seq: event.seq, event_id: event.id, type: event.type })
        if (!sent.is_delivered) reached = event.seq - 1
        else if (event !== page.events.at(-1)) reached = event.seq
        else reached = page.reached
        if (!sent.is_delivered || results.length === MOST_AT_ONCE || Date.now() - recorded_from > RECORDED_MS || isOver()) break
      }
      accepted += results.filter(({ is_delivered }) => is_delivered).length
      page = await goOn(results, reached, isOver())
    }
  } catch (error) {
    log('events not delivered', { tenant: realm.subdomain, webhook: claimed.id, error: String(error) })
    await goOn([NOTHING_MADE], 0, true).catch(() => null)
  }
  return accepted
}

/** Calls a function of the tenant's database, rings whom it told something, and returns its answer. */
async function ask(realm: Sender, ring: Ring, call: SQL): Promise<unknown> {
  const [[row] = []] = await batch(realm.database_url, [sql`select ${call} as answer, ${RUNG}`])
  if (row?.rung) await ring(String(row.rung))
  return row?.answer ?? null
}
