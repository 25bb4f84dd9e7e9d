/**
 * A value that the requests of an isolate share. Threat: many requests at once ask for the same, and each costs a round trip. So one asks
 * and the others wait for its answer. They share values and no promise: what one request awaits is bound to it, and would fail or hang in
 * another (decision 12).
 */

/** After that whoever waits asks as well: the one who asked was ended, or what it asks is slow. */
const ASKING_MS = 5_000
const PAUSE_MS = 20

/**
 * The last value, and why there is no newer one (null: it was answered); since when that is so, how many answers there were, and since when
 * a request asks for the next (0: none does).
 */
export type Shared<T> = { value: T; failure: unknown; at: number; answers: number; asking_since: number }

/** A value that nobody has asked for. */
export const unasked = <T>(value: T): Shared<T> => ({ value, failure: null, at: 0, answers: 0, asking_since: 0 })

/** Shared values by the id of a realm. The oldest of them goes when there are more than `most`. */
export function sharedByRealm<T>(most: number, first: T) {
  const memory = new Map<string, Shared<T>>()
  return {
    of(id: string): Shared<T> {
      const known = memory.get(id) ?? unasked(first)
      if (!memory.has(id) && memory.size >= most) memory.delete(memory.keys().next().value ?? '')
      memory.set(id, known)
      return known
    },
    /** The value was changed: whoever comes next asks, whatever is being asked now. */
    forget(id: string): void {
      memory.delete(id)
    },
  }
}

/** A moment of the last `ms`. Not one of the future, where the clock was set back. */
const isWithin = (ms: number, moment: number) => Date.now() >= moment && Date.now() - moment < ms
const wait = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/**
 * The value, asked for unless that was done within `fresh_ms`. Whoever waits takes the answer that comes, however long it took. Where `ask`
 * fails, the value stays as it was, `failure` says why, and nobody asks for `fresh_ms` from then on: not each request waits for a database
 * that is silent. `later` keeps the question going when the client of the one who asks is gone.
 */
export async function share<T>(
  shared: Shared<T>,
  fresh_ms: number,
  ask: () => Promise<T>,
  later: (work: Promise<unknown>) => void,
): Promise<T> {
  const seen = shared.answers
  const end = (said: Partial<Shared<T>>) => void Object.assign(shared, said, { answers: shared.answers + 1, asking_since: 0 })
  while (!isWithin(fresh_ms, shared.at) && shared.answers === seen) {
    if (isWithin(ASKING_MS, shared.asking_since)) {
      await wait(PAUSE_MS)
      continue
    }
    const began = Date.now()
    shared.asking_since = began
    const asked = ask().then(
      (value) => end({ value, failure: null, at: began }),
      (failure: unknown) => end({ failure, at: Date.now() }),
    )
    later(asked)
    await asked
  }
  return shared.value
}
