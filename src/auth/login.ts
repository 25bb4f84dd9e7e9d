/**
 * Login with a password: for the users of a tenant and, in the platform's own realm, for operators. Threat: guessing, and revealing
 * to strangers which accounts exist. The Worker hashes; the database begins and finishes attempts, compares, counts and locks
 * (src/auth/login.sql). Wrong, unknown, locked and inactive take the same two round trips, the same hash, and give the same answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { plain } from '../kernel/fields.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { newToken, tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'
import { askBreached } from '../passwords/breached.ts'
import { loginDigests } from '../passwords/hash.ts'
import type { Location } from '../sessions/device.ts'
import { type Attempt, beginAttempt, firstPasswordExpired, overload } from './attempt.ts'
import { type Claims, type Client, type Entered, ofClient, Password } from './auth.ts'
import { type Challenged, challengeOf, type Open } from './challenge.ts'
import { mailedCode } from './mailed-code.ts'

/** A username or an address, as somebody types it. */
export const Identifier = plain(z.string().trim().min(1).max(255))

/** Of an earlier login. One that is not valid counts as none: the login is a stranger's then. */
export const DeviceToken = plain(z.string().max(255)).openapi({
  description: 'The device_token of an earlier login of this user',
})

export const Credentials = z
  .object({
    username: Identifier.optional(),
    email: Identifier.optional(),
    password: Password,
    /** For pages of the tenant's own host: tokens in cookies instead of in the response. */
    cookie: z.boolean().optional(),
    device_token: DeviceToken.min(1).optional(),
  })
  .refine((body) => (body.username === undefined) !== (body.email === undefined), {
    message: 'give either username or email',
    path: ['username'],
  })
  .openapi('Credentials')

/**
 * The login as a form: that of OAuth 2 (RFC 6749 section 4.3.2), also where the grant is not offered (decision 40). `scope` and
 * `client_id` are accepted and ignored, and so are unknown parameters; empty ones are as if left out (section 3.2). A secret that
 * nobody reads is refused.
 */
export const PasswordForm = z
  .object({
    grant_type: z.enum(['password', '']).optional(),
    username: Identifier,
    password: Password,
    scope: z.string().max(1024).optional(),
    client_id: z.string().max(255).optional(),
    client_secret: z.literal('', 'must be left out: no client has a secret here').optional(),
    cookie: z.enum(['true', 'false', '']).optional(),
    device_token: DeviceToken.optional(),
  })
  .openapi('PasswordForm')

/** What somebody is told who proved who they are: access.enter. */
export type EnterOutcome =
  /** A device token stands for the password: who has none gets none. */
  | { outcome: 'ok'; claims: Claims; device_token: string | null }
  | { outcome: 'no_role' | 'first_password_expired' | 'unknown_audience' }
  | { outcome: 'limit_reached' | 'denied_by_hook'; said: string }
  | ({ outcome: 'mfa_required' } & Open)

/** What the settings of risk want for a login (src/risk). Missing from a database that is a version behind. */
type Wants = { asks_breached?: boolean; mails_code?: boolean }

type Outcome = EnterOutcome | { outcome: 'refused'; mail: boolean; is_known: boolean }

export type LoginRequest = {
  identifier: string
  password: string
  place: Location
  /** Tokens of known devices, of whichever user. */
  devices: string[]
  /** The refresh tokens that the browser has in cookies, by account: the session of the account that logs in ends. */
  former: Map<string, string>
  /** The OAuth client of the password grant; undefined: Freehold's own login. */
  client?: Client
}

/** Identifiers are compared as they are stored: NFKC, lower case, trimmed. */
export const normalised = (identifier: string) => identifier.normalize('NFKC').trim().toLowerCase()

/**
 * What access.enter decided, for the token whose hash it was given: a session, or a second factor that is open. Fails with
 * user_inactive (without any role), password_change_required (a first password whose time is over), limit_reached (the tenant's
 * sessions), denied_by_hook, not_found (no such audience).
 */
export async function enteredBy(ctx: Ctx, result: EnterOutcome, token: string): Promise<Entered | Challenged> {
  if (result.outcome === 'mfa_required') {
    if (result.methods.includes('email_code')) ctx.later(deliver(ctx))
    return challengeOf(ctx, result, token)
  }
  if (result.outcome === 'limit_reached' || result.outcome === 'denied_by_hook') throw new Problem(result.outcome, result.said)
  if (result.outcome === 'ok') {
    log('logged in', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: result.claims.user_id })
    return { claims: result.claims, refresh_token: token, ...(result.device_token && { device_token: result.device_token }) }
  }
  if (result.outcome === 'first_password_expired') throw firstPasswordExpired()
  if (result.outcome === 'no_role') throw new Problem('user_inactive')
  // There is no such audience: names of APIs can be tried like passwords are.
  throw new Problem('not_found', undefined, { is_guess: true })
}

/** The hashes of the refresh tokens that a browser has in cookies, by account, as access.enter takes them. */
export async function formerHashes(former: Map<string, string>): Promise<string> {
  const hashed = await Promise.all([...former].map(async ([account, token]) => [account, await tokenHash(token)]))
  return JSON.stringify(Object.fromEntries(hashed))
}

/**
 * Checks a password and opens a session, or asks for the second factor. Two round trips: begin the attempt and read the hash parameters;
 * compare and finish. A hash of another system, or one that is cheaper than new ones, is replaced on the way. Fails with invalid_credentials (wrong,
 * unknown, locked or inactive alike), user_inactive (right, but without any role), password_change_required (right, but a first
 * password whose time is over), limit_reached (the tenant's sessions), rate_limited (too many of one user at once, or too many hashes of other systems); with a
 * `client` also forbidden (the tenant does not offer the password grant; nothing was tried) and not_found (right, but no such audience).
 */
export async function login(
  ctx: Ctx,
  { identifier, password, place, devices, former, client }: LoginRequest,
): Promise<Entered | Challenged> {
  const about = { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id }
  const { id, system_key } = ctx.realm
  log('database chosen', { ...about, database: new URL(ctx.realm.database_url).pathname.slice(1) })
  const facts = { ...ctx.request, ...place }
  const request = JSON.stringify(facts)
  const begun = await beginAttempt(() =>
    ctx.call<(Attempt & Wants) | { state: 'not_offered' }>(
      sql`access.begin_login(${id}, ${system_key}, ${normalised(identifier)}, ${JSON.stringify(devices)}::jsonb, ${request}::jsonb${client ? sql`, true` : sql``})`,
    ),
  )
  if (begun.state === 'not_offered') throw new Problem('forbidden')
  const { attempt, hash_parameters } = begun
  const refresh_token = newToken()
  const [{ compared, renewal }, breached] = await Promise.all([
    loginDigests(password, hash_parameters, ctx.config.PASSWORD_HASH_ITERATIONS),
    begun.asks_breached ? askBreached(ctx, password) : undefined,
  ])
  const mailed_code = begun.mails_code ? await mailedCode(ctx, refresh_token) : undefined
  const known = JSON.stringify({ ...facts, breached, mailed_code })
  const session = sql`${await tokenHash(refresh_token)}::bytea, ${known}::jsonb, ${await formerHashes(former)}::jsonb${ofClient(client)}`
  const result = await ctx.call<Outcome>(
    renewal
      ? sql`access.finish_login_with_rehash(${id}, ${system_key}, ${attempt}, ${compared}, ${renewal.parameters}, ${renewal.digest}, ${session})`
      : sql`access.finish_login(${id}, ${system_key}, ${attempt}, ${compared}, ${null}, ${session})`,
  )
  // Only logged: the answer, and the time that it takes, are the same.
  log('user looked up', { ...about, found: result.outcome === 'refused' ? result.is_known : true })
  log(result.outcome === 'refused' ? 'password refused' : 'password verified', about)
  // A lockout has queued a mail to the user; an ordinary failure does not query the outbox.
  if (result.outcome === 'refused' && result.mail) ctx.later(deliver(ctx))
  if (result.outcome === 'refused') throw overload(begun, compared) ?? new Problem('invalid_credentials')
  return enteredBy(ctx, result, refresh_token)
}
