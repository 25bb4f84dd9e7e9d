/**
 * How often API keys are used: counted in the isolate's memory and written about a second later, many requests at once, by the first of them, after
 * its answer. Threat: a count that is lost or counted twice. So what was taken to be written is a batch with a number, kept until the database
 * says that it has it, and the database takes each once. What an isolate loses that is killed within that second is lost.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'

type Use = { uses: number; last_used_at: number }
type Counts = Map<string, Use>
type Batch = { no: number; counts: Counts }
/** What a realm's keys were used for. Plain data: whoever writes it does so with the means of their own request. */
type Tally = {
  /** Not yet sent to the database. */
  counts: Counts
  /** Sent at least once; whether it arrived is not known yet. */
  batch: Batch | null
  /** When somebody began to wait for what to write; 0: nobody waits. */
  collecting_since: number
}

const COLLECT_MS = 1_000
/** Who waits for longer has been ended. */
const GONE_MS = 10_000
const AGAIN_MS = [1_000, 3_000, 8_000]

const wait = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

const tallies = new Map<string, Tally>()
let writer: string | undefined
let batches = 0

/** Counts one use of a key. Costs the request nothing; the first of a second writes for all, after its answer. */
export function countUse(ctx: Ctx, prefix: string): void {
  const { id } = ctx.realm
  const tally = tallies.get(id) ?? { counts: new Map(), batch: null, collecting_since: 0 }
  tallies.set(id, tally)
  tally.counts.set(prefix, { uses: (tally.counts.get(prefix)?.uses ?? 0) + 1, last_used_at: Date.now() })
  if (Date.now() - tally.collecting_since < GONE_MS) return
  tally.collecting_since = Date.now()
  ctx.later(collect(ctx, tally))
}

async function collect(ctx: Ctx, tally: Tally): Promise<void> {
  await wait(COLLECT_MS)
  // From here on another collects, because this request will not be there for long.
  tally.collecting_since = 0
  for (const pause of [...AGAIN_MS, 0]) {
    try {
      while (tally.batch || (tally.counts.size && !tally.collecting_since)) await flush(ctx, tally)
      if (!tally.counts.size && !tally.collecting_since && tallies.get(ctx.realm.id) === tally) tallies.delete(ctx.realm.id)
      return
    } catch (error) {
      if (pause) await wait(pause)
      else log('uses of keys not written', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, error: String(error) })
    }
  }
}

/** Writes a batch: first the one of which nobody knows whether it arrived. */
async function flush(ctx: Ctx, tally: Tally): Promise<void> {
  if (!tally.batch) {
    tally.batch = { no: ++batches, counts: tally.counts }
    tally.counts = new Map()
  }
  const { batch } = tally
  await write(ctx, batch)
  if (tally.batch === batch) tally.batch = null
}

async function write({ realm, call }: Ctx, { no, counts }: Batch): Promise<void> {
  writer ??= crypto.randomUUID()
  const rows = [...counts].map(([prefix, use]) => ({ prefix, ...use, last_used_at: new Date(use.last_used_at).toISOString() }))
  await call(sql`access.count_key_uses(${realm.id}, ${realm.system_key}, ${writer}, ${no}, ${JSON.stringify(rows)}::jsonb)`)
}
