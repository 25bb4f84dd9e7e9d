/**
 * Threat: guessing, and requests that keep us busy with parsing and hashing. Per network, because guesses at one identifier are
 * counted exactly by its database (auth/attempts.sql). Limits of successes would lock out an office behind one address, so these
 * are wide; what fails is counted apart (decision 29).
 */
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

const PERIOD_MS = 60_000
const MOST_REFUSED = 10_000

/** What was refused by FAILURES, and until when: the binding only counts, so whether a limit is reached cannot be asked of it. */
const refused = new Map<string, number>()

/**
 * Limits attempts of a network, in all tenants and at all routes together, before the body is read and before anything is hashed.
 * Approximate in production. Fails with rate_limited.
 */
export const limitAttempts = createMiddleware<AppEnv>(async (c, next) => {
  const { success } = await c.env.ATTEMPTS.limit({ key: network(c.var.facts.address) })
  if (!success) throw tooMany(PERIOD_MS)
  await next()
})

/**
 * Limits failed attempts of a network in a tenant, under a name: each is counted after its answer. Beyond the limit this isolate
 * refuses the network for a minute, before the body is read. Fails with rate_limited.
 */
export const limitFailures = (name: string) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const key = `${c.var.realm.id}:${name}:${network(c.var.facts.address)}`
    const left = (refused.get(key) ?? 0) - Date.now()
    if (left > 0) throw tooMany(left)
    refused.delete(key)
    await next()
    if (!(c.error instanceof Problem && c.error.is_guess)) return
    const { success } = await c.env.FAILURES.limit({ key })
    if (success) return
    if (refused.size >= MOST_REFUSED) refused.delete(refused.keys().next().value ?? '')
    refused.set(key, Date.now() + PERIOD_MS)
  })

const tooMany = (ms: number) =>
  new Problem('rate_limited', undefined, { headers: { 'Retry-After': String(Math.ceil(ms / 1000)) } })

/** The network of an address: itself, or the /64 of an IPv6 address, because one household controls all of it. */
function network(address: string | null): string {
  if (!address?.includes(':')) return address ?? 'unknown'
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}
