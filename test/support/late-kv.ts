/**
 * KV as Cloudflare has it somewhere else than where it was written: a read gives what was there a minute ago, and what was read, found or
 * missed, is given again for as long as its `cacheTtl` says. The clock is `Date`, which a test moves. Writes reach the real one; what was
 * there when is known from a journal of all that this file's Worker writes, its Workflows included.
 */
import { env } from 'cloudflare:workers'

const LATE_MS = 60_000
const CACHE_SECONDS = 60

type How = 'text' | 'json' | { type?: 'text' | 'json'; cacheTtl?: number }
type Kept = { at: number; value: string | null }

const journal = new Map<string, Kept[]>()
const note = (key: string, value: string | null) => journal.set(key, [...(journal.get(key) ?? []), { at: Date.now(), value }])
const asOf = (key: string, at: number) => journal.get(key)?.findLast((kept) => kept.at <= at)?.value ?? null

const real = Object.getPrototypeOf(env.TENANTS) as KVNamespace
const { put, delete: remove } = real
real.put = async function (this: KVNamespace, key: string, value: string, ...rest: unknown[]) {
  await (put as (...given: unknown[]) => Promise<void>).call(this, key, value, ...rest)
  note(key, value)
} as KVNamespace['put']
real.delete = async function (this: KVNamespace, key: string) {
  await remove.call(this, key)
  note(key, null)
} as KVNamespace['delete']

/** KV at one location that is a minute behind. */
export function lateKv(): KVNamespace {
  const cached = new Map<string, Kept>()

  const one = (key: string, seconds: number) => {
    const known = cached.get(key)
    if (known && Date.now() - known.at < seconds * 1000) return known.value
    const value = asOf(key, Date.now() - LATE_MS)
    cached.set(key, { at: Date.now(), value })
    return value
  }

  const get = async (asked: string | string[], how: How = 'text') => {
    // The real one is asked as well: it refuses what Cloudflare refuses.
    await (env.TENANTS.get as (...given: unknown[]) => Promise<unknown>)(asked, how)
    const { type = 'text', cacheTtl = CACHE_SECONDS } = typeof how === 'string' ? { type: how } : how
    const read = (key: string) => {
      const value = one(key, cacheTtl)
      return type === 'json' && value !== null ? JSON.parse(value) : value
    }
    return typeof asked === 'string' ? read(asked) : new Map(asked.map((key) => [key, read(key)]))
  }
  return {
    get,
    put: (...given: Parameters<KVNamespace['put']>) => env.TENANTS.put(...given),
    delete: (key: string) => env.TENANTS.delete(key),
  } as unknown as KVNamespace
}
