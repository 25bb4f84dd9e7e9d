/** Threat: guessing, and requests that keep us busy with parsing and hashing. Attempts are limited per network. */
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

/**
 * Limits attempts per tenant, endpoint and network in a minute, before the body is read and before anything is hashed.
 * Approximate in production; the exact limit is the database's lockout. Fails with rate_limited.
 */
export const limitAttempts = (endpoint: string) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const { success } = await c.env.ATTEMPTS.limit({ key: `${c.var.realm.id}:${endpoint}:${network(c.var.facts.address)}` })
    if (!success) throw new Problem('rate_limited', undefined, { headers: { 'Retry-After': '60' } })
    await next()
  })

/** The network of an address: itself, or the /64 of an IPv6 address, because one household controls all of it. */
function network(address: string | null): string {
  if (!address?.includes(':')) return address ?? 'unknown'
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}
