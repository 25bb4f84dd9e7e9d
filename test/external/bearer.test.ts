/**
 * Access tokens of a provider as credentials. Threat: a token that is forged, of another issuer, tenant or client, or an ID token, lets
 * somebody in; or one goes on after its provider, identity or user was switched off.
 */
import { sql } from 'drizzle-orm'
import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { newAddress } from '../support/limiters.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addProvider, enter, type Made, makeProvider, patchProvider } from './cast.ts'

const AT = 'external-bearer'
const OTHER = 'external-bearer-too'
let realm: Inside
let admin: string
let cognito: Made
let oidc: Made
let plain: Made
let at: Record<'cognito' | 'oidc' | 'plain' | 'second', { id: string; name: string } & Record<string, unknown>>

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(OTHER)])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  ;[cognito, oidc, plain] = await Promise.all([makeProvider(), makeProvider(), makeProvider()])
  const more = { accepts_tokens: true, creates_users: true }
  // All of them before the first token: an isolate reads whose tokens count once in 30 seconds.
  at = {
    cognito: await addProvider(AT, admin, cognito.issuer, { type: 'cognito', ...more }),
    oidc: await addProvider(AT, admin, oidc.issuer, more),
    plain: await addProvider(AT, admin, plain.issuer, { creates_users: true }),
    second: await addProvider(AT, admin, oidc.issuer, { ...more, client_id: 'second' }),
  }
})

/** Somebody who logged in once by the ID token of the provider. */
async function known(provider: Made, name: string, sub: string) {
  const claims = { sub, email: `${sub.slice(0, 20)}@bearer.test`, email_verified: true }
  const entered = await enter(AT, name, await provider.token(provider === cognito ? { ...claims, token_use: 'id' } : claims))
  expect(entered.status, JSON.stringify(entered.body)).toBe(200)
  const { body } = await call(AT, '/api/v1/auth/whoami', { token: entered.body.access_token })
  return body as { sub: string; username: string }
}
const JWT = { typ: 'at+jwt' }
const ofCognito = (sub: string, claims: object = {}) =>
  cognito.token({ sub, token_use: 'access', client_id: 'client', scope: 'api', ...claims }, { without: ['aud', 'nonce'] })
const ofOidc = (sub: string, claims: object = {}, header: object = JWT) =>
  oidc.token({ sub, ...claims }, { header: { ...header } })
const ask = (token: string, path = '/auth/whoami', more: object = {}, where = AT) =>
  call(where, `/api/v1${path}`, { token, ...more, headers: { 'CF-Connecting-IP': newAddress() } })

describe('an access token of a provider', () => {
  it('of Cognito, without `aud`, is a credential in one round trip, and its `sub` is the id of the user', async () => {
    const sub = crypto.randomUUID()
    expect((await known(cognito, at.cognito.name, sub)).sub).toBe(sub)
    const answer = await ask(await ofCognito(sub))
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 1])
    expect(answer.body).toMatchObject({ sub, roles: ['user'], session: null, api_key: null, impersonated_by: null })
    expect(Date.parse(answer.body.expires_at)).toBeGreaterThan(Date.now() + 500_000)
    const changed = await ask(await ofCognito(sub), `/users/${sub}`, { method: 'PATCH', body: { given_name: 'Bea' } })
    expect([changed.status, changed.trips]).toEqual([200, 1])
    const [entry] = await realm.asOwner(
      sql`select l.user_id from freehold.audit_log l where l.activity_type = 'PROFILE_UPDATE' and l.resource_id = ${sub}`,
    )
    expect(entry?.user_id).toBe(sub)
  })

  it('of any issuer is one as RFC 9068 has it, for the client or for the tenant', async () => {
    const who = await known(oidc, at.oidc.name, 'ann')
    expect((await ask(await ofOidc('ann'))).body.sub).toBe(who.sub)
    expect((await ask(await ofOidc('ann', { aud: ['elsewhere', realm.url] }))).body.sub).toBe(who.sub)
    // Another client of the same issuer, of whom nobody here has an identity.
    expectProblem(await ask(await ofOidc('ann', { aud: 'second' })), 401, 'token_invalid')
  })

  it.each<[string, () => Promise<string>, string?]>([
    ['for another client', () => ofOidc('ann', { aud: 'other' })],
    ['for another client of Cognito', () => ofCognito('x', { client_id: 'other' })],
    ['that is an ID token', () => oidc.token({ sub: 'ann' })],
    ['that is an ID token of Cognito', () => cognito.token({ sub: 'x', token_use: 'id', client_id: 'client' })],
    ['that has expired', () => ofOidc('ann', { iat: 1_700_000_000, exp: 1_700_000_600 }), 'token_expired'],
    ['of the future', () => ofOidc('ann', { iat: Math.floor(Date.now() / 1000) + 3600 })],
    ['that lives for a year', () => ofOidc('ann', { exp: Math.floor(Date.now() / 1000) + 31_536_000 })],
    ['of nobody', () => ofOidc('')],
    ['of a subject without an identity here', () => ofOidc('stranger')],
    ['of a provider whose tokens are not taken', () => plain.token({ sub: 'ann' }, { header: { typ: 'at+jwt' } })],
    ['of an issuer that nobody set', () => oidc.token({ iss: 'https://evil.example', sub: 'ann' }, { header: JWT })],
    [
      'that nobody signed',
      async () =>
        new UnsecuredJWT({ iss: oidc.issuer, aud: 'client', sub: 'ann' }).setIssuedAt().setExpirationTime('5m').encode(),
    ],
    [
      'that the public key signed as a secret',
      async () => {
        const { publicKey } = await generateKeyPair('RS256', { extractable: true })
        const secret = new TextEncoder().encode(await exportSPKI(publicKey))
        const header = { alg: 'HS256', kid: oidc.keys[0]?.kid ?? '', typ: 'at+jwt' }
        return new SignJWT({ iss: oidc.issuer, aud: 'client', sub: 'ann' })
          .setProtectedHeader(header)
          .setIssuedAt()
          .setExpirationTime('5m')
          .sign(secret)
      },
    ],
    [
      'that another key signed under its id',
      async () => {
        const { privateKey } = await generateKeyPair('RS256')
        const header = { alg: 'RS256', kid: oidc.keys[0]?.kid ?? '', typ: 'at+jwt' }
        return new SignJWT({ iss: oidc.issuer, aud: 'client', sub: 'ann' })
          .setProtectedHeader(header)
          .setIssuedAt()
          .setExpirationTime('5m')
          .sign(privateKey)
      },
    ],
  ])('%s is refused', async (_, made, code = 'token_invalid') => {
    expectProblem(await ask(await made()), 401, code)
  })

  it('of one tenant is none of another', async () => {
    expectProblem(await ask(await ofOidc('ann'), '/auth/whoami', {}, OTHER), 401, 'token_invalid')
  })

  it('does nothing that takes a login here, and is no cookie and no refresh token', async () => {
    await known(oidc, at.oidc.name, 'cay')
    const token = await ofOidc('cay')
    expectProblem(await ask(token, '/sessions'), 403, 'forbidden')
    expectProblem(await ask(token, '/api-keys', { body: { name: 'k', permissions: ['user:read'] } }), 403, 'forbidden')
    expectProblem(await ask(token, '/auth/step-up', { body: { password: 'x' } }), 403, 'forbidden')
    expectProblem(
      await ask(token, '/auth/refresh-token', { body: { refresh_token: token.slice(0, 500) } }),
      401,
      'refresh_invalid',
    )
    // Two factors are asked for.
    expectProblem(await ask(token, `/users/${crypto.randomUUID()}/reset-mfa`, { method: 'POST' }), 403, 'forbidden')
  })

  it('ends with the identity, the user, the setting and the provider, at the next request', async () => {
    const who = await known(oidc, at.oidc.name, 'dee')
    const token = await ofOidc('dee')
    const works = async () => (await ask(token)).status
    expect(await works()).toBe(200)
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${who.sub}`)
    expectProblem(await ask(token), 403, 'user_inactive')
    await realm.asOwner(sql`update freehold.users set is_active = true where id = ${who.sub}`)
    expect(await works()).toBe(200)
    for (const off of [{ accepts_tokens: false }, { is_enabled: false }]) {
      expect((await patchProvider(AT, admin, at.oidc.id, off)).status).toBe(200)
      expectProblem(await ask(token), 401, 'token_invalid')
      expect((await patchProvider(AT, admin, at.oidc.id, { accepts_tokens: true, is_enabled: true })).status).toBe(200)
    }
    expect(await works()).toBe(200)
    await realm.asOwner(sql`delete from freehold.external_identities where user_id = ${who.sub}`)
    expectProblem(await ask(token), 401, 'token_invalid')
  })

  it('is one of many at once, and each is admitted', async () => {
    const who = await known(oidc, at.oidc.name, 'eve')
    const token = await ofOidc('eve')
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(token)))
    expect(new Set(all.map(({ status, body }) => `${status} ${body.sub}`))).toEqual(new Set([`200 ${who.sub}`]))
  })
})

describe('the setting', () => {
  it('is off by default, takes every permission, and is refused where access tokens cannot be verified', async () => {
    expect(at.plain.accepts_tokens).toBe(false)
    const body = {
      name: 'google-b',
      type: 'google',
      issuer: 'https://accounts.google.com',
      client_id: 'c',
      label: 'G',
      accepts_tokens: true,
    }
    const answer = await call(AT, '/api/v1/settings/providers', { token: admin, body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/accepts_tokens'])
  })

  it('does not let the app login say that a token was verified', async () => {
    const credential = { provider: at.oidc.id, issuer: oidc.issuer, subject: 'eve', system_key: 'guessed' }
    await expect(
      realm.asOwner(sql`select access.admit(${realm.id}, ${JSON.stringify(credential)}::jsonb, null, '{}'::jsonb)`),
    ).rejects.toThrow()
    const right = { ...credential, system_key: realm.system_key }
    const [row] = await realm.asOwner(
      sql`select access.admit(${realm.id}, ${JSON.stringify(right)}::jsonb, null, '{}'::jsonb) as admitted`,
    )
    expect(row?.admitted).toMatchObject({ session_id: null, scope: 'own' })
  })
})
