/**
 * Getting back in: by mail, or with the help of an administrator. Threat: a stranger learns who is known here, or takes an account over; somebody
 * who looks after a few gets into the account of who may do more. What a token is good for, and whose password may be set by whom, the database
 * decides (src/recovery/recovery.sql); known and unknown are one answer here.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { rowsOf } from '../kernel/wire.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { hash } from '../passwords/hash.ts'
import { digestsUnder, generateFor, issuesOf, type PasswordContext, USED, weaknesses } from '../passwords/policy.ts'
import { Email } from '../users/fields.ts'

const Password = z.string().min(1).max(1024)

/** The one answer of every door that may send a mail to a stranger. */
export const Accepted = z.object({ status: z.literal('accepted') }).openapi('Accepted')
export const ACCEPTED = { status: 'accepted' } as const

/** As it was in the mail. */
export const MailToken = z.string().min(1).max(512)

export const ResetRequest = z.object({ email: Email }).openapi('ResetRequest')
export const ResetConfirmation = z.object({ token: MailToken, new_password: Password }).openapi('ResetConfirmation')
export const AdminReset = z
  .object({ new_password: Password.optional(), must_change_password: z.boolean().default(true) })
  .openapi('AdminReset')
export const AdminResetOf = AdminReset.extend({ user_id: z.uuid() }).openapi('AdminResetOf')
export const ResetDone = z
  .object({
    user_id: z.uuid(),
    must_change_password: z.boolean(),
    /** The generated password, this once; left out when one was given. */
    initial_password: z.string().optional(),
  })
  .openapi('ResetDone')

/** Far longer than the doors take: what they do for who is known takes a few milliseconds more, and would tell. */
const PADDED_MS = 150

/** The work, and the answer no sooner than for anybody else. */
export const padTiming = async <T>(work: Promise<T>): Promise<T> => (await Promise.all([work, scheduler.wait(PADDED_MS)]))[0]

const INVALID_TOKEN = 'is unknown, used or expired; ask for a new one'
export const invalidToken = () => invalid('token', INVALID_TOKEN)

/** Sends somebody who forgot their password a token for one hour. One round trip; the same for who is unknown here. */
export async function requestReset(ctx: Ctx, { email }: z.infer<typeof ResetRequest>): Promise<void> {
  const token = newMailToken()
  const sealed = await encryptMailSecrets(ctx, { token })
  const posted = await padTiming(
    ctx.call<boolean>(
      sql`access.request_reset(${ctx.realm.id}, ${ctx.realm.system_key}, ${email}, ${await tokenHash(token)}::bytea, ${sealed}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (posted) ctx.later(deliver(ctx))
}

/**
 * Sets a new password by a token: all sessions end, the lock opens. Two round trips. Fails with invalid_request: the token is good for nothing, or
 * every rule that the password breaks (then the token is still good).
 */
export async function confirmReset(ctx: Ctx, { token, new_password }: z.infer<typeof ResetConfirmation>): Promise<void> {
  const presented = await tokenHash(token)
  const known = await ctx.call<PasswordContext | null>(sql`access.begin_reset(${ctx.realm.id}, ${presented}::bytea)`)
  if (!known) throw invalidToken()
  const { renewed, digests } = await passwordIssues('new_password', new_password, known)
  const outcome = await ctx.call<string>(
    sql`access.finish_reset(${ctx.realm.id}, ${presented}::bytea, ${renewed}, ${JSON.stringify(digests)}::jsonb, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  if (outcome === 'invalid') throw invalidToken()
  if (outcome === 'used') throw refused('new_password', [USED])
  ctx.later(deliver(ctx))
  log('password reset', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
}

/**
 * Sets somebody's password, the one that is given or one that is generated and in the answer this once; ends their sessions, opens their lock, and
 * mails them a link with which they set their own. Two round trips; `user:update`. Fails with not_found, invalid_request with every broken rule,
 * forbidden (oneself, or who holds more than the caller).
 */
export async function adminReset(
  ctx: Ctx,
  user_id: string,
  { new_password, must_change_password }: z.infer<typeof AdminReset>,
): Promise<z.infer<typeof ResetDone>> {
  const [looked] = await ctx.run(ctx.db.execute(sql`select access.begin_admin_reset(${user_id}) as known`))
  const [{ known } = {} as never] = rowsOf<{ known: PasswordContext }>(looked)
  const password = new_password ?? generateFor(known.user, known.policy)
  // A generated one is none of those before, and costs no comparison with them.
  const { renewed, digests } = new_password
    ? await passwordIssues('new_password', new_password, known)
    : { renewed: await hash(password), digests: {} }
  const token = newMailToken()
  const sealed = await encryptMailSecrets(ctx, { token })
  const [settled] = await ctx.run(
    ctx.db.execute(
      sql`select access.finish_admin_reset(${user_id}, ${renewed}, ${JSON.stringify(digests)}::jsonb, ${must_change_password}, ${await tokenHash(token)}::bytea, ${sealed}) as outcome`,
    ),
  )
  if (rowsOf<{ outcome: string }>(settled)[0]?.outcome === 'used') throw refused('new_password', [USED])
  ctx.later(deliver(ctx))
  return { user_id, must_change_password, ...(new_password === undefined && { initial_password: password }) }
}

/** Lets somebody who is locked out try again at once. One round trip; `user:update`. Fails with not_found, forbidden (oneself). */
export async function unlock(ctx: Ctx, user_id: string): Promise<void> {
  await ctx.run(ctx.db.execute(sql`select access.unlock(${user_id})`))
}

const refused = (field: string, rules: string[]) => new Problem('invalid_request', undefined, { errors: issuesOf(field, rules) })

/** A new password that keeps every rule, hashed; and its digests under those before it. Fails with invalid_request. */
async function passwordIssues(field: string, password: string, { user, policy, history }: PasswordContext) {
  const rules = weaknesses(password, user, policy)
  if (rules.length) throw refused(field, rules)
  return { renewed: await hash(password), digests: await digestsUnder(password, history) }
}
