/**
 * What Cloudflare refuses in production and the local runtime does not, refused here too, so that it cannot pass unnoticed:
 * - PBKDF2 above 100,000 iterations in one call;
 * - more than 6 outgoing connections of one invocation at once. Counted are `fetch` until its headers are there and calls of KV; there a
 *   seventh waits, here it fails, and with it the test, also when somebody caught the failure. Not counted: Workflows, rate limits, assets, Workflow steps of their own, and what a test does itself;
 * - I/O, timers and random values while modules are loaded;
 * - clocks that move during CPU work: in an invocation `Date` and `performance.now` stand still from one I/O or timer to the next.
 *
 * Each file runs this, and many files share an isolate: what is wrapped once is wrapped, or the last file would ask for the time through
 * a hundred proxies.
 */

import { env } from 'cloudflare:workers'
import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach } from 'vitest'

const MAX_ITERATIONS = 100_000
const MAX_CONNECTIONS = 6

type Invocation = { open: number; most: number; now: number; elapsed: number }
type Loading = { broken: string[] }
/** What a request that a test made left to do beside its answer: how many connections are open, and how much of it waits for its turn. */
export type Aside = { open: number; waiting: number; wake: () => void }
type Work = (...given: any[]) => any

/** What all files of an isolate share. */
type Watch = {
  invocations: AsyncLocalStorage<Invocation>
  asides: AsyncLocalStorage<Aside>
  RealDate: typeof Date
  realNow: () => number
  loading: Loading | null
  breaches: string[]
}
const held = globalThis as { freehold_watch?: Watch }
const is_first = !held.freehold_watch
held.freehold_watch ??= {
  invocations: new AsyncLocalStorage(),
  asides: new AsyncLocalStorage(),
  RealDate: Date,
  realNow: performance.now.bind(performance),
  loading: null,
  breaches: [],
}
const watch = held.freehold_watch
const { invocations, asides, RealDate, realNow } = watch

/** What was refused since the last call. A test that does not take its breaches fails. */
export const takeBreaches = (): string[] => watch.breaches.splice(0)

afterEach(() => {
  const taken = takeBreaches()
  if (taken.length) throw new Error(taken.join(' '))
})

const wrapped = Symbol.for('freehold.wrapped')

/** Puts a wrapped function in the place of another, unless it is there. */
function replace(on: any, name: string, wrap: (real: Work) => Work) {
  const real = on[name] as Work
  if (wrapped in real) return
  const value = wrap(function (this: unknown, ...given: unknown[]) {
    return real.apply(this ?? on, given)
  })
  Object.defineProperty(value, wrapped, { value: true })
  Object.defineProperty(on, name, { configurable: true, writable: true, value })
}

/** The clocks of an invocation move here and nowhere else. */
function tick(invocation: Invocation | undefined) {
  if (!invocation) return
  invocation.now = RealDate.now()
  invocation.elapsed = realNow()
}

/** Runs work as one request, one scheduled event, would be run. */
export function invoke<T>(work: () => T): T {
  return invocations.run({ open: 0, most: 0, now: RealDate.now(), elapsed: realNow() }, work)
}

/** Runs a request whose work beside the answer is watched. */
export const watchAside = <T>(aside: Aside, work: () => T): T => asides.run(aside, work)

/** The most connections that this invocation has had open at once. */
export const mostConnections = () => invocations.getStore()?.most ?? 0

const connecting = (name: string) => (real: Work) =>
  async function (this: unknown, ...given: unknown[]) {
    const invocation = invocations.getStore()
    if (!invocation) return real.apply(this, given)
    if (invocation.open >= MAX_CONNECTIONS) {
      const breach = `${name}: more than ${MAX_CONNECTIONS} outgoing connections of one invocation at once.`
      watch.breaches.push(breach)
      throw new Error(breach)
    }
    const aside = asides.getStore()
    if (aside) aside.open++
    invocation.open++
    invocation.most = Math.max(invocation.most, invocation.open)
    try {
      return await real.apply(this, given)
    } finally {
      invocation.open--
      if (aside) aside.open--
      aside?.wake()
      tick(invocation)
    }
  }

/** Who called, when it is neither this file nor what loads the modules. */
function byAModule(): boolean {
  const frames = (new Error().stack ?? '').split('\n').slice(1)
  const caller = frames.find((frame) => !/support\/production\.ts/.test(frame)) ?? ''
  return !/node_modules\/(\.vite\/)?(@?vitest|@vitest|vite|birpc|@cloudflare\/vitest-plugin)|vitest-plugin|cloudflare:|node:internal/.test(
    caller,
  )
}

const notWhileLoading = (name: string) => (real: Work) =>
  function (this: unknown, ...given: unknown[]) {
    if (watch.loading && byAModule()) {
      watch.loading.broken.push(name)
      throw new Error(`Disallowed operation called within global scope: ${name}.`)
    }
    return real.apply(this, given)
  }

/** Loads modules as the global scope of a Worker would. Fails when one of them asks for I/O, a timer or a random value. */
export async function asGlobalScope<T>(load: () => Promise<T>): Promise<T> {
  const mine: Loading = { broken: [] }
  watch.loading = mine
  const loaded = await load().finally(() => {
    watch.loading = null
  })
  if (mine.broken.length) throw new Error(`Disallowed operation called within global scope: ${mine.broken.join(', ')}.`)
  return loaded
}

for (const name of ['deriveBits', 'deriveKey'])
  replace(crypto.subtle, name, (real) => async (algorithm: { iterations?: number }, ...rest: unknown[]) => {
    if ((algorithm.iterations ?? 0) > MAX_ITERATIONS) {
      const words = `Pbkdf2 failed: iteration counts above ${MAX_ITERATIONS} are not supported (requested ${algorithm.iterations}).`
      throw new DOMException(words, 'NotSupportedError')
    }
    return real(algorithm, ...rest)
  })

replace(globalThis, 'fetch', (real) => notWhileLoading('fetch')(connecting('fetch')(real)))
for (const name of ['get', 'getWithMetadata', 'list', 'put', 'delete'])
  replace(Object.getPrototypeOf(env.TENANTS), name, connecting(`KV ${name}`))
for (const name of ['getRandomValues', 'randomUUID']) replace(crypto, name, notWhileLoading(`crypto.${name}`))
for (const name of ['setTimeout', 'setInterval'])
  replace(globalThis, name, (real) =>
    notWhileLoading(name)((work: Work, ...rest: unknown[]) => {
      const invocation = invocations.getStore()
      const ticking = (...given: unknown[]) => {
        tick(invocation)
        return work(...given)
      }
      return real(invocation ? ticking : work, ...rest)
    }),
  )
replace(scheduler, 'wait', (real) =>
  notWhileLoading('scheduler.wait')(async (...given: unknown[]) => {
    const invocation = invocations.getStore()
    const aside = /maintenance\/soon\.ts/.test(new Error().stack ?? '') ? asides.getStore() : undefined
    if (aside) aside.waiting++
    aside?.wake()
    await real(...given)
    if (aside) aside.waiting--
    tick(invocation)
  }),
)
replace(AbortSignal, 'timeout', notWhileLoading('AbortSignal.timeout'))

const stillNow = () => invocations.getStore()?.now ?? RealDate.now()
if (is_first)
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, given, made) => Reflect.construct(target, given.length ? given : [stillNow()], made),
    apply: () => new RealDate(stillNow()).toString(),
    get: (target, name, receiver) => (name === 'now' ? stillNow : Reflect.get(target, name, receiver)),
  })
replace(performance, 'now', (real) => () => invocations.getStore()?.elapsed ?? real())

const { app, worker } = await asGlobalScope(async () => ({
  app: (await import('../../src/app.ts')).app as unknown as Record<string, unknown>,
  worker: (await import('../../src/index.ts')).default as unknown as Record<string, unknown>,
}))
replace(
  worker,
  'fetch',
  (real) =>
    (...given) =>
      invoke(() => real(...given)),
)
replace(
  worker,
  'scheduled',
  (real) =>
    (...given) =>
      invoke(() => real(...given)),
)
replace(
  app,
  'fetch',
  (real) =>
    (...given) =>
      invoke(() => real(...given)),
)
