/** Threat: forged, altered, borrowed and foreign tokens. Each row is one attack on GET /api/v1/auth/me. */
import { encodeBase64urlNoPadding } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import { CompactEncrypt, decodeJwt, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, forge, type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const ME = 'http://forged.freehold.test/api/v1/auth/me'
const now = () => Math.floor(Date.now() / 1000)
const text = (words: string) => new TextEncoder().encode(words)
const base64url = (data: string | Uint8Array) => encodeBase64urlNoPadding(typeof data === 'string' ? text(data) : data)

let realm: Inside
let other: Inside
let real: string
let foreign: string
let bo: { sub: string; sid: string }
let cy: { sub: string; sid: string }
let own: { public: JWK; private: JWK }

beforeAll(async () => {
  await copyTenant('forged')
  await copyTenant('forgers')
  realm = await inside('forged')
  other = await inside('forgers')
  real = await tokenOf('forged')
  foreign = await tokenOf('forgers')
  const person = await addPerson(realm, 'cy')
  await call('forged', '/api/v1/auth/login', { body: { username: 'cy', password: person.password } })
  const sessions = await realm.asOwner(sql`select user_id as sub, id as sid from freehold.sessions order by created_at`)
  ;[bo, cy] = sessions as [typeof bo, typeof cy]
  const pair = await generateKeyPair('ES256', { extractable: true })
  own = { public: await exportJWK(pair.publicKey), private: await exportJWK(pair.privateKey) }
})

const asked = (headers: HeadersInit) => knock(ME, { headers })
const bearing = (token: string) => asked({ Authorization: `Bearer ${token}` })
const part = (i: number) => real.split('.')[i] ?? ''
/** Another algorithm's token, with the real one's claims and key id. */
const signedWith = (alg: string, key: CryptoKey | Uint8Array) =>
  new SignJWT(decodeJwt(real)).setProtectedHeader({ alg, typ: 'at+jwt', kid: realm.kid }).sign(key)
const unsigned = (alg: string, signature = '') =>
  `${base64url(JSON.stringify({ alg, typ: 'at+jwt', kid: realm.kid }))}.${part(1)}.${signature}`

async function rawPublicKey(format: 'raw' | 'spki') {
  const key = (await importJWK(realm.publicKey, 'ES256', { extractable: true })) as CryptoKey
  return new Uint8Array((await crypto.subtle.exportKey(format, key)) as ArrayBuffer)
}
const pem = (der: Uint8Array) => `-----BEGIN PUBLIC KEY-----\n${btoa(String.fromCharCode(...der))}\n-----END PUBLIC KEY-----\n`

it('the same claims with the realm’s own key are let in, so that every row below is refused for its own reason', async () => {
  expect((await bearing(await forge(realm, bo))).status).toBe(200)
  expect((await bearing(await forge(realm, cy))).status).toBe(200)
})

describe('without a token', () => {
  it.each<[string, HeadersInit]>([
    ['no header', {}],
    ['an empty header', { Authorization: '' }],
    ['the scheme alone', { Authorization: 'Bearer' }],
    ['the scheme and spaces', { Authorization: 'Bearer   ' }],
  ])('%s is token_missing', async (_, headers) => expectProblem(await asked(headers), 401, 'token_missing'))

  it('one in the query string, in a cookie or in a body is none', async () => {
    expectProblem(await knock(`${ME}?access_token=${real}&token=${real}`), 401, 'token_missing')
    expectProblem(await asked({ Cookie: `access_token=${real}; __Host-access=${real}` }), 401, 'token_missing')
  })
})

describe('two credentials', () => {
  it('are refused, whether equal or not', async () => {
    for (const second of [real, foreign]) {
      const headers = new Headers({ Authorization: `Bearer ${real}` })
      headers.append('Authorization', `Bearer ${second}`)
      expectProblem(await asked(headers), 400, 'credentials_ambiguous')
    }
  })
})

describe('token_invalid:', () => {
  const rows: [string, () => string | Promise<string>][] = [
    ['garbage', () => 'garbage'],
    ['three dots', () => '...'],
    ['not base64', () => `${part(0)}.!!!.${part(2)}`],
    ['two tokens', () => `${real} ${real}`],
    ['a long one', () => 'a'.repeat(12_000)],
    ['alg none', () => unsigned('none')],
    ['alg None', () => unsigned('None')],
    ['alg NONE with a signature', () => unsigned('NONE', part(2))],
    ['no alg', () => `${base64url(JSON.stringify({ typ: 'at+jwt', kid: realm.kid }))}.${part(1)}.${part(2)}`],
    ['HS256 with the public key as JWK text', () => signedWith('HS256', text(JSON.stringify(realm.publicKey)))],
    ['HS256 with the public key as raw bytes', async () => signedWith('HS256', await rawPublicKey('raw'))],
    ['HS256 with the public key as DER', async () => signedWith('HS256', await rawPublicKey('spki'))],
    ['HS256 with the public key as PEM', async () => signedWith('HS256', text(pem(await rawPublicKey('spki'))))],
    ['HS256 with an empty-looking key', () => signedWith('HS256', new Uint8Array(32))],
    ['RS256', async () => signedWith('RS256', (await generateKeyPair('RS256')).privateKey)],
    ['ES384', async () => signedWith('ES384', (await generateKeyPair('ES384')).privateKey)],
    ['EdDSA', async () => signedWith('EdDSA', (await generateKeyPair('EdDSA')).privateKey)],
    ['a signature of zeros', () => `${part(0)}.${part(1)}.${base64url(new Uint8Array(64))}`],
    ['the signature stripped', () => `${part(0)}.${part(1)}.`],
    ['the signature left out', () => `${part(0)}.${part(1)}`],
    ['one bit of the signature', () => `${part(0)}.${part(1)}.${part(2).startsWith('A') ? 'B' : 'A'}${part(2).slice(1)}`],
    [
      'the payload changed',
      () => `${part(0)}.${base64url(JSON.stringify({ ...decodeJwt(real), sub: cy.sub, sid: cy.sid }))}.${part(2)}`,
    ],
    [
      'encrypted instead of signed',
      () =>
        new CompactEncrypt(text(JSON.stringify(decodeJwt(real))))
          .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
          .encrypt(new Uint8Array(32)),
    ],
    ['somebody’s own key under the real key id', () => forge(realm, bo, { key: own.private })],
    ['somebody’s own key, in a jwk header', () => forge(realm, bo, { key: own.private, header: { jwk: own.public } })],
    [
      'somebody’s own key, behind a jku header',
      () => forge(realm, bo, { key: own.private, header: { jku: 'http://forgers.freehold.test/.well-known/jwks.json' } }),
    ],
    ['a jwk header and no key id', () => forge(realm, bo, { key: own.private, header: { jwk: own.public, kid: undefined } })],
    ['another tenant’s key under its own id', () => forge(realm, bo, { key: other.privateKey, header: { kid: other.kid } })],
    ['another tenant’s key under our id', () => forge(realm, bo, { key: other.privateKey })],
    ['an unknown key id', () => forge(realm, bo, { header: { kid: 'unknown' } })],
    ['a key id that is a path', () => forge(realm, bo, { header: { kid: '../../dev/null' } })],
    ['no key id', () => forge(realm, bo, { header: { kid: undefined } })],
    ['typ JWT', () => forge(realm, bo, { header: { typ: 'JWT' } })],
    ['no typ', () => forge(realm, bo, { header: { typ: undefined } })],
    ['not yet valid', () => forge(realm, bo, { claims: { nbf: now() + 60 } })],
    ['never ending', () => forge(realm, bo, { without: ['exp'] })],
    ['an end that is text', () => forge(realm, bo, { claims: { exp: 'tomorrow' as unknown as number } })],
    ['no time of issue', () => forge(realm, bo, { without: ['iat'] })],
    ['another tenant’s iss', () => forge(realm, bo, { claims: { iss: other.url } })],
    ['iss with a slash', () => forge(realm, bo, { claims: { iss: `${realm.url}/` } })],
    ['iss of the platform', () => forge(realm, bo, { claims: { iss: 'http://freehold.test' } })],
    ['no iss', () => forge(realm, bo, { without: ['iss'] })],
    ['another tenant’s aud', () => forge(realm, bo, { claims: { aud: other.url } })],
    ['no aud', () => forge(realm, bo, { without: ['aud'] })],
    ['no tid', () => forge(realm, bo, { without: ['tid'] })],
    ['a tid that is a number', () => forge(realm, bo, { claims: { tid: 7 } })],
    ['a tid that is a list with another tenant’s', () => forge(realm, bo, { claims: { tid: [other.id] } })],
    ['no sid', () => forge(realm, bo, { without: ['sid'] })],
    ['a sid that is no UUID', () => forge(realm, bo, { claims: { sid: "' or true --" } })],
    ['no sub', () => forge(realm, bo, { without: ['sub'] })],
    ['a sub that is no UUID', () => forge(realm, bo, { claims: { sub: 'bo' } })],
  ]
  it.each(rows)('%s', async (_, make) => {
    const answer = await bearing(await make())
    expectProblem(answer, 401, 'token_invalid')
    expect(answer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"')
    expect(answer.headers.get('Server-Timing')).toContain('db;desc="0"')
  })

  it.each(['Basic Ym86Ym8=', 'Token x', 'Digest username="bo"', 'bearer-of x'])(
    '%s is not a scheme of ours',
    async (Authorization) => expectProblem(await asked({ Authorization }), 401, 'token_invalid'),
  )
})

describe('a token of its time and place only:', () => {
  it.each<[string, string, () => string | Promise<string>]>([
    ['an expired one', 'token_expired', () => forge(realm, bo, { claims: { iat: now() - 960, exp: now() - 60 } })],
    ['one expired by more than the clocks may differ', 'token_expired', () => forge(realm, bo, { claims: { exp: now() - 7 } })],
    ['another tenant’s', 'token_wrong_tenant', () => foreign],
    [
      'another tenant’s, said to be ours',
      'token_wrong_tenant',
      () => forge(other, bo, { claims: { iss: realm.url, aud: realm.url, tenant: 'forged' } }),
    ],
    ['an operator’s', 'token_wrong_tenant', operatorToken],
    ['the sid of another person', 'session_ended', () => forge(realm, { sub: bo.sub, sid: cy.sid })],
    ['the sub of another person', 'session_ended', () => forge(realm, { sub: cy.sub, sid: bo.sid })],
    ['a session that never was', 'session_ended', () => forge(realm, { sub: bo.sub, sid: crypto.randomUUID() })],
  ])('%s is %s', async (_, code, make) => expectProblem(await bearing(await make()), 401, code))

  it('a tenant’s token on the platform', async () => {
    expectProblem(await call('', '/platform/v1/auth/me', { token: real }), 401, 'token_wrong_tenant')
    expectProblem(await call('', '/platform/v1/tenants', { token: real }), 401, 'token_wrong_tenant')
  })
})
