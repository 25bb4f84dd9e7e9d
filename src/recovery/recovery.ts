/**
 * Password reset, by mail or by an administrator. Threat: a stranger learns which addresses have an account, or takes an account
 * over; an administrator of a few users gets into the account of one who holds more. The database decides what a token is valid
 * for and who may set whose password (src/recovery/recovery.sql); known and unknown addresses get the same answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { rowsOf } from '../kernel/wire.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { Email } from '../names/addresses.ts'
import { hash } from '../passwords/hash.ts'
import { brokenRules, digestsUnder, generateFor, issuesOf, type PasswordContext, USED } from '../passwords/policy.ts'

export const Password = z.string().min(1).max(1024)

/** The answer of the public endpoints that may send a mail, except registration's. */
export const Accepted = z.object({ status: z.literal('accepted') }).openapi('Accepted')
export const ACCEPTED = { status: 'accepted' } as const

/** The token from the mail. */
export const MailToken = z.string().min(1).max(512)

export const ResetRequest = z.object({ email: Email }).openapi('ResetRequest')
export const ResetConfirmation = z
  .object({ token: MailToken, new_password: Password, revoke_api_keys: z.boolean().default(false) })
  .openapi('ResetConfirmation')
export const AdminReset = z
  .object({
    new_password: Password.optional(),
    must_change_password: z
      .boolean()
      .default(true)
      .openapi({ description: 'false only with new_password: a generated password must always be changed' }),
    revoke_api_keys: z.boolean().optional().openapi({ description: "Revokes the user's API keys. Default: true" }),
    link_only: z
      .boolean()
      .default(false)
      .openapi({ description: 'Mails the user a link to set a new password, and changes nothing else' }),
  })
  .openapi('AdminReset')
export const AdminResetOf = AdminReset.extend({ user_id: z.uuid() }).openapi('AdminResetOf')
export const ResetDone = z
  .object({
    user_id: z.uuid(),
    must_change_password: z.boolean(),
    /** The generated password, returned only once; absent when one was given. */
    initial_password: z.string().optional(),
  })
  .openapi('ResetDone')

/** Far longer than the endpoints take: for a known address they take a few milliseconds more, which would reveal it. */
const PADDED_MS = 150

/** Awaits the work, and returns no sooner than PADDED_MS after the call. */
export const padTiming = async <T>(work: Promise<T>): Promise<T> => (await Promise.all([work, scheduler.wait(PADDED_MS)]))[0]

const INVALID_TOKEN = 'is unknown, used or expired; ask for a new one'
export const invalidToken = () =>
  new Problem('invalid_request', undefined, { errors: [{ pointer: '#/token', detail: INVALID_TOKEN }], is_guess: true })

/** Mails a token for a password reset, valid for `reset_link_minutes`. One round trip; the answer is the same for an unknown address. */
export async function requestReset(ctx: Ctx, { email }: z.infer<typeof ResetRequest>): Promise<void> {
  const token = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token })
  const hasMail = await padTiming(
    ctx.call<boolean>(
      sql`access.request_reset(${ctx.realm.id}, ${ctx.realm.system_key}, ${email}, ${await tokenHash(token)}::bytea, ${encrypted}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (hasMail) ctx.later(deliver(ctx))
}

/**
 * Sets a new password with a token, ends all sessions, if asked revokes the API keys, and clears the lockouts. Two round trips.
 * Fails with invalid_request: the token is not valid, or every rule that the password breaks (then the token stays valid).
 */
export async function confirmReset(
  ctx: Ctx,
  { token, new_password, revoke_api_keys }: z.infer<typeof ResetConfirmation>,
): Promise<void> {
  const presented = await tokenHash(token)
  const known = await ctx.call<PasswordContext | null>(
    sql`access.begin_reset(${ctx.realm.id}, ${ctx.realm.system_key}, ${presented}::bytea)`,
  )
  if (!known) throw invalidToken()
  const { renewed, digests } = await hashChecked(ctx, 'new_password', new_password, known)
  const outcome = await ctx.call<string>(
    sql`access.finish_reset(${ctx.realm.id}, ${ctx.realm.system_key}, ${presented}::bytea, ${renewed}, ${JSON.stringify(digests)}::jsonb, ${JSON.stringify(ctx.request)}::jsonb, ${revoke_api_keys})`,
  )
  if (outcome === 'invalid') throw invalidToken()
  if (outcome === 'used') throw refused('new_password', [USED])
  ctx.later(deliver(ctx))
  log('password reset', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
}

/**
 * Sets the password of a user, to the given one or to a generated one that is returned only once; ends their sessions, revokes
 * their API keys unless told otherwise, clears their lockouts, and mails them a link to set their own. One that must be changed works
 * for `first_password_hours`. Two round trips; `user:update`. Fails with not_found, invalid_request (every rule that the password
 * breaks; a generated one that need not be changed), forbidden (the caller themselves, or a user who holds more than the caller).
 * With `link_only` it only mails the link, in one round trip.
 */
export async function adminReset(
  ctx: Ctx,
  user_id: string,
  { new_password, must_change_password, revoke_api_keys, link_only }: z.infer<typeof AdminReset>,
): Promise<z.infer<typeof ResetDone>> {
  if (link_only && new_password !== undefined) throw invalid('new_password', 'cannot be given with link_only')
  if (link_only && revoke_api_keys !== undefined) throw invalid('revoke_api_keys', 'cannot be given with link_only')
  if (link_only) return mailResetLink(ctx, user_id)
  if (new_password === undefined && !must_change_password)
    throw invalid('must_change_password', 'cannot be false for a generated password')
  const [begun] = await ctx.run(ctx.db.execute(sql`select access.begin_admin_reset(${user_id}) as known`))
  const [{ known } = {} as never] = rowsOf<{ known: PasswordContext }>(begun)
  const password = new_password ?? (await generateFor(known.user, known.policy, ctx.realm))
  // A generated password is not in the history, so it is not compared with it.
  const { renewed, digests } = new_password
    ? await hashChecked(ctx, 'new_password', new_password, known)
    : { renewed: await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS), digests: {} }
  const token = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token })
  const [finished] = await ctx.run(
    ctx.db.execute(
      sql`select access.finish_admin_reset(${ctx.realm.id}, ${ctx.realm.system_key}, ${user_id}, ${renewed}, ${JSON.stringify(digests)}::jsonb, ${must_change_password}, ${await tokenHash(token)}::bytea, ${encrypted}, ${revoke_api_keys ?? true}) as outcome`,
    ),
  )
  if (rowsOf<{ outcome: string }>(finished)[0]?.outcome === 'used') throw refused('new_password', [USED])
  ctx.later(deliver(ctx))
  return { user_id, must_change_password, ...(new_password === undefined && { initial_password: password }) }
}

/**
 * Mails a user a link to set a new password; their password and sessions stay until they do. One round trip; `user:update`, also
 * for a user who holds more than the caller, because the caller learns nothing. Fails with not_found, forbidden (the caller
 * themselves).
 */
async function mailResetLink(ctx: Ctx, user_id: string): Promise<z.infer<typeof ResetDone>> {
  const token = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token })
  const [mailed] = await ctx.run(
    ctx.db.execute(
      sql`select access.mail_reset_link(${ctx.realm.id}, ${ctx.realm.system_key}, ${user_id}, ${await tokenHash(token)}::bytea, ${encrypted}) as done`,
    ),
  )
  ctx.later(deliver(ctx))
  return rowsOf<{ done: z.infer<typeof ResetDone> }>(mailed)[0]?.done ?? Promise.reject(new Problem('not_found'))
}

/** Clears the lockouts of a user. One round trip; `user:update`. Fails with not_found, forbidden (the caller themselves). */
export async function unlock(ctx: Ctx, user_id: string): Promise<void> {
  await ctx.run(ctx.db.execute(sql`select access.unlock(${user_id})`))
}

const refused = (field: string, rules: string[]) => new Problem('invalid_request', undefined, { errors: issuesOf(field, rules) })

/** Checks a new password and hashes it; `digests` are for the comparison with the history. Fails with invalid_request. */
async function hashChecked(ctx: Ctx, field: string, password: string, { user, policy, history }: PasswordContext) {
  const rules = await brokenRules(ctx, password, user, policy)
  if (rules.length) throw refused(field, rules)
  const renewed = await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)
  return { renewed, digests: await digestsUnder(password, history) }
}
