import { sql } from 'drizzle-orm'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { forge, type Inside, inside, publishKey } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { ADMIN, type Answer, call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const URL_OF_ALPHA = 'http://alpha-tokens.freehold.test'
let alpha: Inside
let beta: Inside
let entered: Answer

beforeAll(async () => {
  await copyTenant('alpha-tokens')
  await copyTenant('beta-tokens')
  alpha = await inside('alpha-tokens')
  beta = await inside('beta-tokens')
  entered = await call('alpha-tokens', '/api/v1/auth/login', { body: ADMIN })
  expect(entered.status).toBe(200)
})

const jwks = async (at: string) => {
  const { body } = await call(at, '/.well-known/jwks.json')
  return { body, keys: createLocalJWKSet(body) }
}
const verified = async (token: string) =>
  (await jwtVerify(token, (await jwks('alpha-tokens')).keys, { issuer: URL_OF_ALPHA, audience: URL_OF_ALPHA, typ: 'at+jwt' }))
    .payload

describe('an access token', () => {
  it('is signed with ES256, says what it is and which key', () => {
    expect(decodeProtectedHeader(entered.body.access_token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: alpha.kid })
  })

  it('verifies against the published keys and holds what it should, and no more', async () => {
    const claims = await verified(entered.body.access_token)
    const now = Date.now() / 1000
    const whoami = (await call('alpha-tokens', '/api/v1/auth/whoami', { token: entered.body.access_token })).body
    expect(claims).toEqual({
      iss: URL_OF_ALPHA,
      aud: URL_OF_ALPHA,
      tid: alpha.id,
      sub: whoami.sub,
      uid: whoami.sub,
      sid: whoami.session.id,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      client_id: 'freehold',
      proof: expect.stringMatching(/^[0-9a-f]{64}$/),
      username: 'bo',
      email: ADMIN.email,
      role: 'admin',
      roles: ['admin'],
      // As many as travel: Freehold's own first.
      permissions: expect.arrayContaining(['user:create', 'role:update', 'unit:delete']),
      permissions_truncated: true,
      scope: (claims.permissions as string[]).join(' '),
      tenant: 'alpha-tokens',
      trace: entered.headers.get('X-Trace-Id'),
      auth_time: expect.any(Number),
      amr: ['pwd'],
      acr: 'aal1',
      iat: expect.any(Number),
      exp: (claims.iat ?? 0) + 900,
    })
    expect(Number.isInteger(claims.auth_time)).toBe(true)
    expect(claims.permissions).toHaveLength(100)
    expect(whoami.permissions).toEqual(expect.arrayContaining(claims.permissions as string[]))
    expect(Math.abs(now - Number(claims.auth_time))).toBeLessThan(10)
    expect(Math.abs(now - Number(claims.iat))).toBeLessThan(10)
    expect(entered.body.expires_in).toBe(900)
  })

  it('of a refresh keeps person, session and time of login, and has a trace of its own', async () => {
    const first = await verified(entered.body.access_token)
    const answer = await call('alpha-tokens', '/api/v1/auth/refresh-token', {
      body: { refresh_token: entered.body.refresh_token },
    })
    const { trace, iat, exp, jti, ...second } = await verified(answer.body.access_token)
    expect(first).toMatchObject(second)
    expect(jti).not.toBe(first.jti)
    expect(trace).toBe(answer.headers.get('X-Trace-Id'))
    expect(Number(exp) - Number(iat)).toBe(900)
  })

  it('of one tenant does not verify with the keys of another', async () => {
    const { keys, body } = await jwks('beta-tokens')
    await expect(jwtVerify(entered.body.access_token, keys)).rejects.toThrow()
    expect(body.keys[0].kid).not.toBe(alpha.kid)
    expect(body.keys[0].x).not.toBe(alpha.publicKey.x)
  })

  it('is not the same twice, nor is a refresh token', async () => {
    const [one, two] = [await login('beta-tokens'), await login('beta-tokens')]
    expect(one.access_token).not.toBe(two.access_token)
    expect(one.refresh_token).not.toBe(two.refresh_token)
  })
})

describe('the published keys', () => {
  it('are the public parts alone, may be cached by anybody, and cost no round trip', async () => {
    const answer = await call('alpha-tokens', '/.well-known/jwks.json')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      keys: [{ kty: 'EC', crv: 'P-256', x: expect.any(String), y: expect.any(String), kid: alpha.kid, alg: 'ES256', use: 'sig' }],
    })
    expectDiscreet(answer, String(alpha.privateKey.d))
    expect(answer.headers.get('Cache-Control')).toBe('public, max-age=60')
    expect([answer.trips, answer.master]).toEqual([0, 0])
  })

  it('are found on the base domain too, with X-Tenant', async () => {
    const answer = await call('', '/.well-known/jwks.json', { tenant: 'beta-tokens' })
    expect(answer.body.keys.map((key: { kid: string }) => key.kid)).toEqual([beta.kid])
  })

  it('are not those of a tenant that a token alone names: a cache would keep them for everybody', async () => {
    const { access_token } = await login('beta-tokens')
    const unsigned = ['{"alg":"none"}', '{"tenant":"beta-tokens"}', ''].map((part) => btoa(part).replaceAll('=', '')).join('.')
    for (const token of [unsigned, access_token])
      for (const path of ['jwks.json', 'openid-configuration']) {
        const headers = { Authorization: `Bearer ${token}` }
        expectProblem(await knock(`http://freehold.test/.well-known/${path}`, { headers }), 400, 'tenant_required')
      }
  })

  it('are not given for a token’s sake: the private part never leaves, whoever asks', async () => {
    const { access_token } = await login('alpha-tokens')
    const answer = await knock(`${URL_OF_ALPHA}/.well-known/jwks.json`, { headers: { Authorization: `Bearer ${access_token}` } })
    expect(answer.body.keys).toHaveLength(1)
    for (const key of answer.body.keys) expect(key).not.toHaveProperty('d')
  })
})

describe('a second key', () => {
  it('is believed as soon as it is published, and signs only from its time on', async () => {
    const next = await publishKey('beta-tokens', '1 hour')
    const before = await login('beta-tokens')
    expect(decodeProtectedHeader(before.access_token).kid).toBe(beta.kid)
    const { sub, sid } = decodeJwt(before.access_token) as { sub: string; sid: string }
    const early = await forge(beta, { sub, sid }, { header: { kid: next.kid }, key: next.privateKey })
    const answer = await call('beta-tokens', '/api/v1/auth/me', { token: early })
    expect([answer.status, answer.master]).toEqual([200, 1])
    const kids = (await call('beta-tokens', '/.well-known/jwks.json')).body.keys.map((key: { kid: string }) => key.kid)
    expect(kids.sort()).toEqual([beta.kid, next.kid].sort())
    expect(decodeProtectedHeader((await login('beta-tokens')).access_token).kid).toBe(beta.kid)
  })

  it('is asked for at most once in ten seconds, however many tokens name one that is not there', async () => {
    const asked = [...Array(6).keys()].map(async (i) => {
      const token = await forge(
        alpha,
        { sub: crypto.randomUUID(), sid: crypto.randomUUID() },
        { header: { kid: `made-up-${i}` } },
      )
      const answer = await call('alpha-tokens', '/api/v1/auth/me', { token })
      expect(answer.body.code).toBe('token_invalid')
      return answer.master
    })
    const looks = await Promise.all(asked)
    expect(looks.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(1)
  })
})

describe('the discovery document', () => {
  it('names this issuer, and places that answer', async () => {
    await alpha.asOwner(sql`update freehold.tenant set password_grant = true`)
    const answer = await call('alpha-tokens', '/.well-known/openid-configuration')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Cache-Control')).toMatch(/^public/)
    expect([answer.trips, answer.master]).toEqual([1, 0])
    expect(answer.body).toMatchObject({
      issuer: URL_OF_ALPHA,
      jwks_uri: `${URL_OF_ALPHA}/.well-known/jwks.json`,
      token_endpoint: `${URL_OF_ALPHA}/oauth/token`,
      userinfo_endpoint: `${URL_OF_ALPHA}/oauth/userinfo`,
      grant_types_supported: expect.arrayContaining(['password']),
    })
    expect((await knock(answer.body.jwks_uri)).status).toBe(200)
    const form = new URLSearchParams({ grant_type: 'password', username: ADMIN.email, password: ADMIN.password })
    const token = await knock(answer.body.token_endpoint, { method: 'POST', body: form })
    expect(token.status).toBe(200)
    const Authorization = `Bearer ${token.body.access_token}`
    expect((await knock(answer.body.userinfo_endpoint, { headers: { Authorization } })).body.email).toBe(ADMIN.email)
  })

  it('says the tenant’s URL also on the base domain', async () => {
    const answer = await call('', '/.well-known/openid-configuration', { tenant: 'beta-tokens' })
    expect(answer.body.issuer).toBe('http://beta-tokens.freehold.test')
  })
})
