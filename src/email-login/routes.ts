import { answerOf, ENTRY_PROBLEMS } from '../auth/entering.ts'
import { deviceTokensOf, emailLoginTokenOf, refreshTokensOf, requireCookieHost, setEmailLoginCookie } from '../http/cookies.ts'
import { room, route } from '../http/route.ts'
import { invalid } from '../kernel/problem.ts'
import { locationOf } from '../sessions/device.ts'
import {
  EmailLoginOutcome,
  EmailLoginProof,
  EmailLoginRequest,
  EmailLoginRequested,
  requestEmailLogin,
  verifyEmailLogin,
} from './email-login.ts'

/** Login by mail, under /auth of a tenant. The platform has none: an operator's mailbox does not stand for all tenants. */
export const emailLoginRoutes = room()

emailLoginRoutes.openapi(
  route({
    operationId: 'requestEmailLogin',
    method: 'post',
    path: '/email-login',
    summary: 'Mail a code and a link to log in with, where the tenant allows it',
    public: true,
    trips: 1,
    attempts: 'mail',
    body: EmailLoginRequest,
    returns: { 202: EmailLoginRequested },
    problems: ['forbidden'],
  }),
  async (c) => {
    const { username, email, cookie = false } = c.req.valid('json')
    if (cookie) requireCookieHost(c.req.raw, c.var)
    const asked = await requestEmailLogin(c.var.ctx, {
      identifier: username ?? email ?? '',
      place: locationOf(c.req.raw, c.var.config),
    })
    if (cookie) c.set('cookies', [setEmailLoginCookie(asked.request_token, asked.expires_in)])
    return c.json(asked, 202)
  },
)

emailLoginRoutes.openapi(
  route({
    operationId: 'verifyEmailLogin',
    method: 'post',
    path: '/email-login/verify',
    summary: 'Log in with a mailed code or link',
    public: true,
    trips: 1,
    attempts: 'login',
    body: EmailLoginProof,
    returns: { 200: EmailLoginOutcome },
    problems: [...ENTRY_PROBLEMS],
  }),
  async (c) => {
    const { code, token, confirm = false, cookie = false, device_token, ...sent } = c.req.valid('json')
    const { raw } = c.req
    if (cookie) requireCookieHost(raw, c.var)
    const request_token = sent.request_token ?? (cookie ? (emailLoginTokenOf(raw) ?? undefined) : undefined)
    if (code !== undefined && request_token === undefined)
      throw invalid('request_token', 'is needed with a code: it is in the answer to auth/email-login')
    const outcome = await verifyEmailLogin(c.var.ctx, {
      request_token,
      code,
      token,
      is_confirmed: confirm,
      place: locationOf(raw, c.var.config),
      devices: device_token ? [device_token] : cookie ? deviceTokensOf(raw) : [],
      former: cookie ? refreshTokensOf(raw) : new Map(),
    })
    if ('confirmation' in outcome) return c.json(outcome.confirmation, 200)
    const { answer, cookies } = await answerOf(c.var.ctx, raw, outcome, cookie)
    if (cookie) c.set('cookies', [...cookies, setEmailLoginCookie('', 0)])
    return c.json(answer, 200)
  },
)
