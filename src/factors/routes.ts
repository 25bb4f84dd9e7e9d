import { z } from '@hono/zod-openapi'
import { LoginOutcome } from '../auth/browser.ts'
import { answerOf, ENTRY_PROBLEMS } from '../auth/entering.ts'
import { FRESH, needOf, requireCredential, TWO_IF_ANY } from '../http/admit.ts'
import { refreshTokensOf, requireCookieHost } from '../http/cookies.ts'
import { room, route } from '../http/route.ts'
import { invalid } from '../kernel/problem.ts'
import { verifyPasskey } from '../passkeys/passkeys.ts'
import { locationOf } from '../sessions/device.ts'
import {
  BackupCodes,
  disable,
  enable,
  FactorChange,
  renewBackupCodes,
  resetFactors,
  SecondFactor,
  setUp,
  TotpSetup,
  verify,
} from './factors.ts'
import { LoginCodeRequest, LoginCodeSent, resendLoginCode } from './resending.ts'

/** Second factors, under /auth of either plane. */
export const factorRoutes = room()

const OWN = { permission: null, by: 'session' } as const

factorRoutes.openapi(
  route({
    ...OWN,
    operationId: 'setUpTotp',
    method: 'post',
    path: '/mfa/setup',
    summary: 'Make a secret for an authenticator app',
    any_password: true,
    fresh: FRESH,
    // Whoever has a passkey shows it, or an app of somebody else would stand for it from now on.
    aal: TWO_IF_ANY,
    trips: 1,
    returns: { 200: TotpSetup },
    problems: ['illegal_state', 'password_change_required'],
  }),
  async (c) => c.json(await setUp(c.var.ctx), 200),
)

factorRoutes.openapi(
  route({
    operationId: 'verifySecondFactor',
    method: 'post',
    path: '/mfa/verify',
    summary: 'End a login with the second factor, or switch an authenticator app on',
    public: true,
    account: true,
    trips: 2,
    attempts: 'login',
    body: SecondFactor,
    returns: { 200: LoginOutcome.or(BackupCodes) },
    problems: [
      ...ENTRY_PROBLEMS,
      'illegal_state',
      'token_missing',
      'token_invalid',
      'token_expired',
      'token_wrong_tenant',
      'session_ended',
      'credentials_ambiguous',
    ],
  }),
  async (c) => {
    const { mfa_token, code, backup_code, email_code, passkey, cookie, remember_device: remember = false } = c.req.valid('json')
    if (mfa_token === undefined) {
      if (code === undefined) throw invalid('code', 'is needed to switch an authenticator app on')
      if (remember) throw invalid('remember_device', 'is only for logins')
      let enabled = { backup_codes: [] as string[] }
      // Whoever switches it on is logged in, unlike whoever logs in.
      await requireCredential(needOf({ any_password: true }), 'session')(c, async () => {
        enabled = await enable(c.var.ctx, code)
      })
      return c.json(enabled, 200)
    }
    const inCookies = cookie === true
    if (inCookies) requireCookieHost(c.req.raw, c.var)
    const former = inCookies ? refreshTokensOf(c.req.raw) : new Map<string, string>()
    const login = { mfa_token, place: locationOf(c.req.raw, c.var.config), former, remember }
    const entered = passkey
      ? await verifyPasskey(c.var.ctx, { ...login, credential: passkey })
      : await verify(c.var.ctx, { ...login, code, backup_code, email_code })
    const { answer, cookies } = await answerOf(c.var.ctx, c.req.raw, entered, inCookies)
    if (cookies.length) c.set('cookies', cookies)
    return c.json(answer, 200)
  },
)

factorRoutes.openapi(
  route({
    operationId: 'resendLoginCode',
    method: 'post',
    path: '/mfa/resend',
    summary: 'Mail another code for a risky login',
    public: true,
    trips: 1,
    attempts: 'login',
    body: LoginCodeRequest,
    returns: { 202: LoginCodeSent },
    problems: ['invalid_credentials', 'illegal_state', 'limit_reached'],
  }),
  async (c) => c.json(await resendLoginCode(c.var.ctx, c.req.valid('json').mfa_token), 202),
)

factorRoutes.openapi(
  route({
    ...OWN,
    operationId: 'disableTotp',
    method: 'post',
    path: '/mfa/disable',
    summary: 'Switch the authenticator app off',
    trips: 2,
    attempts: 'password-change',
    body: FactorChange,
    returns: { 204: null },
    problems: ['invalid_credentials', 'illegal_state', 'rate_limited'],
  }),
  async (c) => {
    await disable(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

factorRoutes.openapi(
  route({
    ...OWN,
    operationId: 'renewBackupCodes',
    method: 'post',
    path: '/mfa/backup-codes',
    summary: 'Replace the backup codes',
    trips: 2,
    attempts: 'password-change',
    body: FactorChange,
    returns: { 200: BackupCodes },
    problems: ['invalid_credentials', 'illegal_state', 'rate_limited'],
  }),
  async (c) => c.json(await renewBackupCodes(c.var.ctx, c.req.valid('json')), 200),
)

/** Second factors of other users, under the users of either plane. */
export const userFactorRoutes = room()

userFactorRoutes.openapi(
  route({
    operationId: 'resetUserFactors',
    method: 'post',
    path: '/{id}/reset-mfa',
    summary: 'Take the second factors of a user away, who lost them; ends their sessions',
    permission: 'user:update',
    aal: TWO_IF_ANY,
    trips: 1,
    params: z.object({ id: z.uuid() }),
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await resetFactors(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
