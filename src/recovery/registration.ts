/**
 * Registration, and the verification of e-mail addresses. Threat: a stranger learns which addresses have an account, registers
 * somebody else's address, or fills a mailbox. A registration creates no user until the address is verified, its password counts
 * only with the secret that it was answered with (src/recovery/verification.sql), and known and unknown addresses get the same
 * answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, newToken, tokenHash } from '../kernel/token.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { Email } from '../names/addresses.ts'
import { Name } from '../names/names.ts'
import { hash } from '../passwords/hash.ts'
import { brokenRules, issuesOf, type Policy } from '../passwords/policy.ts'
import { Locale, Username } from '../users/fields.ts'
import { usernameFrom } from '../users/username.ts'
import { invalidToken, MailToken, Password, padTiming } from './recovery.ts'

export const Registration = z
  .object({
    email: Email,
    password: Password,
    username: Username.optional(),
    given_name: Name(255).optional(),
    family_name: Name(255).optional(),
    locale: Locale.optional(),
  })
  .openapi('Registration')
/**
 * The answer, also for an address that is known. The secret is what makes the password of this registration count: a page keeps
 * it where it registered, and sends it with the token from the mail.
 */
export const Registered = z.object({ registration_secret: z.string() }).openapi('Registered')
export const EmailProof = z
  .object({
    token: MailToken,
    registration_secret: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[\w-]*$/, 'must be the secret that the registration was answered with')
      .optional()
      .openapi({ description: "What auth/register answered: that registration's password counts" }),
    new_password: Password.optional().openapi({ description: 'The password of the new user, in place of a registration_secret' }),
  })
  .refine((body) => body.registration_secret === undefined || body.new_password === undefined, {
    message: 'give either registration_secret or new_password',
    path: ['new_password'],
  })
  .openapi('EmailProof')
export const Resend = z.object({ email: Email }).openapi('Resend')

type Verification = { email: string; is_user: boolean; policy: Policy }
type Terms = { registration: boolean; domains: string[]; policy: Policy }

/**
 * Registers by e-mail, where the tenant allows it: mails a token that is valid for a day, and returns the secret with which this
 * password counts. Two round trips; the answer is the same for a known address, whose owner gets a mail, and for one that was
 * mailed too often. Fails with forbidden, invalid_request (a domain that may not register, every rule that the password breaks).
 */
export async function register(
  ctx: Ctx,
  { password, ...wanted }: z.infer<typeof Registration>,
): Promise<z.infer<typeof Registered>> {
  const { registration, domains, policy } = await ctx.call<Terms>(sql`access.registration_terms(${ctx.realm.id})`)
  if (!registration) throw new Problem('forbidden', 'This tenant does not allow registration.')
  const domain = wanted.email.slice(wanted.email.lastIndexOf('@') + 1)
  if (domains.length && !domains.includes(domain)) throw invalid('email', 'is not in a domain that may register here')
  await mustBeStrong(ctx, 'password', password, wanted, policy)
  const [token, registration_secret] = [newMailToken(), newToken()]
  const { username = usernameFrom(wanted.email) } = wanted
  const hashed = await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)
  const encrypted = await encryptMailSecrets(ctx, { token })
  const hasMail = await padTiming(
    ctx.call<boolean>(
      sql`access.start_registration(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${await tokenHash(registration_secret)}::bytea, ${JSON.stringify({ ...wanted, username })}::jsonb, ${hashed}, ${encrypted}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (hasMail) ctx.later(deliver(ctx))
  return { registration_secret }
}

/**
 * Verifies an address with the token from the mail: creates the user who registered, verifies the address of an existing user, or
 * replaces it by the requested one (the old address gets a mail). A registration's token takes the secret of a registration of
 * its address, whose password then counts, or a new password; all registrations of the address are void afterwards. One round
 * trip, two with a new password. Fails with password_required (neither, or the secret of no registration that waits),
 * invalid_request (the token is not valid, or every rule that the password breaks), already_exists, limit_reached. What fails
 * leaves the token valid, except already_exists.
 */
export async function verifyEmail(ctx: Ctx, proof: z.infer<typeof EmailProof>): Promise<void> {
  const { registration_secret, new_password } = proof
  const presented = await tokenHash(proof.token)
  const secret = registration_secret === undefined ? null : await tokenHash(registration_secret)
  const { hashed, username } = await chosen(ctx, presented, new_password)
  const outcome = await ctx.call<string>(
    sql`access.finish_verification(${ctx.realm.id}, ${ctx.realm.system_key}, ${presented}::bytea, ${secret}::bytea, ${hashed}, ${username}, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  if (outcome === 'invalid') throw invalidToken()
  if (outcome === 'not_a_registration')
    throw invalid('registration_secret', 'must be left out: this token is for the address of a user, not for a registration')
  if (outcome === 'password_required') throw new Problem('password_required')
  if (outcome === 'taken') throw new Problem('already_exists', 'Another user has this address now.')
  ctx.later(deliver(ctx))
}

/** The hash of a password that the reader of the mail chose, and the username that their address gives; null without one. */
async function chosen(ctx: Ctx, presented: string, new_password: string | undefined) {
  if (new_password === undefined) return { hashed: null, username: null }
  const known = await ctx.call<Verification | null>(
    sql`access.begin_verification(${ctx.realm.id}, ${ctx.realm.system_key}, ${presented}::bytea)`,
  )
  if (!known) throw invalidToken()
  if (known.is_user)
    throw invalid('new_password', 'must be left out: this token is for the address of a user, who has a password')
  const user = { email: known.email, username: usernameFrom(known.email) }
  await mustBeStrong(ctx, 'new_password', new_password, user, known.policy)
  return { hashed: await hash(new_password, ctx.config.PASSWORD_HASH_ITERATIONS), username: user.username }
}

/** Fails with invalid_request: every rule of the tenant that a password breaks. */
async function mustBeStrong(ctx: Ctx, field: string, password: string, user: Parameters<typeof brokenRules>[2], policy: Policy) {
  const rules = await brokenRules(ctx, password, user, policy)
  if (rules.length) throw new Problem('invalid_request', undefined, { errors: issuesOf(field, rules) })
}

/**
 * Mails another verification token. One round trip; the answer is the same for an address that is unknown or already verified.
 */
export async function resendVerification(ctx: Ctx, { email }: z.infer<typeof Resend>): Promise<void> {
  const token = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token })
  const hasMail = await padTiming(
    ctx.call<boolean>(
      sql`access.resend_verification(${ctx.realm.id}, ${ctx.realm.system_key}, ${email}, ${await tokenHash(token)}::bytea, ${encrypted}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (hasMail) ctx.later(deliver(ctx))
}
