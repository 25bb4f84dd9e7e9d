/**
 * Long computations in slices. Threat: one login with a hash of another system computes for seconds, and all tenants of its
 * isolate wait. So such a computation ends a slice after a fixed number of rounds, which its author measured: the clock of a
 * Worker stands still while it computes, so that no computation can tell how long it has taken. And at most two run at once in an
 * isolate; others wait, a few seconds at most.
 */

/** Ends a slice: lets every other request go on, and the clock. */
export type EndSlice = () => Promise<void>

const MOST_AT_ONCE = 2
const PATIENCE_MS = 8_000
const POLL_MS = 50
/** A request whose client is gone is stopped without a word. Its computation no longer counts after this long without a slice. */
const LOST_MS = 5_000

/** Not `scheduler.wait`: scripts that run in Node import what is here. */
const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** The computations that are running: when each ended its last slice. */
const running = new Set<{ seen: number }>()

/**
 * Runs a computation that ends its slices with the given function; null: others were running all the time. A request waits by
 * its own timer, because in a Worker no request can be woken by another one.
 */
export async function inSlices<T>(compute: (endSlice: EndSlice) => Promise<T>): Promise<T | null> {
  const deadline = Date.now() + PATIENCE_MS
  while (!hasRoom()) {
    if (Date.now() >= deadline) return null
    await pause(POLL_MS)
  }
  const own = { seen: Date.now() }
  running.add(own)
  try {
    return await compute(async () => {
      await pause(0)
      own.seen = Date.now()
    })
  } finally {
    running.delete(own)
  }
}

function hasRoom(): boolean {
  for (const each of running) if (each.seen <= Date.now() - LOST_MS) running.delete(each)
  return running.size < MOST_AT_ONCE
}
