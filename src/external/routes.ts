import { z } from '@hono/zod-openapi'
import { LoginOutcome } from '../auth/browser.ts'
import { answerOf, ENTRY_PROBLEMS } from '../auth/entering.ts'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { deviceTokensOf, refreshTokensOf, requireCookieHost } from '../http/cookies.ts'
import { room, route } from '../http/route.ts'
import { ProviderName } from '../providers/providers.ts'
import { locationOf } from '../sessions/device.ts'
import { ExternalLogin, externalLogin } from './external.ts'
import { Identity, IdentityList, linkIdentity, listIdentities, NewIdentity, unlinkIdentity } from './identities.ts'

const OWN = { permission: null, by: 'session' } as const

/** Logins from elsewhere, under /api/v1/auth. */
export const externalRoutes = room()

externalRoutes.openapi(
  route({
    operationId: 'loginWithProvider',
    method: 'post',
    path: '/external/{provider}',
    summary: 'Log in with the ID token of a provider',
    public: true,
    trips: 2,
    attempts: 'external-login',
    params: z.object({ provider: ProviderName }),
    body: ExternalLogin,
    returns: { 200: LoginOutcome },
    problems: ['not_found', ...ENTRY_PROBLEMS, 'provider_unavailable'],
  }),
  async (c) => {
    const { cookie = false, device_token, ...token } = c.req.valid('json')
    const { raw } = c.req
    if (cookie) requireCookieHost(raw, c.var)
    const entered = await externalLogin(c.var.ctx, c.env.TENANTS, c.req.valid('param').provider, {
      ...token,
      device: {
        place: locationOf(raw, c.var.config),
        devices: device_token ? [device_token] : cookie ? deviceTokensOf(raw) : [],
        former: cookie ? refreshTokensOf(raw) : new Map(),
      },
    })
    const { answer, cookies } = await answerOf(c.var.ctx, raw, entered, cookie)
    if (cookies.length) c.set('cookies', cookies)
    return c.json(answer, 200)
  },
)

externalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'listIdentities',
    method: 'get',
    path: '/identities',
    summary: 'List the identities with which the current user logs in elsewhere',
    trips: 1,
    returns: { 200: IdentityList },
  }),
  async (c) => c.json(await listIdentities(c.var.ctx), 200),
)

externalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'linkIdentity',
    method: 'post',
    path: '/identities',
    summary: 'Link an identity of the current user, by an ID token of its provider',
    fresh: FRESH,
    // What the provider calls two factors are two: whoever has a second one here shows it before.
    aal: TWO_IF_ANY,
    trips: 2,
    failures: 'external-link',
    body: NewIdentity,
    returns: { 200: Identity },
    problems: [
      'not_found',
      'illegal_state',
      'password_change_required',
      'already_exists',
      'limit_reached',
      'provider_unavailable',
    ],
  }),
  async (c) => c.json(await linkIdentity(c.var.ctx, c.env.TENANTS, c.req.valid('json')), 200),
)

externalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'unlinkIdentity',
    method: 'delete',
    path: '/identities/{id}',
    summary: 'Remove an identity of the current user',
    fresh: FRESH,
    trips: 1,
    params: z.object({ id: z.uuid() }),
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await unlinkIdentity(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
