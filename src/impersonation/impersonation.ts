/**
 * Impersonation: somebody who helps users sees what one of them sees, for half an hour. Threat: it is a way to what the caller does not
 * hold, a way in that stays, or something that nobody notices. The database decides and keeps it so (impersonation.sql).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { accessTokenOf, type Claims } from '../auth/auth.ts'
import type { Ctx } from '../kernel/context.ts'
import { Line } from '../kernel/fields.ts'
import { log } from '../kernel/log.ts'
import { deliver } from '../mail/mail.ts'

export const Impersonation = z
  .object({
    reason: Line(500).openapi({ description: 'Why, for the audit; the user reads it in the mail that they get' }),
  })
  .openapi('Impersonation')

export const Impersonated = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int(),
    session_id: z.uuid(),
    act: z.object({ sub: z.uuid() }).openapi({ description: 'Who acts as the user, as the token says it (RFC 8693)' }),
  })
  .openapi('Impersonated')

/**
 * Opens a session of another user for the caller, without a refresh token, which ends within 30 minutes and with the caller's own. One
 * round trip; `user:impersonate`. Fails with not_found, forbidden (the user holds more, or the caller impersonates somebody),
 * illegal_state (the caller themselves, or somebody who could not log in).
 */
export async function impersonate(
  ctx: Ctx,
  user_id: string,
  { reason }: z.infer<typeof Impersonation>,
): Promise<z.infer<typeof Impersonated>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select access.impersonate(${user_id}::uuid, ${reason}) as claims`))
  const { claims } = result.rows[0] as { claims: Claims & { act: { sub: string } } }
  ctx.later(deliver(ctx))
  log('impersonation', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: user_id, by: claims.act.sub })
  return {
    ...(await accessTokenOf(ctx, claims)),
    token_type: 'Bearer',
    session_id: claims.session_id,
    act: { sub: claims.act.sub },
  }
}
