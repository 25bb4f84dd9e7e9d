/**
 * Counts the uses of API keys in the isolate's memory. The first request of a second writes the counts of all, after its
 * response. Threat: a use is lost or counted twice. So counts are written in numbered batches, a batch is kept until the database
 * confirms it, and the database takes each number once. An isolate that is killed within that second loses its counts.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'

type Use = { uses: number; last_used_at: number }
type Counts = Map<string, Use>
type Batch = { no: number; counts: Counts }
/** The counts of a realm. Plain data, because each request writes it through its own connection. */
type Tally = {
  /** Not yet sent to the database. */
  counts: Counts
  /** Sent at least once, and not confirmed yet. */
  batch: Batch | null
  /** When a request began to collect; 0: none does. */
  collecting_since: number
}

const COLLECT_MS = 1_000
/** A request that collects for longer than this was killed. */
const GONE_MS = 10_000
const RETRY_MS = [1_000, 3_000, 8_000]

const wait = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

const tallies = new Map<string, Tally>()
let writer: string | undefined
let batches = 0

/** Counts one use of a key. No round trip; the first request of a second writes for all, after its response. */
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
  // From here on another request collects, because this one ends soon.
  tally.collecting_since = 0
  for (const pause of [...RETRY_MS, 0]) {
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

/** Writes a batch; one that is not confirmed yet goes first. */
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
