/**
 * Logins of browsers, whose tokens are in cookies and never in a response body. Threat: see http/cookies.ts. The access token in
 * a cookie carries the identity and no permissions: nobody verifies it offline, and browsers silently drop a cookie above 4 KiB.
 */
import { z } from '@hono/zod-openapi'
import { type AccountCookies, setAccessCookie, setAuthCookies, setDeviceCookie } from '../http/cookies.ts'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { claimed, lifetimeOf, sign, verify } from '../kernel/token.ts'
import { authenticationOf, type Claims, type Entered, FIRST_PARTY, passwordOf, Tokens } from './auth.ts'
import { MfaChallenge } from './challenge.ts'

export const CookieTokens = Tokens.omit({ access_token: true, refresh_token: true, device_token: true })
  .extend({
    token_type: z.literal('Cookie'),
    account: z.uuid().openapi({ description: 'The user. If several accounts are logged in, send it as X-Account to select one' }),
  })
  .openapi('CookieTokens')
export const LoginAnswer = z.discriminatedUnion('token_type', [Tokens, CookieTokens]).openapi('LoginAnswer')
/** What a login answers: tokens, or what is still missing. */
export const LoginOutcome = z.union([Tokens, CookieTokens, MfaChallenge]).openapi('LoginOutcome')
export type LoginOutcome = z.infer<typeof LoginOutcome>

type Answer = z.infer<typeof CookieTokens>

/** For so long after new cookies, other tabs get no newer ones. Access tokens live 5 minutes and more, unless their session ends before. */
const RECENT_SECONDS = 10
/** The lifetime of a session whose database does not return it: the default of a tenant. */
const SESSION_SECONDS = 30 * 86_400

/** The tokens of a login as cookies, and the response body that goes with them. */
export async function cookiesOf(ctx: Ctx, entered: Entered): Promise<{ answer: Answer; cookies: string[] }> {
  const { claims, refresh_token, device_token } = entered
  const { user_id: account, session_expires_at } = claims
  const { token, seconds } = await accessOf(ctx, claims)
  const left = session_expires_at ? Math.floor((Date.parse(session_expires_at) - Date.now()) / 1000) : SESSION_SECONDS
  const answer = { token_type: 'Cookie' as const, expires_in: seconds, account, ...passwordOf(claims) }
  const cookies = setAuthCookies(account, { token, seconds }, { token: refresh_token, seconds: Math.max(0, left) })
  return { answer, cookies: device_token === undefined ? cookies : [...cookies, setDeviceCookie(account, device_token)] }
}

/** A new access token of a session as a cookie, beside its refresh token that stays. */
export async function accessCookieOf(ctx: Ctx, claims: Claims) {
  const { user_id: account } = claims
  const { token, seconds } = await accessOf(ctx, claims)
  return {
    answer: { token_type: 'Cookie' as const, expires_in: seconds, account },
    cookies: [setAccessCookie(account, token, seconds)],
  }
}

async function accessOf(ctx: Ctx, claims: Claims): Promise<{ token: string; seconds: number }> {
  const { user_id, session_id, proof, access_minutes, session_expires_at } = claims
  const { iat, exp } = lifetimeOf(access_minutes, session_expires_at)
  const whose = { sub: user_id, sid: session_id, proof, client_id: FIRST_PARTY }
  const about = { tenant: ctx.realm.subdomain, trace: ctx.request.trace_id, ...authenticationOf(claims), ...passwordOf(claims) }
  return { token: await sign(ctx.realm, { iat, exp, ...whose, ...about }), seconds: exp - iat }
}

/**
 * The response to a tab that refreshes right after another one did: the content of its access token while that is recent, else
 * null. If every tab got a newer refresh token, two responses that overtake each other could leave the older cookie in place:
 * used later, it would be taken for stolen. The caller must check that the session is active. Fails as `verify` does.
 */
export async function recentCookieTokens(ctx: Ctx, { account, access }: AccountCookies) {
  const { iat = 0, exp = 0, must_change_password, ...rest } = (access && claimed(access)) || {}
  const now = Math.floor(Date.now() / 1000)
  if (!access || now - iat >= RECENT_SECONDS || exp <= now || must_change_password !== false) return null
  const bearer = await verify(ctx.realm, access)
  if (bearer.user_id !== account) throw new Problem('token_invalid', 'This cookie belongs to another account.')
  const answer = { token_type: 'Cookie', expires_in: exp - now, account, must_change_password, ...rest }
  return { bearer, answer: CookieTokens.parse(answer) }
}
