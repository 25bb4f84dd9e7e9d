/** Another code by mail for a risky login, in place of the one before. Threat, and the limits: mailed-codes.sql. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { openedChallenge } from '../auth/challenge.ts'
import { mailedCode } from '../auth/mailed-code.ts'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'

export const LoginCodeRequest = z
  .object({ mfa_token: z.string().min(1).max(4096).openapi({ description: 'Of the login, whose `methods` are `email_code`' }) })
  .openapi('LoginCodeRequest')

export const LoginCodeSent = z
  .object({
    expires_in: z.int().openapi({ description: 'Seconds that the new code and the `mfa_token` work from now on' }),
    resends_left: z
      .int()
      .openapi({ description: 'How many more codes can be mailed for this login, each 30 seconds after the last' }),
  })
  .openapi('LoginCodeSent')

type Outcome = { mail: boolean } & (
  | { outcome: 'sent'; expires_in: number; left: number }
  | { outcome: 'too_soon'; seconds: number }
  | { outcome: 'ended' | 'not_mailed' | 'no_more' }
)

const ended = () => new Problem('invalid_credentials', 'This login has ended: log in again.')

/**
 * Mails another code; the one before ends. One round trip. Fails with invalid_credentials (a login that has ended, or failed too often),
 * illegal_state (it asks for a second factor), rate_limited (within 30 seconds of the last mail), limit_reached (three mails, or the
 * limit of mails to one recipient).
 */
export async function resendLoginCode(ctx: Ctx, mfa_token: string): Promise<z.infer<typeof LoginCodeSent>> {
  const opened = await openedChallenge(ctx, mfa_token)
  if (!opened) throw ended()
  const { id, system_key } = ctx.realm
  const request = JSON.stringify({ ...ctx.request, mailed_code: await mailedCode(ctx, opened.token) })
  const result = await ctx.call<Outcome>(
    sql`access.resend_login_code(${id}, ${system_key}, ${await tokenHash(opened.token)}::bytea, ${request}::jsonb)`,
  )
  if (result.mail) ctx.later(deliver(ctx))
  log('code for a risky login', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, outcome: result.outcome })
  switch (result.outcome) {
    case 'sent':
      return { expires_in: result.expires_in, resends_left: result.left }
    case 'too_soon':
      throw new Problem('rate_limited', 'A code was mailed just now: wait for the seconds in Retry-After.', {
        headers: { 'Retry-After': String(result.seconds) },
      })
    case 'no_more':
      throw new Problem('limit_reached', 'No further code is mailed for this login: enter the newest one, or log in again.')
    case 'not_mailed':
      throw new Problem('illegal_state', 'This login asks for a second factor: no code is mailed for it.')
    default:
      throw ended()
  }
}
