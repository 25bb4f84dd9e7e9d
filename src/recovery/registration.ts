/**
 * Registering, and showing that an address is one's own. Threat: a stranger finds out who is known here, registers for somebody else, or fills their
 * mailbox. Who registered is nobody until the address is shown to be theirs (src/recovery/registration.sql), and every answer is the same.
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
 * Registers by e-mail, where the tenant lets strangers do so: a mail with a token for a day. Two round trips; the same for an address that is known
 * (its owner is told by mail). Fails with forbidden, invalid_request (a domain that may not, every rule that the password breaks).
 */
export async function register(ctx: Ctx, { password, ...wanted }: z.infer<typeof Registration>): Promise<void> {
  const { registration, domains, policy } = await ctx.call<Terms>(sql`access.registration_terms(${ctx.realm.id})`)
  if (!registration) throw new Problem('forbidden', 'This tenant does not let strangers register.')
  const domain = wanted.email.slice(wanted.email.lastIndexOf('@') + 1)
  if (domains.length && !domains.includes(domain)) throw invalid('email', 'is not of a domain that may register here')
  const rules = weaknesses(password, wanted, policy)
  if (rules.length) throw new Problem('invalid_request', undefined, { errors: issuesOf('password', rules) })
  const token = newMailToken()
  const { username = usernameFrom(wanted.email) } = wanted
  const [hashed, sealed] = [await hash(password), await encryptMailSecrets(ctx, { token })]
  const posted = await padTiming(
    ctx.call<boolean>(
      sql`access.register(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${JSON.stringify({ ...wanted, username })}::jsonb, ${hashed}, ${sealed}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (posted) ctx.later(deliver(ctx))
}

/**
 * Shows that an address is one's own: it lets who registered in, verifies the address of who is here, or replaces it by the one that they asked for
 * (the old one is told). Where several passwords were given for one address, a mail asks for one. One round trip. Fails with invalid_request (the token is good for nothing), already_exists, limit_reached.
 */
export async function verifyEmail(ctx: Ctx, { token }: z.infer<typeof EmailProof>): Promise<void> {
  const spare = newMailToken()
  const sealed = await encryptMailSecrets(ctx, { token: spare })
  const outcome = await ctx.call<string>(
    sql`access.verify_email(${ctx.realm.id}, ${ctx.realm.system_key}, ${await tokenHash(token)}::bytea, ${await tokenHash(spare)}::bytea, ${sealed}, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  if (outcome === 'invalid') throw invalidToken()
  if (outcome === 'taken') throw new Problem('already_exists', 'Somebody has this address by now.')
  ctx.later(deliver(ctx))
}

/** Sends a verification once more. One round trip; the same for who is unknown here, or verified. */
export async function resendVerification(ctx: Ctx, { email }: z.infer<typeof Resend>): Promise<void> {
  const token = newMailToken()
  const sealed = await encryptMailSecrets(ctx, { token })
  const posted = await padTiming(
    ctx.call<boolean>(
      sql`access.resend_verification(${ctx.realm.id}, ${ctx.realm.system_key}, ${email}, ${await tokenHash(token)}::bytea, ${sealed}, ${JSON.stringify(ctx.request)}::jsonb)`,
    ),
  )
  if (posted) ctx.later(deliver(ctx))
}
