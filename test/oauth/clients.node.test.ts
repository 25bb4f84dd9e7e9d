/**
 * Threat: what the standards say and what clients understand are two things. Clients and verifiers that others wrote, each as its
 * documentation says, against the Worker on a tenant that offers the password grant: log in, refresh, ask who it is, introspect, revoke,
 * verify; and what a verifier must refuse.
 */
import dns from 'node:dns'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer'
import { Hono } from 'hono'
import { jwk } from 'hono/jwk'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { passportJwtSecret } from 'jwks-rsa'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import passport from 'passport'
import { ExtractJwt, Strategy } from 'passport-jwt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { askAt } from '../support/node/ask.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor+and %3' }
const API = 'https://billing.example/v1'
const GRANT = { username: ADMIN.email, password: ADMIN.password }

const stops: (() => Promise<unknown>)[] = []
let port: number
let issuer: string
/** An API key that may introspect. */
let key: string

/** Names under localhost are those of this machine, which not every resolver knows. */
function resolveLocalhost(): void {
  const { lookup } = dns
  const local = (name: string) => (name.endsWith('.localhost') ? '127.0.0.1' : name)
  dns.lookup = Object.assign((name: string, ...rest: [any, any]) => lookup(local(name), ...rest), lookup) as typeof lookup
  stops.push(async () => {
    dns.lookup = lookup
  })
}

const done = async (path: string, asked: Parameters<typeof askAt>[2], status: number) => {
  const answer = await askAt(port, path, asked)
  expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).toBe(status)
  return answer.body
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-clients')
  stops.unshift(remove)
  resolveLocalhost()
  port = await freePort()
  issuer = `http://acme.localhost:${port}`
  const given = { ...LOW_COST, BASE_URL: `http://localhost:${port}`, ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
  stops.unshift(worker.stop)
  const { access_token: token } = await done('/platform/v1/auth/login', { body: OPERATOR }, 200)
  for (const subdomain of ['acme', 'beta']) {
    const about = { subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), role_preset: 'lims' }
    const body = { ...about, admin_email: ADMIN.email, admin_password: ADMIN.password }
    await done('/platform/v1/tenants', { token, body, headers: { Prefer: 'wait=30' } }, 201)
    const admin = (await done('/api/v1/auth/login', { at: subdomain, body: ADMIN }, 200)).access_token
    const audience = { identifier: API, name: 'Billing', token_permissions: 'list', token_permission_list: ['invoice:read'] }
    await done('/api/v1/audiences', { at: subdomain, token: admin, body: audience }, 201)
    const wanted = { name: 'billing', permissions: ['session:read'] }
    if (subdomain === 'acme') key = (await done('/api/v1/api-keys', { at: subdomain, token: admin, body: wanted }, 201)).key
  }
}, 120_000)
afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

/** A new login of the administrator, for the API or for the tenant. */
async function tokensOf(resource?: string, subdomain = 'acme') {
  const form = new URLSearchParams({ grant_type: 'password', ...GRANT, ...(resource && { resource }) })
  const answer = await fetch(`http://${subdomain}.localhost:${port}/oauth/token`, { method: 'POST', body: form })
  const body: any = await answer.json()
  expect(answer.status, JSON.stringify(body)).toBe(200)
  return body as { access_token: string; refresh_token: string }
}

describe('openid-client', () => {
  it.each(['oauth2', 'oidc'] as const)(
    'finds the tenant by its metadata (%s), logs in, refreshes, asks, and revokes',
    async (algorithm) => {
      const found = { algorithm, execute: [openid.allowInsecureRequests] }
      const config = await openid.discovery(new URL(issuer), 'portal', undefined, openid.None(), found)
      expect(config.serverMetadata().supportsPKCE()).toBe(false)
      const first = await openid.genericGrantRequest(config, 'password', GRANT)
      expect(first).toMatchObject({ token_type: 'bearer', expires_in: 900 })
      const next = await openid.refreshTokenGrant(config, String(first.refresh_token))
      const sub = String(decodeJwt(next.access_token).sub)
      expect(await openid.fetchUserInfo(config, next.access_token, sub)).toMatchObject({ sub, email: ADMIN.email })
      const forApi = await openid.refreshTokenGrant(config, String(next.refresh_token), { resource: API })
      expect(decodeJwt(forApi.access_token)).toMatchObject({ aud: API, client_id: 'portal', scope: 'invoice:read' })

      const service = await openid.discovery(new URL(issuer), 'billing', undefined, openid.ClientSecretBasic(key), found)
      expect(await openid.tokenIntrospection(service, forApi.access_token)).toMatchObject({ active: true, aud: API, sub })
      await openid.tokenRevocation(config, String(forApi.refresh_token), { token_type_hint: 'refresh_token' })
      expect(await openid.tokenIntrospection(service, forApi.access_token)).toEqual({ active: false })
      await expect(openid.fetchUserInfo(config, next.access_token, sub)).rejects.toMatchObject({
        code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE',
      })
      await expect(openid.refreshTokenGrant(config, String(forApi.refresh_token))).rejects.toMatchObject({
        error: 'invalid_grant',
        status: 400,
      })
      await expect(openid.genericGrantRequest(config, 'password', { ...GRANT, password: 'Wrong-horse-9' })).rejects.toMatchObject(
        {
          error: 'invalid_grant',
        },
      )
    },
  )
})

describe('oauth4webapi', () => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const client = { client_id: 'portal' }

  async function server() {
    const answer = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure })
    return oauth.processDiscoveryResponse(new URL(issuer), answer)
  }

  it('logs in, refreshes, asks, introspects and revokes', async () => {
    const as = await server()
    const asked = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), 'password', GRANT, insecure)
    const first = await oauth.processGenericTokenEndpointResponse(as, client, asked)
    const refreshing = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), String(first.refresh_token), insecure)
    const next = await oauth.processRefreshTokenResponse(as, client, refreshing)
    const sub = String(decodeJwt(next.access_token).sub)
    const info = await oauth.userInfoRequest(as, client, next.access_token, insecure)
    expect(await oauth.processUserInfoResponse(as, client, sub, info)).toMatchObject({
      sub,
      tid: decodeJwt(next.access_token).tid,
    })
    const service = { client_id: 'billing' }
    const introspect = async () => {
      const answer = await oauth.introspectionRequest(as, service, oauth.ClientSecretBasic(key), next.access_token, insecure)
      return oauth.processIntrospectionResponse(as, service, answer)
    }
    expect(await introspect()).toMatchObject({ active: true, client_id: 'portal' })
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, oauth.None(), next.access_token, insecure))
    expect(await introspect()).toEqual({ active: false })
  })

  it('takes access tokens for what RFC 9068 says, and refuses those for somebody else', async () => {
    const as = await server()
    const request = async (resource?: string, subdomain?: string) =>
      new Request(API, { headers: { Authorization: `Bearer ${(await tokensOf(resource, subdomain)).access_token}` } })
    const claims = await oauth.validateJwtAccessToken(as, await request(API), API, insecure)
    expect(claims).toMatchObject({ iss: issuer, aud: API, client_id: 'freehold', scope: 'invoice:read' })
    await expect(oauth.validateJwtAccessToken(as, await request(), API, insecure)).rejects.toThrow()
    await expect(oauth.validateJwtAccessToken(as, await request(API, 'beta'), API, insecure)).rejects.toThrow()
  })
})

/** A server of an API that answers 200 to whom it lets in. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  stops.unshift(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

type Ask = (token: string) => Promise<number>
const asking =
  (url: string): Ask =>
  async (token) =>
    (await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).status

const verifiers: [string, () => Promise<Ask>][] = [
  [
    'jose',
    async () => {
      const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
      const options = { issuer, audience: API, typ: 'at+jwt', algorithms: ['ES256'], requiredClaims: ['jti', 'client_id'] }
      return (token) =>
        jwtVerify(token, keys, options).then(
          () => 200,
          () => 401,
        )
    },
  ],
  [
    'hono/jwk',
    async () => {
      const app = new Hono()
      app.use(
        jwk({
          jwks_uri: `${issuer}/.well-known/jwks.json`,
          alg: ['ES256'],
          verification: { iss: issuer, aud: API, typ: 'at+jwt' },
        }),
      )
      app.get('/', (c) => c.text('in'))
      return async (token) => (await app.request('/', { headers: { Authorization: `Bearer ${token}` } })).status
    },
  ],
  [
    'express-oauth2-jwt-bearer, strict',
    async () => {
      const app = express()
      app.use(auth({ issuerBaseURL: issuer, audience: API, strict: true }), requiredScopes('invoice:read'))
      app.get('/', (_, response) => void response.send('in'))
      app.use(((error, _, response, __) => void response.status(error.status ?? 500).end()) as express.ErrorRequestHandler)
      return asking(await serve(app))
    },
  ],
  [
    'passport-jwt with jwks-rsa',
    async () => {
      const app = express()
      const secretOrKeyProvider = passportJwtSecret({ jwksUri: `${issuer}/.well-known/jwks.json`, cache: true })
      const jwtFromRequest = ExtractJwt.fromAuthHeaderAsBearerToken()
      const options = { jwtFromRequest, secretOrKeyProvider, issuer, audience: API, algorithms: ['ES256' as const] }
      passport.use(new Strategy(options, (claims, let_in) => let_in(null, claims)))
      app.get('/', passport.authenticate('jwt', { session: false }), (_, response) => void response.send('in'))
      return asking(await serve(app))
    },
  ],
]

describe.each(verifiers)('%s', (_, start) => {
  it('lets in who has a token for the API, and nobody with another', async () => {
    const ask = await start()
    const { access_token } = await tokensOf(API)
    expect(await ask(access_token)).toBe(200)
    const [header, claims, signature] = access_token.split('.')
    const others = {
      'for the tenant itself': (await tokensOf()).access_token,
      'of another tenant': (await tokensOf(API, 'beta')).access_token,
      'with other claims': [
        header,
        btoa(JSON.stringify({ ...decodeJwt(access_token), sub: 'x' })).replace(/=+$/, ''),
        signature,
      ].join('.'),
      'without a signature': [btoa('{"alg":"none","typ":"at+jwt"}').replace(/=+$/, ''), claims, ''].join('.'),
    }
    for (const [about, token] of Object.entries(others)) expect(await ask(token), about).toBe(401)
  })
})
