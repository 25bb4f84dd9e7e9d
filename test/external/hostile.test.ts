/**
 * Tokens and documents of providers that mean harm, or that somebody forged. Threat: somebody is whom they say, because a token was looked at
 * less than it should be; or a provider makes the Worker ask where it should not, wait, or read without end.
 */

import { sql } from 'drizzle-orm'
import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addProvider, askedUnder, enter, type Made, makeProvider, NONCE, plant } from './cast.ts'

const AT = 'external-hostile'
/** A tenant has 20 providers. */
const DOCUMENTS = 'external-documents'
const here = inject('providers').url
let realm: Inside
let admin: string
let provider: Made
let name: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant(DOCUMENTS), copyTenant('external-hostile-too')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  provider = await makeProvider()
  name = (await addProvider(AT, admin, provider.issuer, { creates_users: true, links_by_email: true })).name
})
afterEach(() => void vi.useRealTimers())

const PERSON = { email: 'mal@people.test', email_verified: true }
const lastReason = async () => {
  const [entry] = await realm.asOwner(
    sql`select d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.activity_type = 'LOGIN_FAILED' order by l.at desc, l.id limit 1`,
  )
  return entry?.reason
}
async function expectRefused(id_token: string, reason: string, at = name, more: Record<string, unknown> = {}) {
  const answer = await enter(AT, at, id_token, more)
  expectProblem(answer, 401, 'invalid_credentials', reason)
  expectDiscreet(answer)
  expect(await lastReason()).toBe(reason)
  return answer
}
const now = () => Math.floor(Date.now() / 1000)

describe('a token is refused', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['for another client', { aud: 'other' }, 'wrong_aud'],
    ['for several clients, that is another’s', { aud: ['client', 'other'], azp: 'other' }, 'wrong_party'],
    ['for our client, that another asked for', { azp: 'other' }, 'wrong_party'],
    ['for several clients, that is nobody’s', { aud: ['client', 'other'] }, 'wrong_party'],
    ['of another issuer', { iss: 'https://elsewhere.example' }, 'wrong_iss'],
    ['of another login', { nonce: 'another-nonce-of-a-login' }, 'wrong_nonce'],
    ['that has expired', { iat: now() - 7200, exp: now() - 3600 }, 'expired'],
    ['that is not valid yet', { nbf: now() + 3600, exp: now() + 7200 }, 'wrong_nbf'],
    ['that was made in the future', { iat: now() + 3600, exp: now() + 7200 }, 'of_the_future'],
    ['that lives for a year', { exp: now() + 365 * 86_400 }, 'lives_too_long'],
    ['of nobody', { sub: '' }, 'no_subject'],
    ['of a subject that is no text', { sub: 7 }, 'no_subject'],
    ['of a subject of 300 characters', { sub: 'x'.repeat(300) }, 'no_subject'],
  ])('%s', async (_, claims, reason) => {
    await expectRefused(await provider.token({ ...PERSON, ...claims } as never), reason)
  })

  it.each(['iss', 'aud', 'exp', 'iat', 'sub', 'nonce'])('without %s', async (claim) => {
    const token = await provider.token(PERSON, { without: [claim] })
    await expectRefused(token, claim === 'nonce' ? 'wrong_nonce' : `wrong_${claim}`)
  })

  it('that nobody sent a nonce with', async () => {
    expectProblem(
      await call(AT, `/api/v1/auth/external/${name}`, {
        body: { id_token: await provider.token(PERSON, { without: ['nonce'] }) },
      }),
      401,
      'invalid_credentials',
    )
    expect(await lastReason()).toBe('no_nonce')
  })

  it('that is not signed, or says that it need not be', async () => {
    const claims = { ...PERSON, iss: provider.issuer, aud: 'client', sub: 'mal', nonce: NONCE, iat: now(), exp: now() + 600 }
    const unsigned = new UnsecuredJWT(claims).encode()
    await expectRefused(unsigned, 'not_a_token')
    await expectRefused(`${unsigned}AAAA`, 'wrong_algorithm')
    const token = await provider.token(PERSON)
    await expectRefused(`${token.slice(0, token.lastIndexOf('.'))}.`, 'not_a_token')
    await expectRefused(`${token.slice(0, -8)}AAAAAAAA`, 'wrong_signature')
  })

  it('that is signed with the public key as if that were a secret (HS256), in whatever form', async () => {
    const { jwk, kid } = provider.keys[0] as Made['keys'][number]
    const pair = await generateKeyPair('RS256', { extractable: true })
    const claims = { ...PERSON, nonce: NONCE }
    for (const secret of [JSON.stringify(jwk), String(jwk.n), await exportSPKI(pair.publicKey)]) {
      const forged = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid })
        .setIssuer(provider.issuer)
        .setAudience('client')
        .setSubject('mal')
        .setIssuedAt()
        .setExpirationTime('10m')
        .sign(new TextEncoder().encode(secret))
      await expectRefused(forged, 'wrong_algorithm')
    }
  })

  it('that brings its own key, or says where it lies', async () => {
    const pair = await generateKeyPair('RS256', { extractable: true })
    const other = await makeProvider()
    const { jwk } = other.keys[0] as Made['keys'][number]
    const { kid } = provider.keys[0] as Made['keys'][number]
    for (const header of [{ jwk }, { jku: `${here}${other.path}/jwks` }, { x5u: `${here}${other.path}/jwks` }]) {
      const forged = await new SignJWT({ ...PERSON, nonce: NONCE })
        .setProtectedHeader({ alg: 'RS256', kid, ...header } as never)
        .setIssuer(provider.issuer)
        .setAudience('client')
        .setSubject('mal')
        .setIssuedAt()
        .setExpirationTime('10m')
        .sign(pair.privateKey)
      await expectRefused(forged, 'wrong_signature')
    }
    expect(await askedUnder(other.path)).toEqual([])
  })

  it('by a key of the provider that is for encryption, symmetric, or of another curve', async () => {
    for (const more of [{ use: 'enc' }, { kty: 'oct', k: 'c2VjcmV0' }, { alg: 'ES256' }]) {
      const odd = await makeProvider()
      odd.keys.length = 0
      await odd.rotate(more)
      const at = await addProvider(AT, admin, odd.issuer, { creates_users: true })
      await expectRefused(await odd.token(PERSON), 'wrong_signature', at.name)
    }
  })

  it('that is an access token of the same provider', async () => {
    await expectRefused(await provider.token(PERSON, { header: { typ: 'at+jwt' } }), 'wrong_type')
  })

  it('of the same provider at another tenant that has not set it', async () => {
    const { body } = await call('external-hostile-too', `/api/v1/auth/external/${name}`, {
      body: { id_token: await provider.token(PERSON), nonce: NONCE },
    })
    expect(body.code).toBe('not_found')
  })
})

describe('each type of provider has its rules', () => {
  const typed = async (type: string, more: Record<string, unknown> = {}, made = provider) =>
    (await addProvider(AT, admin, made.issuer, { type, creates_users: true, ...more })).name
  let people = 0
  const somebody = () => ({ sub: `t${people}`, email: `typed-${people++}@gmail.com`, email_verified: true })

  it('Entra: the issuer has the id of the directory, which is a claim; a key may be of one directory alone', async () => {
    const end = '/organizations/v2.0'
    const entra = await makeProvider({ end })
    const place = entra.issuer.replace('organizations', '{tenantid}')
    await entra.describe({ issuer: place })
    const tid = crypto.randomUUID()
    const iss = place.replace('{tenantid}', tid)
    const at = await typed('entra', {}, entra)
    const claims = () => ({ ...somebody(), xms_edov: true })
    expect((await enter(AT, at, await entra.token({ ...claims(), iss, tid }))).status).toBe(200)
    await expectRefused(await entra.token({ ...claims(), iss, tid: crypto.randomUUID() }), 'wrong_iss', at)
    await expectRefused(await entra.token({ ...claims(), iss }), 'wrong_iss', at)
    await expectRefused(await entra.token({ ...claims(), iss: place, tid: '{tenantid}' }), 'wrong_iss', at)
    // Whoever administers a directory writes addresses into it as they like.
    await expectRefused(await entra.token({ ...somebody(), iss, tid }), 'email_unverified', at)
    const single = await makeProvider({ end })
    await single.describe({ issuer: single.issuer.replace('organizations', '{tenantid}') })
    single.keys.length = 0
    await single.rotate({ issuer: single.issuer.replace('organizations', crypto.randomUUID()) })
    const own = { ...claims(), iss: single.issuer.replace('organizations', tid), tid }
    await expectRefused(await single.token(own), 'key_of_another', await typed('entra', {}, single))
  })

  it('Cognito: an access token, which has no aud, is none', async () => {
    const at = await typed('cognito')
    expect((await enter(AT, at, await provider.token({ ...somebody(), token_use: 'id' }))).status).toBe(200)
    await expectRefused(await provider.token({ ...somebody(), token_use: 'access' }), 'wrong_token_use', at)
    const access = await provider.token({ ...somebody(), token_use: 'access', client_id: 'client' }, { without: ['aud'] })
    await expectRefused(access, 'wrong_aud', at)
  })

  it('Firebase: no nonce is needed, and the login was before now', async () => {
    const at = await typed('firebase')
    const token = (more: object) => provider.token({ ...somebody(), ...more }, { without: ['nonce'] })
    const without = (id_token: string) => enter(AT, at, id_token, { nonce: undefined })
    expect((await without(await token({ auth_time: now() - 5 }))).status).toBe(200)
    expectProblem(await without(await token({ auth_time: now() + 3600 })), 401, 'invalid_credentials')
    expectProblem(await without(await token({})), 401, 'invalid_credentials')
    expect(await lastReason()).toBe('wrong_auth_time')
  })

  it('Google: an address counts that is its own, or of the organization in hd', async () => {
    const at = await typed('google', { allowed_domains: ['acme.example', 'gmail.com'] })
    expect((await enter(AT, at, await provider.token(somebody()))).status).toBe(200)
    const staff = (hd?: string) => ({ ...somebody(), email: `staff-${people++}@acme.example`, ...(hd && { hd }) })
    expect((await enter(AT, at, await provider.token(staff('acme.example')))).status).toBe(200)
    await expectRefused(await provider.token(staff()), 'domain_not_allowed', at)
    await expectRefused(await provider.token(staff('other.example')), 'domain_not_allowed', at)
    await expectRefused(
      await provider.token({ ...somebody(), email: 'x@other.example', hd: 'other.example' }),
      'domain_not_allowed',
      at,
    )
  })

  it('any: an address that another claim has is not what the provider verified', async () => {
    const at = await typed('oidc', { claims: { email: 'upn' } })
    await expectRefused(await provider.token({ ...somebody(), upn: 'upn@people.test' }), 'email_unverified', at)
  })
})

describe('the documents of a provider', () => {
  let owner: string
  beforeAll(async () => {
    owner = await tokenOf(DOCUMENTS)
  })
  const claims = { ...PERSON, sub: 'documents' }
  const loginAt = async (made: Made) => {
    const at = await addProvider(DOCUMENTS, owner, made.issuer, { creates_users: true })
    return enter(DOCUMENTS, at.name, await made.token(claims))
  }

  it.each<[string, (made: Made) => Promise<unknown>]>([
    [
      'redirect to this machine',
      (made) =>
        plant({
          path: `${made.path}/.well-known/openid-configuration`,
          status: 302,
          headers: { Location: `${here}${provider.path}/.well-known/openid-configuration` },
        }),
    ],
    ['are not there', (made) => plant({ path: `${made.path}/.well-known/openid-configuration`, status: 404 })],
    ['fail', (made) => plant({ path: `${made.path}/jwks`, status: 500 })],
    ['are no JSON', (made) => plant({ path: `${made.path}/jwks`, body: '<html>' })],
    ['are not what they should be', (made) => plant({ path: `${made.path}/jwks`, body: '{"keys": {}}' })],
    [
      'have a thousand keys',
      (made) => plant({ path: `${made.path}/jwks`, body: JSON.stringify({ keys: Array(1000).fill({}) }) }),
    ],
    ['are of another issuer', (made) => made.describe({ issuer: provider.issuer })],
    ['have more than 64 KiB', (made) => plant({ path: `${made.path}/jwks`, body: '{"keys": []}', bytes: 65 * 1024 })],
    ['have keys inside of a network', (made) => made.describe({ jwks_uri: 'http://169.254.169.254/latest/meta-data/' })],
    ['have keys on a host by its number', (made) => made.describe({ jwks_uri: 'https://2130706434/keys' })],
    ['take longer than three seconds', (made) => plant({ path: `${made.path}/jwks`, body: '{"keys": []}', delay_ms: 4_000 })],
  ])('that %s make this login wait, and no other', async (_, spoil) => {
    const made = await makeProvider()
    await spoil(made)
    const before = Date.now()
    const answer = await loginAt(made)
    expectProblem(answer, 503, 'provider_unavailable')
    expect(answer.headers.get('Retry-After')).not.toBeNull()
    expect(Date.now() - before).toBeLessThan(3_900)
    expectDiscreet(answer, here)
    const good = await enter(
      AT,
      name,
      await provider.token({ ...PERSON, sub: `other-${_}`, email: `${crypto.randomUUID()}@people.test` }),
    )
    expect(good.status).toBe(200)
  })

  it('are asked for again for a new key, once a minute, whatever keys tokens name', async () => {
    const made = await makeProvider()
    const at = await addProvider(DOCUMENTS, owner, made.issuer, { creates_users: true })
    expect(
      (await enter(DOCUMENTS, at.name, await made.token({ ...claims, sub: 'rotating', email: 'rotating@people.test' }))).status,
    ).toBe(200)
    await made.rotate()
    const asked = async () => (await askedUnder(`${made.path}/jwks`)).length
    for (let i = 0; i < 5; i++)
      expectProblem(
        await enter(DOCUMENTS, at.name, await made.token({ ...claims, jti: String(i) }, { header: { kid: `made-up-${i}` } })),
        401,
        'invalid_credentials',
      )
    expect(await asked()).toBe(1)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
    const later = await Promise.all(
      Array.from({ length: 8 }, async (_, i) =>
        enter(DOCUMENTS, at.name, await made.token({ sub: 'rotating', jti: `later-${i}` })),
      ),
    )
    expect(new Set(later.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await asked()).toBe(2)
  })

  it('go on to count while their provider is away', async () => {
    const made = await makeProvider()
    const at = await addProvider(DOCUMENTS, owner, made.issuer, { creates_users: true })
    const token = (jti: string) => made.token({ ...claims, sub: 'away', email: 'away@people.test', jti })
    expect((await enter(DOCUMENTS, at.name, await token('1'))).status).toBe(200)
    await plant({ path: `${made.path}/jwks`, status: 500 })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 15 * 60_000 })
    expect((await enter(DOCUMENTS, at.name, await token('2'))).status).toBe(200)
  })
})

describe('a body', () => {
  it.each<[string, unknown, string]>([
    ['without a token', {}, '#/id_token'],
    ['with a token that is no text', { id_token: 7, nonce: NONCE }, '#/id_token'],
    ['with a token of 13,000 characters', { id_token: 'x'.repeat(13_000), nonce: NONCE }, '#/id_token'],
    ['with a short nonce', { id_token: 'x', nonce: 'x' }, '#/nonce'],
    ['with a field that nobody knows', { id_token: 'x', nonce: NONCE, user: 'bo' }, '#/user'],
  ])('%s is not valid', async (_, body, pointer) => {
    expectProblem(await call(AT, `/api/v1/auth/external/${name}`, { body }), 400, 'invalid_request', pointer)
  })

  it('may be any text, which is then no token', async () => {
    for (const id_token of [
      'x',
      'a.b.c',
      `${'e'.repeat(4000)}.e30.e30`,
      '\u{1f511}.\u{1f511}.x',
      'eyJhbGciOiJSUzI1NiJ9..x',
      'bnVsbA.bnVsbA.bnVsbA',
    ])
      expectProblem(await enter(AT, name, id_token), 401, 'invalid_credentials', id_token)
  })
})
