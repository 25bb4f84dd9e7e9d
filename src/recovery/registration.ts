/**
 * Registration, and the verification of e-mail addresses. Threat: a stranger learns which addresses have an account, registers
 * somebody else's address, or fills a mailbox. A registration creates no user until the address is verified
 * (src/recovery/registration.sql), and known and unknown addresses get the same answer.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Line } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { hash } from '../passwords/hash.ts'
import { issuesOf, type Policy, weaknesses } from '../passwords/policy.ts'
import { Email, Locale, Username } from '../users/fields.ts'
import { usernameFrom } from '../users/username.ts'
import { invalidToken, MailToken, padTiming } from './recovery.ts'

export const Registration = z
  .object({
    email: Email,
    password: z.string().min(1).max(1024),
    username: Username.optional(),
    given_name: Line(255).optional(),
    family_name: Line(255).optional(),
    locale: Locale.optional(),
  })
  .openapi('Registration')
export const EmailProof = z.object({ token: MailToken }).openapi('EmailProof')
export const Resend = z.object({ email: Email }).openapi('Resend')

type Terms = { registration: boolean; domains: string[]; policy: Policy }

/**
 * Registers by e-mail, where the tenant allows it: mails a token that is valid for a day. Two round trips; the answer is the same
 * for a known address, whose owner gets a mail. Fails with forbidden, invalid_request (a domain that may not register, every rule
 * that the password breaks).
 */
export async function register(ctx: Ctx, { password, ...wanted }: z.infer<typeof Registration>): Promise<void> {
  const { registration, domains, policy } = await ctx.call<Terms>(sql`access.registration_terms(${ctx.realm.id})`)
  if (!registration) throw new Problem('forbidden', 'This tenant does not allow registration.')
  const domain = wanted.email.slice(wanted.email.lastIndexOf('@') + 1)
  if (domains.length && !domains.includes(domain)) throw invalid('email', 'is not in a domain that may register here')
  const rules = weaknesses(password, wanted, policy)
  if (rules.length) throw new Problem('invalid_request', undefined, { errors: issuesOf('password', rules) })
  const token = newMailToken()
  const { username = usernameFrom(wanted.email) } = wanted
  const hashed = await hash(password, ctx.config.PASSWORD_HASH_ITERATIONS)
  const encrypted = await encryptMailSecrets(ctx, { token })
  const hasMail = await padTiming(
    ctx.call<boolean>(
      sql`access.register(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${JSON.stringify({ ...wanted, username })}::jsonb, ${hashed}, ${encrypted}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (hasMail) ctx.later(deliver(ctx))
}

/**
 * Verifies an address with the token from the mail: creates the user who registered, verifies the address of an existing user, or
 * replaces it by the requested one (the old address gets a mail). Where one address was registered with several passwords, a mail
 * asks for a new one. One round trip. Fails with invalid_request (the token is not valid), already_exists, limit_reached.
 */
export async function verifyEmail(ctx: Ctx, { token }: z.infer<typeof EmailProof>): Promise<void> {
  const spare = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token: spare })
  const outcome = await ctx.call<string>(
    sql`access.verify_email(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${await tokenHash(spare)}::bytea, ${encrypted}, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  if (outcome === 'invalid') throw invalidToken()
  if (outcome === 'taken') throw new Problem('already_exists', 'Another user has this address now.')
  ctx.later(deliver(ctx))
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
