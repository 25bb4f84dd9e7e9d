/**
 * Changing the e-mail address, and verifying the phone number. Threat: an attacker at an open session takes the account over by
 * its address, or claims a number of somebody else. So a new address needs the current password and is verified by mail; a code
 * is short, and has five tries in ten minutes.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Attempt, beginAttempt, overload } from '../auth/attempt.ts'
import type { Ctx } from '../kernel/context.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { rowsOf } from '../kernel/wire.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { Email } from '../names/addresses.ts'
import { attemptedDigest } from '../passwords/hash.ts'

export const EmailChange = z.object({ new_email: Email, current_password: z.string().min(1).max(1024) }).openapi('EmailChange')
export const PhoneProof = z
  .object({ code: z.string().regex(/^\d{6}$/, 'must be the six digits that were sent') })
  .openapi('PhoneProof')

/**
 * Requests a new address: it replaces the old one once the token that is mailed to it is confirmed. Two round trips; the answer
 * is the same for an address that another user has. Fails with invalid_credentials, rate_limited.
 */
export async function changeEmail(ctx: Ctx, { new_email, current_password }: z.infer<typeof EmailChange>): Promise<void> {
  const begun = await beginAttempt(async () => {
    const [result] = await ctx.run(
      ctx.db.execute(sql`select access.begin_password_change(${ctx.realm.id}, ${ctx.realm.system_key}) as answer`),
    )
    return (result.rows[0] as { answer: Attempt }).answer
  })
  const token = newMailToken()
  const compared = await attemptedDigest(current_password, begun.hash_parameters)
  const encrypted = await encryptMailSecrets(ctx, { token })
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select access.request_email_change(${ctx.realm.id}, ${ctx.realm.system_key}, ${begun.attempt}, ${compared}, ${new_email}, ${await tokenHash(token)}::bytea, ${encrypted}) as outcome`,
    ),
  )
  if (result.rows[0]?.outcome !== 'done')
    throw overload(begun, compared) ?? new Problem('invalid_credentials', 'The current password is not right.')
  ctx.later(deliver(ctx))
}

/** Sends a code to the caller's phone number. One round trip. Fails with illegal_state (no number), rate_limited. */
export async function sendPhoneCode(ctx: Ctx): Promise<void> {
  const code = newCode()
  const encrypted = await encryptMailSecrets(ctx, { code })
  const [result] = await ctx.run(
    ctx.db.execute(sql`select access.phone_code(${ctx.realm.id}, ${ctx.realm.system_key}, ${code}, ${encrypted}) as outcome`),
  )
  const [row] = rowsOf<{ outcome: string }>(result)
  if (row?.outcome === 'none') throw new Problem('illegal_state', 'You have no phone number yet: PATCH your user first.')
  if (row?.outcome !== 'sent')
    throw new Problem('rate_limited', 'Too many codes were sent within the hour.', { headers: { 'Retry-After': '600' } })
  ctx.later(deliver(ctx))
}

/**
 * Verifies the caller's phone number. One round trip. Fails with invalid_request (the code is wrong, used or expired, or was
 * tried five times).
 */
export async function verifyPhone(ctx: Ctx, { code }: z.infer<typeof PhoneProof>): Promise<void> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`select access.verify_phone(${ctx.realm.id}, ${ctx.realm.system_key}, ${code}) as verified`),
  )
  if (rowsOf<{ verified: boolean }>(result)[0]?.verified !== true)
    throw invalid('code', 'is wrong, used or expired, or was tried too often; ask for a new one')
}

/** Six digits, uniformly distributed. */
function newCode(): string {
  for (;;) {
    const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1))
    if (drawn < 4_294_000_000) return String(drawn % 1_000_000).padStart(6, '0')
  }
}
