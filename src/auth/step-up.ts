/**
 * Stepping up: a session whose user proves once more who they are is fresh again, for routes that ask for it (RFC 9470). Threat: an open
 * session that somebody finds is used to guess, or to do what only its owner should. The database compares, counts and raises the session
 * (step-up.sql); routes declare what they ask for, and the admission decides it.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { attemptedDigest } from '../passwords/hash.ts'
import { type Attempt, beginAttempt, overload } from './attempt.ts'
import { type Claims, Password, Tokens } from './auth.ts'
import { CookieTokens } from './browser.ts'

export const StepUp = z.object({ password: Password }).openapi('StepUp')

/** The refresh token of the session stays as it is. */
const AccessToken = Tokens.pick({ access_token: true, token_type: true, expires_in: true }).openapi('AccessToken')
const AccessCookie = CookieTokens.pick({ token_type: true, expires_in: true, account: true }).openapi('AccessCookie')
export const SteppedUp = z.discriminatedUnion('token_type', [AccessToken, AccessCookie]).openapi('SteppedUp')

type Outcome = { outcome: 'ok'; claims: Claims } | { outcome: 'wrong' | 'ended' }

/**
 * Raises the session of the caller by their password, and returns what its next access token says. Two round trips. Fails with
 * invalid_credentials when the password is wrong or was tried too often, session_ended (meanwhile), rate_limited as a login does.
 */
export async function stepUp(ctx: Ctx, { password }: z.infer<typeof StepUp>): Promise<Claims> {
  const { id, system_key } = ctx.realm
  const begun = await beginAttempt(async () => {
    const [result] = await ctx.run(ctx.db.execute(sql`select access.begin_step_up(${id}, ${system_key}) as answer`))
    return (result.rows[0] as { answer: Attempt }).answer
  })
  const compared = await attemptedDigest(password, begun.hash_parameters)
  const [result] = await ctx.run(
    ctx.db.execute(sql`select access.finish_step_up(${id}, ${system_key}, ${begun.attempt}, ${compared}) as answer`),
  )
  const { answer } = result.rows[0] as { answer: Outcome }
  if (answer.outcome === 'ended') throw new Problem('session_ended')
  if (answer.outcome !== 'ok') throw overload(begun, compared) ?? new Problem('invalid_credentials', 'The password is not right.')
  log('stepped up', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: answer.claims.user_id })
  return answer.claims
}
