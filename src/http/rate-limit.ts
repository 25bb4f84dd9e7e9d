/** Threat: guessing, and hashes that are asked for to keep us busy. The wall counts what comes from one network. */
import type { Context } from 'hono'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

/** The first wall before a hash: tries per tenant, route and network in a minute. Approximate in production; the lock is the database's. */
export async function rateLimit(c: Context<AppEnv>, door: string): Promise<void> {
  const { success } = await c.env.ATTEMPTS.limit({ key: `${c.var.realm.id}:${door}:${network(c.var.facts.address)}` })
  if (!success) throw new Problem('rate_limited', undefined, { headers: { 'Retry-After': '60' } })
}

/** The network of an address: itself, or the /64 of an IPv6 address, because a household has all of one. */
function network(address: string | null): string {
  if (!address?.includes(':')) return address ?? 'unknown'
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}
