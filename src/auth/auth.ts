/**
 * Tokens, refresh, password change: for the users of a tenant and, in the platform's own realm, for operators. Threat:
 * guessing and replay. The Worker hashes; the database begins and finishes attempts, compares, counts and locks
 * (src/auth/passwords.sql, refresh.sql).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { lifetimeOf, sign, successorOf, tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'
import { attemptedDigest, hash } from '../passwords/hash.ts'
import { brokenRules, digestsUnder, issuesOf, type PasswordContext, USED } from '../passwords/policy.ts'
import type { Location } from '../sessions/device.ts'
import { type Attempt, beginAttempt, firstPasswordExpired, overload } from './attempt.ts'

export const Password = z.string().min(1).max(1024)
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
    mfa_due_at: z.iso.datetime().optional().openapi({
      description: 'Where a second factor is required of the user, who has none: from when on they can only set one up',
    }),
    passkey_ends_at: z.iso.datetime().optional().openapi({
      description:
        'Of a login with a passkey of a former name of the tenant: until when it works. Have the user add another one.',
    }),
    device_token: z.string().optional().openapi({
      description: 'Of a login only: send it with the next one, so that the wrong passwords of others do not lock you out',
    }),
  })
  .openapi('Tokens')

/** Omitted by a browser that has it in a cookie. */
export const RefreshToken = z.object({ refresh_token: z.string().min(1).max(512).optional() }).openapi('RefreshToken')

export const PasswordChange = z
  .object({ current_password: Password, new_password: Password, revoke_api_keys: z.boolean().default(false) })
  .openapi('PasswordChange')

export type Claims = {
  user_id: string
  session_id: string
  proof: string
  username: string
  email: string
  role: string
  roles: string[]
  permissions: string[]
  /** Methods of RFC 8176, with a space between them. */
  amr: string
  auth_time: number
  /** How many factors that were. Missing from a database that is a version behind. */
  aal?: number
  access_minutes: number
  must_change_password: boolean
  password_expires_at: string | null
  password_expires_soon: boolean
  /** These six are missing from a database that is a version behind; the second is of logins with some passkeys alone. */
  mfa_due_at?: string | null
  passkey_ends_at?: string
  permissions_truncated?: boolean
  client_id?: string
  /** The API that the access token is for; null: the realm itself. */
  audience?: string | null
  /** When the session and its refresh token expire. */
  session_expires_at?: string
  /** Who acts as the user (RFC 8693); missing: the user does. */
  act?: { sub: string }
  /** What the hook of logins said of the user; missing: nothing. */
  ext?: Record<string, unknown>
}
/**
 * A successful login: its claims and the refresh token of its session; the access token is made in the format that is asked for.
 */
export type Entered = { claims: Claims; refresh_token: string; device_token?: string }
type Refreshed =
  | { outcome: 'ok'; claims: Claims; is_other?: boolean }
  | { outcome: 'invalid' | 'reused' | 'inactive' | 'unknown_audience' }

/** The OAuth client that asks for tokens, and the API that the access token is for; null: the realm itself. */
export type Client = { client_id: string; audience: string | null }
/** The client of Freehold's own login, and of every login that names none. */
export const FIRST_PARTY = 'freehold'

/**
 * Exchanges a refresh token; with a `client`, only one of a session that this client opened, or that no client is known of. One
 * round trip. Fails with refresh_invalid, refresh_reused (the session is ended), user_inactive, not_found (no such audience).
 */
export async function refresh(ctx: Ctx, presented: string, place: Location, client?: Client): Promise<Entered> {
  const { id, system_key, refresh_key, other_refresh_key } = ctx.realm
  const successor = await successorOf(refresh_key, presented)
  const other = other_refresh_key && (await successorOf(other_refresh_key, presented))
  const [hash, next, other_next] = await Promise.all([tokenHash(presented), tokenHash(successor), other && tokenHash(other)])
  const result = await ctx.call<Refreshed>(
    sql`access.refresh(${id}, ${system_key}, ${hash}::bytea, ${next}::bytea, ${JSON.stringify({ ...ctx.request, ...place })}::jsonb, ${other_next}::bytea${ofClient(client)})`,
  )
  if (result.outcome === 'ok') return { claims: result.claims, refresh_token: other && result.is_other ? other : successor }
  if (result.outcome === 'unknown_audience') throw new Problem('not_found', undefined, { is_guess: true })
  throw new Problem(
    result.outcome === 'reused' ? 'refresh_reused' : result.outcome === 'inactive' ? 'user_inactive' : 'refresh_invalid',
  )
}

/** The last arguments of the functions that log in and refresh. Without a client there are none: an older schema takes none. */
export const ofClient = (client: Client | undefined) =>
  client ? sql`, ${client.client_id}::text, ${client.audience}::text` : sql``

/** The tokens of a login as a response. The access token carries the claims that services need which verify it offline. */
export async function tokensOf(ctx: Ctx, { claims, refresh_token, device_token }: Entered): Promise<z.infer<typeof Tokens>> {
  const { access_token, expires_in } = await accessTokenOf(ctx, claims)
  return {
    access_token,
    token_type: 'Bearer',
    expires_in,
    refresh_token,
    ...passwordOf(claims),
    ...(device_token && { device_token }),
  }
}

/** How a token says by how many factors its user authenticated, and when (RFC 9068 section 2.2.1, RFC 9470). */
export const authenticationOf = ({ amr, aal, auth_time }: Claims) => ({
  auth_time,
  amr: amr.split(' '),
  ...(aal && { acr: `aal${aal}` }),
})

/** A new access token of a session, and the seconds that it lives. */
export async function accessTokenOf(ctx: Ctx, claims: Claims): Promise<{ access_token: string; expires_in: number }> {
  const { user_id, session_id, proof, username, email, role, roles, permissions } = claims
  const { client_id = FIRST_PARTY, audience = null, permissions_truncated = false } = claims
  const scope = permissions.join(' ')
  const { iat, exp } = lifetimeOf(claims.access_minutes, claims.session_expires_at)
  const payload = {
    iat,
    exp,
    sub: user_id,
    uid: user_id,
    sid: session_id,
    client_id,
    // What is for an API opens nothing at Freehold, not even beside the key that signed it.
    ...(audience === null ? { proof } : { aud: audience }),
    username,
    email,
    role,
    roles,
    permissions,
    ...(permissions_truncated && { permissions_truncated }),
    ...(scope && { scope }),
    tenant: ctx.realm.subdomain,
    trace: ctx.request.trace_id,
    ...(claims.act && { act: claims.act }),
    ...(claims.ext && { ext: claims.ext }),
    ...authenticationOf(claims),
  }
  return { access_token: await sign(ctx.realm, payload), expires_in: exp - iat }
}

/** What a login response says of what its user has to do: a new password, a second factor, another passkey. */
export const passwordOf = (claims: Claims) => ({
  must_change_password: claims.must_change_password,
  password_expires_at: claims.password_expires_at && inUtc(claims.password_expires_at),
  password_expires_soon: claims.password_expires_soon,
  ...(claims.mfa_due_at && { mfa_due_at: inUtc(claims.mfa_due_at) }),
  ...(claims.passkey_ends_at && { passkey_ends_at: inUtc(claims.passkey_ends_at) }),
})

const inUtc = (at: string) => new Date(at).toISOString()

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
