import type { Context } from 'hono'
import { contextFor } from '../http/admit.ts'
import type { AppEnv } from '../http/app-env.ts'
import {
  type AccountCookies,
  clearAuthCookies,
  deviceTokensOf,
  ownHost,
  refreshTokensOf,
  requireCookieHost,
  selectAccount,
} from '../http/cookies.ts'
import { refuseClientSecret } from '../http/credential.ts'
import { room, route } from '../http/route.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { locationOf } from '../sessions/device.ts'
import { changePassword, PasswordChange, RefreshToken, refresh, tokensOf } from './auth.ts'
import { cookiesOf, LoginAnswer, LoginOutcome, recentCookieTokens } from './browser.ts'
import { answerOf, ENTRY_PROBLEMS } from './entering.ts'
import { Credentials, login, PasswordForm } from './login.ts'
import { logout, logoutAll } from './logout.ts'
import { Me, me, WhoAmI, whoAmI } from './me.ts'

/** Serves tenants under /api/v1/auth and operators under /platform/v1/auth: each realm has its own users. */
export const authRoutes = room()

authRoutes.openapi(
  route({
    operationId: 'login',
    method: 'post',
    path: '/login',
    summary: 'Log in with a password',
    public: true,
    trips: 2,
    attempts: 'login',
    body: Credentials,
    form: PasswordForm,
    returns: { 200: LoginOutcome },
    problems: [...ENTRY_PROBLEMS],
  }),
  async (c) => {
    refuseClientSecret(c.req.header('Authorization'))
    const type = c.req.header('Content-Type')
    if (!type) throw invalid('', 'is missing: username or email, and password')
    const sent = /^application\/json/i.test(type) ? c.req.valid('json') : c.req.valid('form')
    const identifier = sent.username ?? ('email' in sent ? sent.email : undefined)
    const inCookies = sent.cookie === true || sent.cookie === 'true'
    if (inCookies) requireCookieHost(c.req.raw, c.var)
    const entered = await login(c.var.ctx, {
      identifier: identifier ?? '',
      password: sent.password,
      place: locationOf(c.req.raw, c.var.config),
      devices: sent.device_token ? [sent.device_token] : inCookies ? deviceTokensOf(c.req.raw) : [],
      former: inCookies ? refreshTokensOf(c.req.raw) : new Map(),
    })
    const { answer, cookies } = await answerOf(c.var.ctx, c.req.raw, entered, inCookies)
    if (cookies.length) c.set('cookies', cookies)
    return c.json(answer, 200)
  },
)

for (const path of ['/refresh-token', '/refresh']) {
  authRoutes.openapi(
    route({
      operationId: path === '/refresh' ? 'refreshTokenFormerly' : 'refreshToken',
      method: 'post',
      path,
      summary: 'Exchange a refresh token',
      public: true,
      trips: 1,
      failures: 'refresh',
      account: true,
      ...(path === '/refresh' && { deprecated: true }),
      body: RefreshToken,
      returns: { 200: LoginAnswer },
      problems: ['refresh_invalid', 'refresh_reused', 'user_inactive', 'session_ended', 'forbidden'],
    }),
    async (c) => {
      const { refresh_token } = c.req.valid('json')
      if (refresh_token !== undefined && c.req.header('X-Account') !== undefined)
        throw new Problem('credentials_ambiguous', 'X-Account selects a cookie: do not send it with refresh_token.')
      if (refresh_token !== undefined)
        return c.json(
          await tokensOf(c.var.ctx, await refresh(c.var.ctx, refresh_token, locationOf(c.req.raw, c.var.config))),
          200,
        )
      const held = selectAccount(c.req.raw, ownHost(c.var))
      if (!held) throw invalid('refresh_token', 'is missing, and no login cookie was sent instead')
      c.set('account', held.account)
      return c.json(await clearIfEnded(c, refreshCookies(c, held)), 200)
    },
  )
}

for (const path of ['/password-change', '/change-password']) {
  authRoutes.openapi(
    route({
      operationId: path === '/change-password' ? 'changePasswordFormerly' : 'changePassword',
      method: 'post',
      path,
      summary: 'Change the password of the current user, and if asked, revoke their API keys',
      permission: null,
      by: 'session',
      any_password: true,
      trips: 2,
      attempts: 'password-change',
      ...(path === '/change-password' && { deprecated: true }),
      body: PasswordChange,
      returns: { 204: null },
      problems: ['invalid_credentials', 'password_change_required', 'rate_limited'],
    }),
    async (c) => {
      await changePassword(c.var.ctx, c.req.valid('json'))
      return c.body(null, 204)
    },
  )
}

authRoutes.openapi(
  route({
    operationId: 'logout',
    method: 'post',
    path: '/logout',
    summary: 'End the current session',
    permission: null,
    by: 'any-session',
    any_password: true,
    trips: 1,
    returns: { 204: null },
  }),
  async (c) => {
    clearSite(c)
    await clearIfEnded(c, logout(c.var.ctx))
    clearCookies(c)
    return c.body(null, 204)
  },
)

authRoutes.openapi(
  route({
    operationId: 'logoutAll',
    method: 'post',
    path: '/logout-all',
    summary: 'End all sessions of the current user',
    permission: null,
    by: 'session',
    any_password: true,
    trips: 1,
    returns: { 204: null },
  }),
  async (c) => {
    clearSite(c)
    await clearIfEnded(c, logoutAll(c.var.ctx))
    clearCookies(c)
    return c.body(null, 204)
  },
)

authRoutes.openapi(
  route({
    operationId: 'getMe',
    method: 'get',
    path: '/me',
    summary: 'Get the current user',
    permission: null,
    any_password: true,
    trips: 1,
    returns: { 200: Me },
  }),
  async (c) => c.json(await me(c.var.ctx), 200),
)

authRoutes.openapi(
  route({
    operationId: 'whoAmI',
    method: 'get',
    path: '/whoami',
    summary: 'Get the current session or API key, its permissions and tenant',
    permission: null,
    trips: 1,
    returns: { 200: WhoAmI },
  }),
  async (c) => c.json(await whoAmI(c.var.ctx), 200),
)

/** New cookies for an account; while its cookies are recent, their content without new ones. */
async function refreshCookies(c: Context<AppEnv>, held: AccountCookies) {
  const fresh = await recentCookieTokens(c.var.ctx, held)
  if (fresh) {
    c.set('ctx', contextFor(c, { permission: null, any_password: true }, { bearer: fresh.bearer, key: null }))
    await c.var.ctx.run()
    return fresh.answer
  }
  if (held.refresh === null) throw new Problem('refresh_invalid', 'There is no refresh token in the cookies.')
  const { answer, cookies } = await cookiesOf(
    c.var.ctx,
    await refresh(c.var.ctx, held.refresh, locationOf(c.req.raw, c.var.config)),
  )
  if (answer.account !== held.account) throw new Problem('refresh_invalid', 'This cookie belongs to another account.')
  c.set('cookies', cookies)
  return answer
}

/** Deletes the cookies of this account, and no other, if its session turns out to have ended. */
async function clearIfEnded<T>(c: Context<AppEnv>, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    if (error instanceof Problem && error.status === 401) clearCookies(c)
    throw error
  })
}

function clearCookies(c: Context<AppEnv>): void {
  const { account } = c.var
  if (account !== undefined) c.set('cookies', clearAuthCookies(account))
}

/**
 * Has the browser delete what pages of this host stored, also when the session turns out to have ended. Only where its cookies were
 * used: a logout with a token must not empty the storage of whoever uses this host in the same browser. Never `cookies`, which
 * reaches the whole registrable domain: other tenants, other accounts, the device cookie.
 */
function clearSite(c: Context<AppEnv>): void {
  if (c.var.account !== undefined) c.set('clear_site', '"cache", "storage"')
}
