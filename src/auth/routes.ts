import { invalid } from '../kernel/problem.ts'
import { room, route } from '../kernel/route.ts'
import { wall } from '../kernel/wall.ts'
import {
  Credentials,
  changePassword,
  login,
  logout,
  logoutAll,
  PasswordChange,
  PasswordForm,
  RefreshToken,
  refresh,
  Tokens,
} from './auth.ts'
import { Me, me, WhoAmI, whoAmI } from './me.ts'

/** The same room serves tenants under /api/v1/auth and operators under /platform/v1/auth: each realm has its own users. */
export const authRoutes = room()

authRoutes.openapi(
  route({
    method: 'post',
    path: '/login',
    summary: 'Log in with a password',
    open: true,
    trips: 2,
    body: Credentials,
    form: PasswordForm,
    returns: { 200: Tokens },
    problems: ['invalid_credentials', 'user_inactive'],
  }),
  async (c) => {
    await wall(c, 'login')
    const type = c.req.header('Content-Type')
    if (!type) throw invalid('', 'is missing: username or email, and password')
    const sent = /^application\/json/i.test(type) ? c.req.valid('json') : c.req.valid('form')
    const identifier = sent.username ?? ('email' in sent ? sent.email : undefined)
    return c.json(await login(c.var.ctx, identifier ?? '', sent.password), 200)
  },
)

for (const path of ['/refresh-token', '/refresh']) {
  authRoutes.openapi(
    route({
      method: 'post',
      path,
      summary: 'Exchange a refresh token',
      open: true,
      trips: 1,
      body: RefreshToken,
      returns: { 200: Tokens },
      problems: ['refresh_invalid', 'refresh_reused', 'user_inactive'],
    }),
    async (c) => c.json(await refresh(c.var.ctx, c.req.valid('json').refresh_token), 200),
  )
}

for (const path of ['/password-change', '/change-password']) {
  authRoutes.openapi(
    route({
      method: 'post',
      path,
      summary: 'Change your password',
      permission: null,
      by: 'session',
      any_password: true,
      trips: 2,
      body: PasswordChange,
      returns: { 204: null },
      problems: ['invalid_credentials', 'rate_limited'],
    }),
    async (c) => {
      await wall(c, 'password-change')
      await changePassword(c.var.ctx, c.req.valid('json'))
      return c.body(null, 204)
    },
  )
}

authRoutes.openapi(
  route({
    method: 'post',
    path: '/logout',
    summary: 'End this session',
    permission: null,
    by: 'session',
    any_password: true,
    trips: 1,
    returns: { 204: null },
  }),
  async (c) => {
    await logout(c.var.ctx)
    return c.body(null, 204)
  },
)

authRoutes.openapi(
  route({
    method: 'post',
    path: '/logout-all',
    summary: 'End all your sessions, this one too',
    permission: null,
    by: 'session',
    any_password: true,
    trips: 1,
    returns: { 204: null },
  }),
  async (c) => {
    await logoutAll(c.var.ctx)
    return c.body(null, 204)
  },
)

authRoutes.openapi(
  route({ method: 'get', path: '/me', summary: 'You', permission: null, any_password: true, trips: 1, returns: { 200: Me } }),
  async (c) => c.json(await me(c.var.ctx), 200),
)

authRoutes.openapi(
  route({
    method: 'get',
    path: '/whoami',
    summary: 'Your session or key, permissions and tenant',
    permission: null,
    trips: 1,
    returns: { 200: WhoAmI },
  }),
  async (c) => c.json(await whoAmI(c.var.ctx), 200),
)
