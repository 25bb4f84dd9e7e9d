import type { Context } from 'hono'
import { type Entered, FIRST_PARTY, refresh, tokensOf } from '../auth/auth.ts'
import type { Challenged } from '../auth/challenge.ts'
import { login } from '../auth/login.ts'
import type { AppEnv } from '../http/app-env.ts'
import { clientOf, keyInBasic, notStored, OAuthProblem } from '../http/oauth.ts'
import { failuresOf, requireAttempt } from '../http/rate-limit.ts'
import { room, route } from '../http/route.ts'
import { type Code, Problem } from '../kernel/problem.ts'
import { claimed } from '../kernel/token.ts'
import { locationOf } from '../sessions/device.ts'
import { Introspection, introspect, revoke, UserInfo, userInfo } from './oauth.ts'
import { audienceOf, Introspected, TokenAnswer, TokenForm } from './token.ts'

/** OAuth 2 as its clients speak it, under /oauth of a tenant. Errors are those of RFC 6749 (http/oauth.ts). */
export const oauthRoutes = room()

oauthRoutes.use('*', notStored)
oauthRoutes.use('/introspect', keyInBasic)

oauthRoutes.openapi(
  route({
    operationId: 'getToken',
    method: 'post',
    path: '/token',
    summary: 'Get an access token for a refresh token or, where it is offered, a password',
    public: true,
    trips: 2,
    oauth: ['invalid_grant', 'unsupported_grant_type', 'invalid_target', 'invalid_client'],
    form: TokenForm,
    returns: { 200: TokenAnswer },
    problems: ['forbidden'],
  }),
  async (c) => {
    const form = c.req.valid('form')
    const client_id = clientOf(c.req.raw, form) ?? FIRST_PARTY
    const audience = audienceOf(c.var.realm, form.resource)
    if (audience === undefined) throw new OAuthProblem('invalid_target', 'Name one resource.')
    const client = { client_id, audience }
    const { grant_type, refresh_token, username, password, device_token } = form
    if (grant_type === 'refresh_token') {
      if (!refresh_token) throw new OAuthProblem('invalid_request', 'refresh_token is missing.')
      return granted(c, 'refresh', form.scope, () =>
        refresh(c.var.ctx, refresh_token, locationOf(c.req.raw, c.var.config), client),
      )
    }
    if (grant_type !== 'password') throw notOffered()
    if (!username || !password) throw new OAuthProblem('invalid_request', 'username and password are needed.')
    await requireAttempt(c)
    const devices = device_token ? [device_token] : []
    const asked = {
      identifier: username,
      password,
      place: locationOf(c.req.raw, c.var.config),
      devices,
      former: new Map(),
      client,
    }
    return granted(c, 'login', form.scope, () => login(c.var.ctx, asked))
  },
)

/**
 * The tokens of a grant; its failures are counted with those of the same under auth/, and told in the words of OAuth. Whoever asked for
 * a scope is told the one that the token has, also if it has none (RFC 6749 section 3.3).
 */
async function granted(
  c: Context<AppEnv>,
  name: 'login' | 'refresh',
  asked: string | undefined,
  enter: () => Promise<Entered | Challenged>,
) {
  const failures = failuresOf(c, name)
  failures.refuse()
  try {
    const entered = await enter()
    // RFC 6749 section 4.3 has a password and nothing else: it knows no second step.
    if ('challenge' in entered)
      throw new OAuthProblem(
        'invalid_grant',
        'This user has a second factor, which this grant cannot take: log in at auth/login.',
      )
    const tokens = await tokensOf(c.var.ctx, entered)
    const { scope = asked ? '' : undefined } = claimed(tokens.access_token) ?? {}
    return c.json({ ...tokens, ...(typeof scope === 'string' && { scope }) }, 200)
  } catch (error) {
    await failures.count(error)
    throw error instanceof Problem ? inWordsOfOAuth(error) : error
  }
}

const notOffered = () => new OAuthProblem('unsupported_grant_type', 'This grant is not offered here.')

/** Refusals of somebody who showed the right password or token: what they are told is no secret. */
const TOLD: Code[] = ['user_inactive', 'password_change_required', 'limit_reached', 'denied_by_hook']
/** One sentence for whatever is wrong with a password or a token: a stranger learns nothing from it. */
const WRONG: Code[] = ['invalid_credentials', 'refresh_invalid', 'refresh_reused']

function inWordsOfOAuth(problem: Problem): Problem {
  if (problem.code === 'forbidden') return notOffered()
  if (problem.code === 'not_found') return new OAuthProblem('invalid_target', 'There is no such audience.')
  if (TOLD.includes(problem.code)) return new OAuthProblem('invalid_grant', problem.message)
  if (!WRONG.includes(problem.code)) return problem
  return new OAuthProblem('invalid_grant', 'What was sent is wrong, has expired, was used or revoked, or is of another client.')
}

oauthRoutes.openapi(
  route({
    operationId: 'introspectToken',
    method: 'post',
    path: '/introspect',
    summary: 'Get what a token is now: your own, or with session:read, that of a user in your reach',
    permission: null,
    only_reads: true,
    trips: 1,
    oauth: ['invalid_client'],
    form: Introspected,
    returns: { 200: Introspection },
  }),
  async (c) => {
    const form = c.req.valid('form')
    if (form.client_secret || form.client_assertion)
      throw new OAuthProblem('invalid_request', 'The client is authenticated in two ways.')
    return c.json(await introspect(c.var.ctx, form.token), 200)
  },
)

oauthRoutes.openapi(
  route({
    operationId: 'revokeToken',
    method: 'post',
    path: '/revoke',
    summary: 'End the session of an access or refresh token, or revoke an API key, by showing it',
    public: true,
    trips: 1,
    oauth: ['unsupported_token_type', 'invalid_client'],
    form: Introspected,
    returns: { 200: null },
  }),
  async (c) => {
    const form = c.req.valid('form')
    clientOf(c.req.raw, form)
    const failures = failuresOf(c, 'revoke')
    failures.refuse()
    const done = await revoke(c.var.ctx, form.token)
    if (done === 'foreign')
      throw new OAuthProblem('unsupported_token_type', 'A token for an API expires by itself. Revoke the refresh token.')
    // RFC 7009 section 2.2: what is not valid is answered as if it had been. Somebody who tries many is stopped.
    if (done === 'unknown') await failures.count(new Problem('refresh_invalid'))
    return c.body(null, 200)
  },
)

for (const method of ['get', 'post'] as const) {
  oauthRoutes.openapi(
    route({
      operationId: method === 'get' ? 'getUserInfo' : 'postUserInfo',
      method,
      path: '/userinfo',
      summary: method === 'get' ? 'Get the current user as OpenID Connect clients read it' : 'Get the current user, by POST',
      permission: null,
      any_password: true,
      only_reads: true,
      trips: 1,
      oauth: [],
      returns: { 200: UserInfo },
    }),
    async (c) => c.json(await userInfo(c.var.ctx), 200),
  )
}
