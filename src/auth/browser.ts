/**
 * Logins of browsers, whose tokens are in cookies and in no answer. Threat: http/cookies.ts says. The access token in a cookie says who and
 * nothing of what they may: nobody verifies it offline, and browsers drop a cookie above 4 KiB without a word.
 */
import { z } from '@hono/zod-openapi'
import { type AccountCookies, setAuthCookies } from '../http/cookies.ts'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { claimed, sign, verify } from '../kernel/token.ts'
import { type Entered, passwordOf, Tokens } from './auth.ts'

export const CookieTokens = Tokens.omit({ access_token: true, refresh_token: true })
  .extend({
    token_type: z.literal('Cookie'),
    account: z.uuid().openapi({ description: 'The user; where several are logged in, X-Account says by it who is meant' }),
  })
  .openapi('CookieTokens')
export const LoginAnswer = z.discriminatedUnion('token_type', [Tokens, CookieTokens]).openapi('LoginAnswer')

type Answer = z.infer<typeof CookieTokens>

/** So long after new cookies other tabs need no newer ones. Access tokens live 5 minutes at least. */
const RECENT_SECONDS = 10
/** What a database that does not say when a session ends gives it: the default of a tenant. */
const SESSION_SECONDS = 30 * 86_400

/** The tokens of who has been let in, as cookies and the answer that goes with them. */
export async function cookiesOf(ctx: Ctx, { claims, refresh_token }: Entered): Promise<{ answer: Answer; cookies: string[] }> {
  const { user_id: account, session_id: sid, proof, access_minutes, auth_time, amr, session_expires_at } = claims
  const said = { tenant: ctx.realm.subdomain, trace: ctx.request.trace_id, auth_time, amr: [amr], ...passwordOf(claims) }
  const seconds = access_minutes * 60
  const token = await sign(ctx.realm, { sub: account, sid, proof, ...said }, seconds)
  const left = session_expires_at ? Math.floor((Date.parse(session_expires_at) - Date.now()) / 1000) : SESSION_SECONDS
  const answer = { token_type: 'Cookie' as const, expires_in: seconds, account, ...passwordOf(claims) }
  return { answer, cookies: setAuthCookies(account, { token, seconds }, { token: refresh_token, seconds: Math.max(0, left) }) }
}

/**
 * The answer to a tab that refreshes right after another one did: its access token, if it is some seconds old, and what it says; else null.
 * Would every tab be given a newer refresh token, then of two answers that overtake each other the older cookie might stay: used later,
 * it would be taken for stolen. Whether the session lives is for the caller to ask. Fails as `verify` does.
 */
export async function recentCookieTokens(ctx: Ctx, { account, access }: AccountCookies) {
  const { iat = 0, exp = 0, must_change_password, ...said } = (access && claimed(access)) || {}
  const now = Math.floor(Date.now() / 1000)
  if (!access || now - iat >= RECENT_SECONDS || exp <= now || must_change_password !== false) return null
  const bearer = await verify(ctx.realm, access)
  if (bearer.user_id !== account) throw new Problem('token_invalid', 'This cookie belongs to another account.')
  const answer = { token_type: 'Cookie', expires_in: exp - now, account, must_change_password, ...said }
  return { bearer, answer: CookieTokens.parse(answer) }
}
