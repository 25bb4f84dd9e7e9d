import { z } from '@hono/zod-openapi'
import { LoginOutcome } from '../auth/browser.ts'
import { answerOf, ENTRY_PROBLEMS } from '../auth/entering.ts'
import { DeviceToken } from '../auth/login.ts'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { deviceTokensOf, refreshTokensOf, requireCookieHost } from '../http/cookies.ts'
import { room, route } from '../http/route.ts'
import { Problem } from '../kernel/problem.ts'
import { locationOf } from '../sessions/device.ts'
import { creationOptions, requestOptions } from './options.ts'
import { listPasskeys, passkeyLogin, registerPasskey, removePasskey, renamePasskey } from './passkeys.ts'
import {
  Assertion,
  CreationOptions,
  OptionsWanted,
  Passkey,
  PasskeyList,
  Registration,
  RelatedOrigins,
  Renaming,
  RequestOptions,
} from './wire.ts'

const Id = z.object({ id: z.uuid() })
const Nothing = z.object({})
/** Who has two factors shows both: with a passkey of their own, whoever knows one would have the other, and go round it for ever. */
const STRONG = { fresh: FRESH, aal: TWO_IF_ANY } as const
const Login = z.object({
  credential: Assertion,
  /** For pages of the tenant's own host: tokens in cookies instead of in the response. */
  cookie: z.boolean().optional(),
  device_token: DeviceToken.min(1).optional(),
})

/** Passkeys, under /auth/passkeys of either plane. */
export const passkeyRoutes = room()

passkeyRoutes.openapi(
  route({
    operationId: 'getPasskeyLoginOptions',
    method: 'post',
    path: '/login/options',
    summary: 'Get what a browser needs to log in with a passkey',
    public: true,
    only_reads: true,
    trips: 0,
    attempts: 'passkey-login',
    body: OptionsWanted,
    returns: { 200: RequestOptions },
  }),
  async (c) => c.json(await requestOptions(c.var.ctx, c.req.valid('json').rp_id), 200),
)

passkeyRoutes.openapi(
  route({
    operationId: 'loginWithPasskey',
    method: 'post',
    path: '/login',
    summary: 'Log in with a passkey',
    public: true,
    trips: 2,
    attempts: 'passkey-login',
    body: Login,
    returns: { 200: LoginOutcome },
    problems: [...ENTRY_PROBLEMS],
  }),
  async (c) => {
    const { credential, cookie = false, device_token } = c.req.valid('json')
    const { raw } = c.req
    if (cookie) requireCookieHost(raw, c.var)
    const entered = await passkeyLogin(c.var.ctx, {
      credential,
      place: locationOf(raw, c.var.config),
      devices: device_token ? [device_token] : cookie ? deviceTokensOf(raw) : [],
      former: cookie ? refreshTokensOf(raw) : new Map(),
    })
    const { answer, cookies } = await answerOf(c.var.ctx, raw, entered, cookie)
    if (cookies.length) c.set('cookies', cookies)
    return c.json(answer, 200)
  },
)

passkeyRoutes.openapi(
  route({
    operationId: 'getPasskeyCreationOptions',
    method: 'post',
    path: '/register/options',
    summary: 'Get what a browser needs to make a passkey for the current user',
    permission: null,
    by: 'session',
    any_password: true,
    ...STRONG,
    only_reads: true,
    trips: 1,
    body: Nothing,
    returns: { 200: CreationOptions },
  }),
  async (c) => c.json(await creationOptions(c.var.ctx), 200),
)

passkeyRoutes.openapi(
  route({
    operationId: 'registerPasskey',
    method: 'post',
    path: '/register',
    summary: 'Register a passkey of the current user',
    permission: null,
    by: 'session',
    any_password: true,
    // The account page gives options as well, and asks this only when they come back.
    ...STRONG,
    trips: 1,
    failures: 'passkey-register',
    body: Registration,
    returns: { 200: Passkey },
    problems: ['illegal_state', 'password_change_required', 'already_exists', 'limit_reached'],
  }),
  async (c) => c.json(await registerPasskey(c.var.ctx, c.req.valid('json')), 200),
)

passkeyRoutes.openapi(
  route({
    operationId: 'listPasskeys',
    method: 'get',
    path: '/',
    summary: 'List the passkeys of the current user',
    permission: null,
    by: 'session',
    trips: 1,
    returns: { 200: PasskeyList },
  }),
  async (c) => c.json(await listPasskeys(c.var.ctx), 200),
)

// Neither is an id.
for (const path of ['/login', '/register'])
  passkeyRoutes.on(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], path, () => {
    throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'POST' } })
  })

passkeyRoutes.openapi(
  route({
    operationId: 'renamePasskey',
    method: 'patch',
    path: '/{id}',
    summary: 'Rename a passkey of the current user',
    permission: null,
    by: 'session',
    trips: 1,
    params: Id,
    body: Renaming,
    returns: { 200: Passkey },
    problems: ['not_found'],
  }),
  async (c) => c.json(await renamePasskey(c.var.ctx, c.req.valid('param').id, c.req.valid('json').name), 200),
)

passkeyRoutes.openapi(
  route({
    operationId: 'removePasskey',
    method: 'delete',
    path: '/{id}',
    summary: 'Remove a passkey of the current user',
    permission: null,
    by: 'session',
    // One that is the second factor goes by showing it: without one, a session of one factor could add another.
    ...STRONG,
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await removePasskey(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** Under /.well-known of a tenant. A former host answers for itself (http/renamed.ts). */
export const relatedOriginRoutes = room()

relatedOriginRoutes.openapi(
  route({
    operationId: 'getRelatedOrigins',
    method: 'get',
    path: '/webauthn',
    summary: 'Get the origins that may use the passkeys of this host (Web Authentication Level 3)',
    public: true,
    trips: 0,
    returns: { 200: RelatedOrigins },
  }),
  (c) => c.json({ origins: [new URL(c.var.realm.url).origin] }, 200),
)
