/**
 * Threat: guessing, and requests that keep us busy with parsing, hashing and queries. Guesses at one identifier are counted exactly
 * by its database (auth/attempts.sql). Here attempts and failures are limited per network, and what is authenticated per user or API
 * key. Limits of successes would lock out an office behind one address, so those are wide; what fails is counted apart
 * (decisions 29 and 34).
 */
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { LIMITS } from './limits.ts'

const PERIOD_MS = 60_000

/** What they are called on the wire. */
const NAMES = { ATTEMPTS: 'attempts', FAILURES: 'failures', PRINCIPALS: 'requests' }
type Limit = keyof typeof NAMES

/** A limit as `RateLimit-Policy` has it (draft-ietf-httpapi-ratelimit-headers-10). */
const policyOf = (c: Context<AppEnv>, limit: Limit) =>
  `"${NAMES[limit]}";q=${LIMITS[c.get('config').ENVIRONMENT === 'local' ? 'local' : 'production'][limit]};w=${PERIOD_MS / 1000}`

/** Tells, with an answer, of a limit that the request counted for. How much of it is left nobody knows before it is used up. */
export const tellPolicy = (c: Context<AppEnv>, limit: Limit) => c.res.headers.append('RateLimit-Policy', policyOf(c, limit))
const MOST_REFUSED = 10_000

/** What was refused by FAILURES, and until when: the binding only counts, so whether a limit is reached cannot be asked of it. */
const refused = new Map<string, number>()

/**
 * Limits attempts of a network, in all tenants and at all routes together, before the body is read and before anything is hashed.
 * Approximate in production. Fails with rate_limited.
 */
export const limitAttempts = createMiddleware<AppEnv>(async (c, next) => {
  await requireAttempt(c)
  await next()
  tellPolicy(c, 'ATTEMPTS')
})

/** The same for a route of which only some requests cost something, once its body has told that this one does. Fails with rate_limited. */
export async function requireAttempt(c: Context<AppEnv>): Promise<void> {
  const { success } = await c.env.ATTEMPTS.limit({ key: network(c.get('facts').address) })
  if (!success) throw tooMany(c, 'ATTEMPTS', PERIOD_MS)
}

/**
 * Limits failed attempts of a network in a tenant, under a name: each is counted when it has failed. The one beyond the limit is
 * told so instead, and for a minute this isolate refuses the network before the body is read. Fails with rate_limited.
 */
export const limitFailures = (name: string) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const failures = failuresOf(c, name)
    failures.refuse()
    await next()
    await failures.count(c.error)
    tellPolicy(c, 'FAILURES')
  })

/** Limits what one user, or one API key, asks of a realm, on both planes. Approximate in production. Fails with rate_limited. */
export async function limitPrincipal(c: Context<AppEnv>, { bearer, key }: Pick<Ctx, 'bearer' | 'key'>): Promise<void> {
  const { success } = await c.env.PRINCIPALS.limit({ key: `${c.get('realm').id}:${bearer ? bearer.user_id : key?.hash}` })
  if (!success) throw tooMany(c, 'PRINCIPALS', PERIOD_MS)
}

/** The failures of the network of a request, of one kind: in its realm, or where none was found in all. */
export function failuresOf(c: Context<AppEnv>, name: string) {
  const key = `${c.get('realm')?.id ?? ''}:${name}:${network(c.get('facts').address)}`
  const left = () => (refused.get(key) ?? 0) - Date.now()
  return {
    /** True while this isolate refuses the network. */
    isRefused: () => left() > 0,
    /** Fails with rate_limited while this isolate refuses the network. */
    refuse(): void {
      if (left() > 0) throw tooMany(c, 'FAILURES', left())
      refused.delete(key)
    },
    /** Counts a failure, if it is one. From the one beyond the limit on the network is refused for a minute: fails with rate_limited. */
    async count(error: unknown): Promise<void> {
      if (!(error instanceof Problem && error.is_guess)) return
      const { success } = await c.env.FAILURES.limit({ key })
      if (success) return
      if (refused.size >= MOST_REFUSED) refused.delete(refused.keys().next().value ?? '')
      refused.set(key, Date.now() + PERIOD_MS)
      // Also what was under way with it: of many at once no more are told what failed than of as many in a row.
      throw tooMany(c, 'FAILURES', PERIOD_MS)
    },
  }
}

/** The refusal of a limit that is used up, for so long at most. */
function tooMany(c: Context<AppEnv>, limit: Limit, ms: number): Problem {
  const seconds = Math.ceil(ms / 1000)
  const headers = {
    'Retry-After': String(seconds),
    'RateLimit-Policy': policyOf(c, limit),
    RateLimit: `"${NAMES[limit]}";r=0;t=${seconds}`,
  }
  return new Problem('rate_limited', undefined, { headers })
}

/** The network of an address: itself, or the /64 of an IPv6 address, because one household controls all of it. */
export function network(address: string | null): string {
  if (!address?.includes(':')) return address ?? 'unknown'
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}
