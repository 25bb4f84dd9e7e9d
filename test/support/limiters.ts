/** The rate limits of production, for tests: the counters here count as Cloudflare's do, and a minute passes when a test moves the clock. */
import { env } from 'cloudflare:workers'
import { vi } from 'vitest'
import { app } from '../../src/app.ts'
import { askAside } from './aside.ts'

const files = import.meta.glob<string>('../../wrangler.toml', { eager: true, import: 'default', query: '?raw' })
const [, production = ''] = Object.values(files)[0]?.split('[env.production]') ?? []
export const limitOf = (name: string) => Number(new RegExp(`"${name}".*limit = (\\d+)`).exec(production)?.[1])

/** A counter of the binding: it counts up, says whether the limit is passed, and nothing else. */
export function counter(name: string) {
  const counts = new Map<string, { since: number; n: number }>()
  const limit = async ({ key = '' }) => {
    const known = counts.get(key)
    const is_over = known && vi.isFakeTimers() && Date.now() - known.since >= 60_000
    const { since, n } = known && !is_over ? known : { since: Date.now(), n: 0 }
    counts.set(key, { since, n: n + 1 })
    return { success: n < limitOf(name) }
  }
  return { limit }
}

export const limiters = () =>
  Object.fromEntries(['ATTEMPTS', 'FAILURES', 'REFUSALS', 'PRINCIPALS'].map((name) => [name, counter(name)]))

let next = 0
/** An address of this range, `198.51`, that nobody has used. */
export const newAddress = (range = '198.51') => `${range}.${next >> 8}.${next++ & 255}`

/**
 * A request of the Worker in this isolate, with these bindings or settings, and its answer once what it left to do is done. `trips`
 * and `master`: the round trips before the answer; `read`: whether its body was.
 */
export async function askWith(bindings: object, url: string, init: RequestInit = {}) {
  const sent = new Request(url, { redirect: 'manual', ...init })
  const answer = await askAside((context) => app.fetch(sent, { ...env, ...bindings }, context))
  const text = await answer.text()
  const spent = (name: string) =>
    Number(new RegExp(`${name};desc="(\\d+)"`).exec(answer.headers.get('Server-Timing') ?? '')?.[1] ?? 0)
  return {
    status: answer.status,
    body: text && /json/.test(answer.headers.get('Content-Type') ?? '') ? JSON.parse(text) : null,
    headers: answer.headers,
    trips: spent('db'),
    master: spent('master'),
    read: sent.bodyUsed,
  }
}

/** Answers to many requests, a few at a time; more where each does nothing but wait. */
export async function many<T>(count: number, one: (i: number) => Promise<T>, at_once = 5): Promise<T[]> {
  const answers: T[] = []
  let next = 0
  // Whoever is done takes the next one: a request whose work beside the answer takes seconds holds up no other.
  const worker = async () => {
    for (let i = next++; i < count; i = next++) answers[i] = await one(i)
  }
  await Promise.all(Array.from({ length: at_once }, worker))
  return answers
}
