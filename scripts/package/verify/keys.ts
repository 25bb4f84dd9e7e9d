/**
 * The public keys of tenants, from their JWKS. Threat: a stranger who sends many tokens with made-up keys or tenants, so that this server
 * asks as often; a JWKS that cannot be reached; a key that was taken back and still counts. So a JWKS is asked once in 30 seconds at
 * most, whatever came of it, and ten at once of those that never had keys; the keys of tenants in use are not dropped for made-up ones;
 * keys are read anew after ten minutes, and used for an hour if that fails.
 */
import { createLocalJWKSet, errors, type JWTVerifyGetKey } from 'jose'
import { Refusal } from './refusal.ts'

const TIMEOUT_MS = 5_000
const PAUSE_MS = 30_000
const FRESH_MS = 10 * 60_000
const MOST_STALE_MS = 60 * 60_000
/** How many tenants are known at once. One without keys is dropped first, then the one that was not used for longest. */
const MOST_TENANTS = 500
/** How many addresses that never had keys are asked at once. A look-up beyond is refused without asking. */
const MOST_UNKNOWN = 10

export type Ask = (url: string, init: RequestInit) => Promise<Response>
type Known = {
  keys: ReturnType<typeof createLocalJWKSet> | null
  read_at: number
  asked_at: number
  failure: unknown
  reading: Promise<void> | null
}

/** Looks keys up in the JWKS at an address, which is fetched with `ask`. A look-up fails with Refusal `unavailable` when there are no keys to use. */
export function keyStore(ask: Ask): (url: string) => JWTVerifyGetKey {
  /** Who was used last is last. */
  const known = new Map<string, Known>()
  let unknown_reads = 0

  const dropOne = () => {
    const idle = [...known].find(([, one]) => !one.keys && !one.reading)
    known.delete(idle?.[0] ?? known.keys().next().value ?? '')
  }
  const entry = (url: string): Known => {
    const found = known.get(url)
    if (found) known.delete(url)
    else if (known.size >= MOST_TENANTS) dropOne()
    const never = Number.NEGATIVE_INFINITY
    const made = found ?? { keys: null, read_at: never, asked_at: never, failure: null, reading: null }
    known.set(url, made)
    return made
  }
  const read = async (url: string, one: Known) => {
    try {
      const answer = await ask(url, { redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) })
      if (!answer.ok) throw new Error(`${url} answered ${answer.status}.`)
      one.keys = createLocalJWKSet(await answer.json())
      one.read_at = performance.now()
      one.failure = null
    } catch (error) {
      one.failure = error
    }
  }
  /** Reads the keys, unless somebody just did. */
  const refresh = async (url: string, one: Known) => {
    if (one.reading) return one.reading
    const is_unknown = !one.keys
    if (performance.now() - one.asked_at < PAUSE_MS || (is_unknown && unknown_reads >= MOST_UNKNOWN)) return
    one.asked_at = performance.now()
    if (is_unknown) unknown_reads++
    one.reading = read(url, one).finally(() => {
      one.reading = null
      if (is_unknown) unknown_reads--
    })
    await one.reading
  }

  return (url) => async (header, token) => {
    const one = entry(url)
    const age = () => performance.now() - one.read_at
    if (age() > FRESH_MS) await refresh(url, one)
    if (!one.keys || age() > MOST_STALE_MS) throw new Refusal('unavailable', { cause: one.failure })
    try {
      return await one.keys(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      // It may be newer than what is known.
      await refresh(url, one)
      if (one.failure) throw new Refusal('unavailable', { cause: one.failure })
      return one.keys(header, token)
    }
  }
}
