/** Passkeys through the API: registered, used without a name, renamed, removed; and everything that is not accepted. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { CHALLENGE_SECONDS, newChallenge, type Purpose } from '../../src/passkeys/challenge.ts'
import { lookUp } from '../../src/tenants/registry/registry.ts'
import { databaseOf, refusalOf, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person, takePassword } from '../support/inside.ts'
import { nameOf, newJar, originOf } from '../support/jar.ts'
import { mailsTo } from '../support/mails.ts'
import { type Answer, call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { type Authenticator, base64url, cbor, type Differently, newAuthenticator, PRESENT, VERIFIED } from './authenticator.ts'

const AT = 'passkeys'
const OTHER = 'passkeys-too'
let realm: Inside
let other: Inside
let cy: Person
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(OTHER)
  realm = await inside(AT)
  other = await inside(OTHER)
})

let people = 0
// Somebody new for each: a user has 20 passkeys and 5 sessions.
beforeEach(async () => {
  cy = await addPerson(realm, `cy-with-keys-${people++}`)
  token = await tokenOf(realm, cy.username)
})

const planeOf = (at: string) => (at ? '/api/v1/auth/passkeys' : '/platform/v1/auth/passkeys')
const post = (path: string, body: object, token?: string, at = AT) =>
  call(at, `${planeOf(at)}${path}`, { body, ...(token && { token }) })
const creation = async (by = token, at = AT) => (await post('/register/options', {}, by, at)).body
const request = async (at = AT) => (await post('/login/options', {}, undefined, at)).body

/** Makes the session one of two factors: somebody's second passkey asks for the first. */
const strengthen = async (by: string, at = AT) =>
  (at === OTHER ? other : at ? realm : await inside('')).asOwner(
    sql`update freehold.sessions set aal = 2 where id = ${String(decodeJwt(by).sid)}`,
  )

async function register(by = token, how: Differently = {}, at = AT): Promise<{ made: Answer; key: Authenticator }> {
  await strengthen(by, at)
  const key = await newAuthenticator(originOf(at))
  return { made: await post('/register', { credential: await key.create(await creation(by, at), how) }, by, at), key }
}
async function enter(key: Authenticator, how: Differently = {}, at = AT): Promise<Answer> {
  return post('/login', { credential: await key.get(await request(at), how) }, undefined, at)
}
const failures = async (person: Person) =>
  (
    await realm.asOwner(
      sql`select l.activity_type, d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
        where l.user_id = ${person.id} and l.activity_type in ('LOGIN_FAILED', 'PASSKEY_CLONE_SUSPECTED') order by l.at, l.id`,
    )
  ).map(({ activity_type, reason }) => reason ?? activity_type)

describe('a passkey', () => {
  it('is registered in one round trip from options of one, and its owner is mailed', async () => {
    const options = await post('/register/options', {}, token)
    expect([options.status, options.trips]).toEqual([200, 1])
    expect(options.body).toMatchObject({
      rp: { id: 'passkeys.freehold.test' },
      user: { name: cy.username },
      attestation: 'none',
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    })
    const key = await newAuthenticator(originOf(AT))
    const made = await post('/register', { name: ' Laptop ', credential: await key.create(options.body) }, token)
    expect([made.status, made.trips]).toEqual([200, 1])
    expect(made.body).toMatchObject({ name: 'Laptop', rp_id: 'passkeys.freehold.test', is_synced: false, last_used_at: null })
    await strengthen(token)
    const again = await creation()
    expect(again.excludeCredentials).toContainEqual({ type: 'public-key', id: key.id, transports: ['internal'] })
    const [mail] = await mailsTo(cy.email)
    expect(mail?.text).toContain('Laptop')
  })

  it('logs in without a name: options cost nothing, the answer two round trips, and it is two factors', async () => {
    const { key, made } = await register()
    const options = await post('/login/options', {})
    expect([options.status, options.trips]).toEqual([200, 0])
    expect(options.body).toMatchObject({ rpId: 'passkeys.freehold.test', userVerification: 'required', allowCredentials: [] })
    const answer = await post('/login', { credential: await key.get(options.body) })
    expect([answer.status, answer.trips]).toEqual([200, 2])
    const claims = decodeJwt(answer.body.access_token)
    expect(claims).toMatchObject({ sub: cy.id, amr: ['hwk', 'user', 'mfa'] })
    const [session] = await realm.asOwner(sql`select amr, aal from freehold.sessions where id = ${String(claims.sid)}`)
    expect(session).toEqual({ amr: 'hwk user mfa', aal: 2 })
    expect((await call(AT, '/api/v1/auth/me', { token: answer.body.access_token })).status).toBe(200)
    const { data } = (await call(AT, planeOf(AT), { token })).body
    expect(data.find(({ id }: { id: string }) => id === made.body.id).last_used_at).not.toBeNull()
  })

  it('logs in with cookies on the host of the tenant, and from no page of another', async () => {
    const { key } = await register()
    const jar = newJar(AT)
    const answer = await jar.ask(`${planeOf(AT)}/login`, { body: { credential: await key.get(await request()), cookie: true } })
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ token_type: 'Cookie', account: cy.id })
    expect(jar.kept.has(nameOf('a', cy.id))).toBe(true)
    const credential = await key.get(await request())
    const foreign = newJar(AT).ask(`${planeOf(AT)}/login`, { body: { credential, cookie: true }, origin: originOf(OTHER) })
    expectProblem(await foreign, 403, 'forbidden')
  })

  it('of an operator works on the platform', async () => {
    const platform = await inside('')
    const ines = await addPerson(platform, 'ines-with-keys', { roles: ['auditor'] })
    const { key, made } = await register(await tokenOf(platform, ines.username), {}, '')
    expect(made.body).toMatchObject({ rp_id: 'freehold.test' })
    const answer = await enter(key, {}, '')
    expect(answer.status).toBe(200)
    expect(decodeJwt(answer.body.access_token).sub).toBe(ines.id)
  })

  it('is listed and renamed, and after it was removed it logs nobody in', async () => {
    const dee = await addPerson(realm, 'dee-with-keys')
    const by = await tokenOf(realm, dee.username)
    const { made, key } = await register(by)
    const at = `${planeOf(AT)}/${made.body.id}`
    expect((await call(AT, at, { method: 'PATCH', token: by, body: { name: 'Phone' } })).body).toMatchObject({ name: 'Phone' })
    expect((await call(AT, planeOf(AT), { token: by })).body.data).toMatchObject([{ id: made.body.id, name: 'Phone' }])
    const removed = await call(AT, at, { method: 'DELETE', token: by })
    expect([removed.status, removed.trips]).toEqual([204, 1])
    expect((await mailsTo(dee.email, 2)).map(({ subject }) => subject)).toEqual([
      expect.stringContaining('new passkey'),
      expect.stringContaining('was removed'),
    ])
    expectProblem(await enter(key), 401, 'invalid_credentials')
    expectProblem(await call(AT, at, { method: 'DELETE', token: by }), 404, 'not_found')
  })

  it('is registered and removed in a session that is fresh, and of two factors of who has them', async () => {
    const key = await newAuthenticator(originOf(AT))
    const credential = await key.create(await creation())
    const session = sql`update freehold.sessions set`
    const whose = sql`where id = ${String(decodeJwt(token).sid)}`
    await realm.asOwner(sql`${session} created_at = now() - interval '1 hour' ${whose}`)
    expectProblem(await post('/register', { credential }, token), 401, 'step_up_required')
    await realm.asOwner(sql`${session} created_at = now() ${whose}`)
    const made = await post('/register', { credential }, token)
    expect(made.status).toBe(200)
    const remove = () => call(AT, `${planeOf(AT)}/${made.body.id}`, { method: 'DELETE', token })
    // The session knew the password alone, and there is a second factor now.
    expectProblem(await post('/register/options', {}, token), 401, 'step_up_required')
    expectProblem(await remove(), 401, 'step_up_required')
    await realm.asOwner(sql`${session} aal = 2, created_at = now() - interval '1 hour' ${whose}`)
    expectProblem(await remove(), 401, 'step_up_required')
    await realm.asOwner(sql`${session} created_at = now() ${whose}`)
    expect((await remove()).status).toBe(204)
  })

  it('of somebody else is not found, whether renamed or removed', async () => {
    const { made } = await register()
    const eve = await addPerson(realm, 'eve-with-keys', { roles: ['admin'] })
    const by = await tokenOf(realm, eve.username)
    const at = `${planeOf(AT)}/${made.body.id}`
    expectProblem(await call(AT, at, { method: 'PATCH', token: by, body: { name: 'mine' } }), 404, 'not_found')
    expectProblem(await call(AT, at, { method: 'DELETE', token: by }), 404, 'not_found')
    expect((await call(AT, planeOf(AT), { token: by })).body.data).toEqual([])
  })

  it('that is the only way in cannot be removed, also when two go at once', async () => {
    const fay = await addPerson(realm, 'fay-with-keys')
    const by = await tokenOf(realm, fay.username)
    const both = [(await register(by)).made.body.id, (await register(by)).made.body.id]
    await takePassword(realm, fay.username)
    const gone = await Promise.all(both.map((id) => call(AT, `${planeOf(AT)}/${id}`, { method: 'DELETE', token: by })))
    expect(gone.map(({ status }) => status).sort()).toEqual([204, 409])
    expectProblem(gone.find(({ status }) => status === 409) as Answer, 409, 'illegal_state')
  })
})

describe('an answer that was used before', () => {
  it('is refused, and of twenty at once one logs in', async () => {
    const { key } = await register()
    const credential = await key.get(await request())
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/login', { credential })))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of answers.filter(({ status }) => status !== 200)) expectProblem(answer, 401, 'invalid_credentials')
    expect((await failures(cy)).filter((why) => why === 'passkey_replayed').length).toBeGreaterThan(0)
  })

  it('registers one passkey of twenty at once', async () => {
    const key = await newAuthenticator(originOf(AT))
    await strengthen(token)
    const credential = await key.create(await creation())
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/register', { credential }, token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const answer of answers.filter(({ status }) => status !== 200)) expectProblem(answer, 409, 'illegal_state')
  })
})

describe('a counter', () => {
  it('that goes back, or stays, refuses the login and is reported; one that goes on logs in', async () => {
    const gus = await addPerson(realm, 'gus-with-keys')
    const { key } = await register(await tokenOf(realm, gus.username))
    for (const [counter, status] of [
      [5, 200],
      [5, 401],
      [4, 401],
      [0, 401],
      [6, 200],
    ] as const) {
      key.count(counter)
      expect((await enter(key)).status, `${counter}`).toBe(status)
    }
    const reported = ['PASSKEY_CLONE_SUSPECTED', 'passkey_clone_suspected']
    expect((await failures(gus)).sort()).toEqual([...reported, ...reported, ...reported].sort())
  })

  it('that stays 0 is no copy', async () => {
    const { key } = await register()
    for (let i = 0; i < 3; i++) expect((await enter(key)).status).toBe(200)
  })

  it('that goes back in an answer that nobody signed is not reported', async () => {
    const hal = await addPerson(realm, 'hal-with-keys')
    const { key } = await register(await tokenOf(realm, hal.username))
    key.count(9)
    expect((await enter(key)).status).toBe(200)
    const forged = await key.get(await request(), { counter: 1 })
    forged.response.signature = base64url(new Uint8Array([0x30, 6, 2, 1, 1, 2, 1, 1]))
    expectProblem(await post('/login', { credential: forged }), 401, 'invalid_credentials')
    expect(await failures(hal)).not.toContain('PASSKEY_CLONE_SUSPECTED')
  })
})

describe('a login is refused with invalid_credentials, whatever is wrong:', () => {
  const handle = (text: string) => base64url(new TextEncoder().encode(text))
  it.each<[string, () => Differently]>([
    ['another origin', () => ({ origin: originOf(OTHER) })],
    ['the origin with another scheme', () => ({ origin: 'https://passkeys.freehold.test' })],
    ['another rpId', () => ({ rp_id: 'freehold.test' })],
    ['a challenge that nobody gave', () => ({ challenge: base64url(crypto.getRandomValues(new Uint8Array(32))) })],
    ['another type', () => ({ type: 'webauthn.create' })],
    ['the user handle of somebody else', () => ({ user_handle: handle(crypto.randomUUID()) })],
    ['no user handle', () => ({ user_handle: null })],
    ['nobody present', () => ({ flags: VERIFIED })],
    ['a user who was not verified', () => ({ flags: PRESENT })],
    ['a page in a frame of another origin', () => ({ client: { crossOrigin: true, topOrigin: 'https://elsewhere.test' } })],
    ['another passkey', () => ({ credential_id: base64url(crypto.getRandomValues(new Uint8Array(32))) })],
  ])('%s', async (_, how) => {
    const { key } = await register()
    expectProblem(await enter(key, how()), 401, 'invalid_credentials')
    expect((await enter(key)).status).toBe(200)
  })

  it('a challenge of another tenant, and a passkey of another tenant', async () => {
    const { key } = await register()
    const foreign = await request(OTHER)
    expectProblem(
      await post('/login', { credential: await key.get({ ...foreign, rpId: 'passkeys.freehold.test' }) }),
      401,
      'invalid_credentials',
    )
    // Also where it answers just as that tenant asks.
    const own = await newAuthenticator(originOf(OTHER))
    const twin = await addPerson(other, cy.username)
    const by = await tokenOf(other, twin.username)
    expect((await post('/register', { credential: await own.create(await creation(by, OTHER)) }, by, OTHER)).status).toBe(200)
    expectProblem(await enter(own, { origin: originOf(AT) }), 401, 'invalid_credentials')
    expectProblem(
      await post('/login', { credential: await key.get(foreign, { origin: originOf(OTHER) }) }, undefined, OTHER),
      401,
      'invalid_credentials',
    )
  })

  it('a challenge that was for a registration, and one that has expired', async () => {
    const { key } = await register()
    const { challenge } = await creation()
    expectProblem(await enter(key, { challenge }), 401, 'invalid_credentials')
    const old = await expired('login')
    expectProblem(await enter(key, { challenge: old }), 401, 'invalid_credentials')
  })

  it('a user who is not active, and one without any role is told so', async () => {
    const ian = await addPerson(realm, 'ian-with-keys')
    const { key } = await register(await tokenOf(realm, ian.username))
    await realm.asOwner(sql`update freehold.users set is_active = false where id = ${ian.id}`)
    expectProblem(await enter(key), 401, 'invalid_credentials')
    expect(await failures(ian)).toEqual(['inactive'])
  })
})

/** A challenge as the Worker made it, five minutes and a second ago. */
async function expired(purpose: Purpose): Promise<string> {
  const found = await lookUp({ env, config: settings(), meter: { master: 0 } }, AT, true)
  if (!found?.realm) throw new Error(`${AT} is not active.`)
  const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - (CHALLENGE_SECONDS + 1) * 1000)
  try {
    return await newChallenge(found.realm, purpose)
  } finally {
    now.mockRestore()
  }
}

describe('a registration is refused by the member that is wrong:', () => {
  const CLIENT = '#/credential/response/clientDataJSON'
  const OBJECT = '#/credential/response/attestationObject'
  it.each<[string, string, () => Differently]>([
    ['another origin', CLIENT, () => ({ origin: originOf(OTHER) })],
    ['a challenge that nobody gave', CLIENT, () => ({ challenge: 'AAAA' })],
    ['another type', CLIENT, () => ({ type: 'webauthn.get' })],
    ['a page in a frame', CLIENT, () => ({ client: { crossOrigin: true } })],
    ['another rpId', OBJECT, () => ({ rp_id: 'freehold.test' })],
    ['nobody present', OBJECT, () => ({ flags: VERIFIED })],
    ['a user who was not verified', OBJECT, () => ({ flags: PRESENT })],
    ['CBOR that ends too early', OBJECT, () => ({ attestation: new Uint8Array([0xa3, 0x63, 0x66]) })],
    ['CBOR that is a number', OBJECT, () => ({ attestation: cbor.int(7) })],
    ['CBOR that says it has four billion entries', OBJECT, () => ({ attestation: new Uint8Array([0xba, 255, 255, 255, 255]) })],
    ['CBOR of five thousand lists in each other', OBJECT, () => ({ attestation: new Uint8Array(5000).fill(0x81) })],
    ['an attestation of a manufacturer', OBJECT, () => ({ attestation: cbor.map([cbor.text('fmt'), cbor.text('tpm')]) })],
  ])('%s', async (_, pointer, how) => {
    const { made } = await register(token, how())
    expectProblem(made, 400, 'invalid_request')
    expect(pointers(made)).toEqual([pointer])
  })

  it('CBOR of 100 KB is too large a body', async () => {
    const { made } = await register(token, { attestation: new Uint8Array(100_000) })
    expectProblem(made, 413, 'body_too_large')
  })

  it('a challenge of another session, and one that has expired', async () => {
    const key = await newAuthenticator(originOf(AT))
    const credential = await key.create(await creation())
    const elsewhere = await post('/register', { credential }, await tokenOf(realm, cy.username))
    expectProblem(elsewhere, 400, 'invalid_request')
    const { sid } = decodeJwt(token)
    const late = await key.create(await creation(), { challenge: await expired(`register:${String(sid)}`) })
    const answer = await post('/register', { credential: late }, token)
    expectProblem(answer, 400, 'invalid_request')
    expect(answer.body.errors[0].detail).toContain('expired')
  })

  it('an id that is registered already, of whomever', async () => {
    const { key } = await register()
    const jo = await addPerson(realm, 'jo-with-keys')
    const { made } = await register(await tokenOf(realm, jo.username), { credential_id: key.id })
    expectProblem(made, 409, 'already_exists')
  })

  it('the twenty-first', async () => {
    const kim = await addPerson(realm, 'kim-with-keys')
    const by = await tokenOf(realm, kim.username)
    const made: number[] = []
    for (let i = 0; i < 21; i++) made.push((await register(by)).made.status)
    expect(made).toEqual([...Array(20).fill(200), 409])
  })
})

it('an API key neither registers nor removes a passkey', async () => {
  const { key } = (
    await call(AT, '/api/v1/api-keys', { token: await tokenOf(realm), body: { name: 'a key', permissions: ['user:read'] } })
  ).body
  const answer = await call(AT, `${planeOf(AT)}/register/options`, { body: {}, headers: { 'X-API-Key': key } })
  expectProblem(answer, 403, 'forbidden')
})

it('whoever runs SQL as the app login logs nobody in with a passkey, because the system’s key is missing', async () => {
  const { app_url } = await databaseOf(AT)
  const finish = sql`select access.finish_passkey_login(${realm.id}, 'guessed', '\\x01', null, '\\x02', now(), 1, '\\x03', '{}', '{}', '[]')`
  expect(await refusalOf(app_url, finish)).toMatch(/^FH403/)
  expect(await refusalOf(app_url, sql`insert into freehold.passkeys (id) values (gen_random_uuid())`)).toMatch(/^42501/)
})
