/**
 * Login, refresh, password change: for the users of a tenant and, in the platform's own realm, for operators. Threat:
 * guessing, replay, and revealing to strangers which accounts exist. The Worker hashes; the database begins and finishes
 * attempts, compares, counts and locks (src/auth/login.sql). Wrong, unknown, locked and inactive take the same two round trips,
 * the same hash, and give the same answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { lifetimeOf, newToken, sign, successorOf, tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'
import { attemptedDigest, digest, hash, missingIterations, newHashParameters, rehashParameters } from '../passwords/hash.ts'
import { brokenRules, digestsUnder, issuesOf, type PasswordContext, USED } from '../passwords/policy.ts'
import type { Location } from '../sessions/device.ts'
import { type Attempt, beginAttempt, firstPasswordExpired, overload } from './attempt.ts'

const Password = z.string().min(1).max(1024)
const Name = z
  .string()
  .trim()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must be text without control characters')

export const Credentials = z
  .object({
    username: Name.optional(),
    email: Name.optional(),
    password: Password,
    /** For pages of the tenant's own host: tokens in cookies instead of in the response. */
    cookie: z.boolean().optional(),
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
    username: Name,
    password: Password,
    scope: z.string().max(1024).optional(),
    client_id: z.string().max(255).optional(),
    client_secret: z.literal('', 'must be left out: no client has a secret here').optional(),
    cookie: z.enum(['true', 'false', '']).optional(),
  })
  .openapi('PasswordForm')

export const Tokens = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int(),
    refresh_token: z.string(),
    must_change_password: z.boolean(),
    password_expires_at: z.iso.datetime().nullable(),
    /** True in the last days before `password_expires_at`: as many as the tenant's settings say (14). */
    password_expires_soon: z.boolean(),
  })
  .openapi('Tokens')

/** Omitted by a browser that has it in a cookie. */
export const RefreshToken = z.object({ refresh_token: z.string().min(1).max(512).optional() }).openapi('RefreshToken')

export const PasswordChange = z
  .object({ current_password: Password, new_password: Password, revoke_api_keys: z.boolean().default(false) })
  .openapi('PasswordChange')

type Claims = {
  user_id: string
  session_id: string
  proof: string
  username: string
  email: string
  role: string
  roles: string[]
  permissions: string[]
  amr: string
  auth_time: number
  access_minutes: number
  must_change_password: boolean
  password_expires_at: string | null
  password_expires_soon: boolean
  /** When the session and its refresh token expire. Missing from a database that is a version behind. */
  session_expires_at?: string
}
/**
 * A successful login: its claims and the refresh token of its session; the access token is made in the format that is asked for.
 */
export type Entered = { claims: Claims; refresh_token: string }
type Outcome =
  | { outcome: 'ok'; claims: Claims }
  | {
      outcome: 'refused' | 'no_role' | 'first_password_expired' | 'invalid' | 'reused' | 'inactive'
      mail?: boolean
      is_known?: boolean
    }

/** Identifiers are compared as they are stored: NFKC, lower case, trimmed. */
const normalised = (identifier: string) => identifier.normalize('NFKC').trim().toLowerCase()

/**
 * Checks a password and opens a session. Two round trips: begin the attempt and read the hash parameters; compare and finish. A
 * hash of another system is replaced on the way. Fails with invalid_credentials (wrong, unknown, locked or inactive alike),
 * user_inactive (right, but without any role), password_change_required (right, but a first password whose time is over),
 * rate_limited (too many of one user at once, or too many hashes of other systems).
 */
export async function login(ctx: Ctx, identifier: string, password: string, place: Location): Promise<Entered> {
  const about = { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id }
  const iterations = ctx.config.PASSWORD_HASH_ITERATIONS
  log('database chosen', { ...about, database: new URL(ctx.realm.database_url).pathname.slice(1) })
  const begun = await beginAttempt(() =>
    ctx.call<Attempt>(sql`access.begin_login(${ctx.realm.id}, ${ctx.realm.system_key}, ${normalised(identifier)})`),
  )
  const { attempt, hash_parameters } = begun
  const refresh_token = newToken()
  const compared = await attemptedDigest(password, hash_parameters)
  // Unknown identifiers, whose parameters are those of 600,000 iterations, and older hashes are filled up to what a new hash costs: a
  // cheaper login would tell who exists, and since when.
  const missing = missingIterations(hash_parameters, iterations)
  if (missing) await digest(password, newHashParameters(missing))
  const new_parameters = compared && rehashParameters(hash_parameters, iterations)
  const session = sql`${await tokenHash(refresh_token)}::bytea, ${JSON.stringify({ ...ctx.request, ...place })}::jsonb`
  const result = await ctx.call<Outcome>(
    new_parameters
      ? sql`access.finish_login_with_rehash(${ctx.realm.id}, ${ctx.realm.system_key}, ${attempt}, ${compared}, ${new_parameters}, ${await digest(password, new_parameters)}, ${session})`
      : sql`access.finish_login(${ctx.realm.id}, ${ctx.realm.system_key}, ${attempt}, ${compared}, ${null}, ${session})`,
  )
  // Only logged: the answer, and the time that it takes, are the same. Missing from a database that is a version behind.
  const found = result.outcome === 'refused' ? result.is_known : true
  log('user looked up', { ...about, found: found ?? null })
  log(result.outcome === 'refused' ? 'password refused' : 'password verified', about)
  // A lockout has queued a mail to the user; an ordinary failure does not query the outbox.
  if (result.outcome === 'refused' && result.mail) ctx.later(deliver(ctx))
  if (result.outcome === 'no_role') throw new Problem('user_inactive')
  if (result.outcome === 'first_password_expired') throw firstPasswordExpired()
  if (result.outcome !== 'ok') throw overload(begun, compared) ?? new Problem('invalid_credentials')
  log('logged in', { ...about, user: result.claims.user_id })
  return { claims: result.claims, refresh_token }
}

/**
 * Exchanges a refresh token. One round trip. Fails with refresh_invalid, refresh_reused (the session is ended), user_inactive.
 */
export async function refresh(ctx: Ctx, presented: string): Promise<Entered> {
  const successor = await successorOf(ctx.realm.refresh_key, presented)
  const [hash, next] = await Promise.all([tokenHash(presented), tokenHash(successor)])
  const result = await ctx.call<Outcome>(
    sql`access.refresh(${ctx.realm.id}, ${ctx.realm.system_key}, ${hash}::bytea, ${next}::bytea, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  if (result.outcome === 'ok') return { claims: result.claims, refresh_token: successor }
  throw new Problem(
    result.outcome === 'reused' ? 'refresh_reused' : result.outcome === 'inactive' ? 'user_inactive' : 'refresh_invalid',
  )
}

/** The tokens of a login as a response. The access token carries the claims that services need which verify it offline. */
export async function tokensOf(ctx: Ctx, { claims, refresh_token }: Entered): Promise<z.infer<typeof Tokens>> {
  const { user_id, session_id, proof, username, email, role, roles, permissions, amr, auth_time } = claims
  const { iat, exp } = lifetimeOf(claims.access_minutes, claims.session_expires_at)
  const payload = {
    iat,
    exp,
    sub: user_id,
    uid: user_id,
    sid: session_id,
    proof,
    username,
    email,
    role,
    roles,
    permissions,
    tenant: ctx.realm.subdomain,
    trace: ctx.request.trace_id,
    auth_time,
    amr: [amr],
  }
  const access_token = await sign(ctx.realm, payload)
  return { access_token, token_type: 'Bearer', expires_in: exp - iat, refresh_token, ...passwordOf(claims) }
}

/** The password fields of a login response. */
export const passwordOf = ({ must_change_password, password_expires_at, password_expires_soon }: Claims) => ({
  must_change_password,
  password_expires_at: password_expires_at && new Date(password_expires_at).toISOString(),
  password_expires_soon,
})

/**
 * Replaces the caller's password and ends their other sessions, and if asked, their API keys. Two round trips. Fails with
 * invalid_credentials when the current password is wrong or was tried too often, password_change_required when it is a first password
 * whose time is over, rate_limited as a login does, invalid_request with every rule that the new one breaks.
 */
export async function changePassword(
  ctx: Ctx,
  { current_password, new_password, revoke_api_keys }: z.infer<typeof PasswordChange>,
): Promise<void> {
  const begun = await beginAttempt(async () => {
    const [result] = await ctx.run(
      ctx.db.execute(sql`select access.begin_password_change(${ctx.realm.id}, ${ctx.realm.system_key}) as answer`),
    )
    return (result.rows[0] as { answer: Attempt & PasswordContext }).answer
  })
  const { attempt, hash_parameters, user, policy, history } = begun
  const rules = await brokenRules(ctx, new_password, user, policy)
  const is_same = new_password.normalize('NFC') === current_password.normalize('NFC')
  if (is_same) rules.push('must not be the current password')
  const compared = await attemptedDigest(current_password, hash_parameters)
  // A new password that breaks a rule is no guess: the attempt is finished all the same, or it would stay pending.
  const renewed = rules.length ? null : await hash(new_password, ctx.config.PASSWORD_HASH_ITERATIONS)
  const digests = is_same ? {} : await digestsUnder(new_password, history)
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select access.finish_password_change(${ctx.realm.id}, ${ctx.realm.system_key}, ${attempt}, ${compared}, ${renewed}, ${JSON.stringify(digests)}::jsonb, ${revoke_api_keys}) as outcome`,
    ),
  )
  const outcome = result.rows[0]?.outcome
  if (outcome === 'wrong')
    throw overload(begun, compared) ?? new Problem('invalid_credentials', 'The current password is not right.')
  if (outcome === 'expired') throw firstPasswordExpired()
  if (outcome === 'used') rules.push(USED)
  if (rules.length) throw new Problem('invalid_request', undefined, { errors: issuesOf('new_password', rules) })
  ctx.later(deliver(ctx))
  log('password changed', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: ctx.principal?.user_id ?? null })
}
